import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { openNative } from '../src/backend/native/index.js'
import { writeGguf } from '../src/hub/gguf.node.js'
import { byteVocabulary, ggufMetadata, ggufTensors } from '../src/hub/gguf-mamba.js'
import { Decoder } from '../src/models/decoding.js'
import { mambaDefaults } from '../src/models/mamba-config.js'
import { MambaLM } from '../src/models/mamba-lm.js'
import { LlamaPeer } from './llama.js'
import type { BenchReport } from './report.js'

const project = fileURLToPath(new URL('../..', import.meta.url))
const bin = join(project, 'bin/mambakit.mjs')
const noCompiler = spawnSync('g++', ['--version']).status === 0 ? false : 'no g++ to build the native device'
const noPeer = existsSync(join(project, '.peers/node_modules/node-llama-cpp'))
  ? noCompiler
  : 'node-llama-cpp is not installed in .peers'
const folder = mkdtempSync(join(tmpdir(), 'mambakit-llama-'))
after(() => rmSync(folder, { recursive: true }))

test('`bench lm --quick --json` prints ratios and numbers of reading and writing', { skip: noCompiler }, async () => {
  const options = ['--quick', '--json', '--model', 'mamba-tiny', '--context', '700']
  const { stdout } = await promisify(execFile)(process.execPath, [bin, 'bench', 'lm', ...options])
  const report: BenchReport = JSON.parse(stdout)
  assert.deepEqual(
    report.sections.map(({ title }) => title),
    ['read 64 tokens, mamba-tiny', 'write, mamba-tiny', 'write after 700 tokens'],
  )
  for (const { ratios, measurements } of report.sections)
    for (const { name, value } of [...ratios, ...measurements]) assert.ok(Number.isFinite(value) && value > 0, name)
  // Every weight once a token: the embedding is the head.
  const bytes = report.sections[1].measurements.find(({ name }) => name === 'weights read a token')!.value
  assert.ok(Math.abs(bytes - (4 * 499_328) / 1e6) < 1e-9)
})

test('a model that is no preset is refused, and a missing peer says how to get it', { skip: noCompiler }, async () => {
  const { stderr } = spawnSync(process.execPath, [bin, 'bench', 'lm', '--model', 'mamba-9000'], { encoding: 'utf8' })
  assert.match(stderr, /^mambakit: no model is called 'mamba-9000'; choose one of mamba-tiny, /)
  await assert.rejects(
    LlamaPeer.start('model.gguf', 1, 64, join(folder, 'nothing')),
    /^MambakitError: --peer: node-llama-cpp is not installed; run `npm install --prefix \.peers --ignore-scripts/,
  )
})

for (const [type, tolerance] of [
  ['F32', 1e-5],
  ['Q8_0', 0.05],
] as const)
  test(`llama.cpp gives our logits for a model written as GGUF in ${type}`, { skip: noPeer }, async () => {
    const backend = openNative({ threads: 1 })
    const config = { ...mambaDefaults, dModel: 64, nLayer: 3, vocabSize: 264 }
    const model = new MambaLM(config).initialize({ seed: 3, backend }).eval()
    const file = join(folder, `${type}.gguf`)
    await writeGguf(file, ggufTensors(model, type), ggufMetadata(model, 'small', type, byteVocabulary(264)))
    const peer = await LlamaPeer.start(file, 1, 256)
    const ids = Int32Array.from({ length: 90 }, (_, i) => (i * 37) % 256)
    const decoder = new Decoder(model)
    const ours = await decoder.prefill(ids)
    const theirs = await peer.logits(ids)
    assert.equal(theirs.size, 264)
    const spread = Math.max(...ours) - Math.min(...ours)
    for (const [token, logit] of theirs)
      assert.ok(Math.abs(logit - ours[token]) < tolerance * spread, `token ${token}: ${logit}, ours ${ours[token]}`)
    decoder.dispose()
    await peer.close()
    await backend.close()
  })
