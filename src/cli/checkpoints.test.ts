import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { TestHub } from '../../test/hubServer.js'
import { byteTokenizer } from '../data/tokenizer.js'
import { mambaDefaults } from '../models/mamba-config.js'
import { MambaLM } from '../models/mamba-lm.js'
import { useDevice } from '../pipeline/device.js'
import { LanguageModel } from '../pipeline/language-model.js'
import { saveModel } from '../pipeline/save.node.js'
import { sizeOption } from './commands/convert.js'
import { downloadDisplay, formatBytes } from './downloads.js'

const bin = fileURLToPath(new URL('../../../bin/mambakit.mjs', import.meta.url))

describe('checkpoints on the command line', () => {
  let folder = ''
  let hub: TestHub
  const path = (name: string) => join(folder, name)
  const mambakit = (...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> =>
    new Promise((done) => {
      const env = { ...process.env, NO_COLOR: '1', HF_HOME: path('hf'), HF_ENDPOINT: hub.endpoint, HF_TOKEN: '' }
      execFile(process.execPath, [bin, ...args], { env, cwd: folder }, (error, stdout, stderr) =>
        done({ code: Number(error?.code ?? 0), stdout, stderr }),
      )
    })
  before(async () => {
    await useDevice('cpu', { announce: () => {} })
    folder = await mkdtemp(join(tmpdir(), 'mambakit-cli-hub-'))
    const config = { ...mambaDefaults, dModel: 8, nLayer: 2, vocabSize: 256 }
    await saveModel(new LanguageModel(new MambaLM(config).initialize({ seed: 3 }), byteTokenizer), path('model'))
    const names = await readdir(path('model'))
    const files = await Promise.all(names.map(async (name) => [name, await readFile(path(`model/${name}`))] as const))
    hub = await TestHub.start(Object.fromEntries(files))
  })
  after(async () => {
    await hub.close()
    await rm(folder, { recursive: true })
  })

  test('download prints the folder; commands that take a model take the hub id', async () => {
    const { code, stdout, stderr } = await mambakit('download', 'owner/name')
    assert.equal(code, 0, stderr)
    assert.equal(stdout, `${path(`hf/hub/models--owner--name/snapshots/${hub.commit}`)}\n`)
    assert.match(stderr, /model\.safetensors {2}100 % of [\d.]+ kB/)
    const info = await mambakit('info', 'owner/name')
    assert.match(info.stdout, /model +MambaLM/)
    const generated = await mambakit('generate', 'owner/name', '--prompt', 'x', '--max-tokens', '3', '--json')
    assert.equal(generated.code, 0, generated.stderr)
    await writeFile(path('text.txt'), 'some text to measure')
    const measured = await mambakit('eval', 'owner/name', '--data', 'text.txt', '--json')
    const { tokens, bitsPerToken, bitsPerByte } = JSON.parse(measured.stdout)
    assert.equal(tokens, 19)
    assert.ok(bitsPerToken > 4 && bitsPerByte === bitsPerToken, measured.stdout)
  })

  test('what cannot be had is one line', async () => {
    const lines: [string[], RegExp][] = [
      [['generate', 'owner/none'], /^mambakit: owner\/none: no such file or folder here; on the hub: .*no such model/],
      [
        ['generate', 'nowhere'],
        /^mambakit: nowhere: no such file or folder, and no hub id \(owner\/name, owner\/name@revision\)\n$/,
      ],
      [['download', 'nowhere'], /^mambakit: nowhere: expected a hub id as owner\/name or owner\/name@revision\n$/],
      [['download', 'owner/name', '--only', 'tokenizer'], /^mambakit: owner\/name: holds no tokenizer\.json; it has /],
      [
        ['info', 'mamba-1b'],
        /^mambakit: no model is called 'mamba-1b'; give a config\.json, a model's folder or hub id/,
      ],
      [
        ['convert', 'model', '--to', 'hf', '--out', 'model'],
        /^mambakit: model: is there already; choose another folder/,
      ],
    ]
    for (const [args, message] of lines) {
      const { code, stdout, stderr } = await mambakit(...args)
      assert.deepEqual([code, stdout], [1, ''], stderr)
      assert.match(stderr, message)
      assert.equal(stderr.trimEnd().split('\n').length, 1, stderr)
    }
    for (const args of [
      ['download', 'owner/name', '--only', 'weights'],
      ['convert', 'model', '--to', 'hf', '--out', 'x', '--dtype', 'f32'],
      ['convert', 'model', '--to', 'gguf', '--out', 'x', '--shard-size', '1GB'],
      ['convert', 'model', '--to', 'gguf', '--out', 'x', '--force'],
      ['convert', 'model', '--to', 'hf', '--out', 'x', '--shard-size', 'big'],
    ])
      assert.equal((await mambakit(...args)).code, 2, args.join(' '))
  })

  test('convert lists what it wrote', async () => {
    const { stdout, stderr } = await mambakit(
      'convert',
      'model',
      '--to',
      'hf',
      '--shard-size',
      '4kB',
      '--out',
      'hf-model',
    )
    assert.match(
      stdout,
      /^hf-model: \d+ tensors, [\d.]+ kB, layout huggingface\n {2}config\.json\n {2}model-00001-of-/,
      stderr,
    )
    assert.ok((await stat(path('hf-model/model.safetensors.index.json'))).isFile())
    const json = await mambakit('convert', 'hf-model', '--to', 'state-spaces', '--out', 'back', '--json')
    assert.equal(JSON.parse(json.stdout).layout, 'state-spaces')
  })
})

test('a download is shown as one line that is redrawn, or as a line every ten seconds', () => {
  const draw = (isTTY: boolean) => {
    let text = ''
    let now = 0
    const display = downloadDisplay({ stream: { write: (more) => (text += more), isTTY }, now: () => now })
    for (const done of [0, 50e6, 100e6, 150e6, 200e6]) {
      display.onProgress({ file: 'model.bin', done, total: 200e6 })
      now += 4000
    }
    display.announce('waiting')
    display[Symbol.dispose]()
    return text
  }
  const plain = draw(false).split('\n')
  assert.deepEqual(plain.slice(0, 3), [
    'model.bin  0 % of 200 MB',
    'model.bin  75 % of 200 MB  12.5 MB/s  4 s left',
    'model.bin  100 % of 200 MB  12.5 MB/s',
  ])
  assert.equal(plain[3], 'mambakit: waiting')
  const drawn = draw(true)
  assert.equal(drawn.split('\r\x1b[2K').length, 7)
  assert.ok(drawn.includes('50 % of 200 MB  12.5 MB/s  8 s left'))
})

test('sizes are given and shown in decimal units', () => {
  const parse = sizeOption('--shard-size')
  assert.deepEqual(['2GB', '500 MB', '1.5kb', '1GiB', '42'].map(parse), [2e9, 5e8, 1500, 2 ** 30, 42])
  for (const text of ['', '0', 'GB', '-1MB', '2TB', '1e9'])
    assert.throws(() => parse(text), /--shard-size: expected a size as 500MB or 2GB, got '/)
  assert.deepEqual([0, 999, 1234, 517e6, 1.38e9].map(formatBytes), ['0 B', '999 B', '1.23 kB', '517 MB', '1.38 GB'])
})
