import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { startOnnx } from './onnx.js'
import type { BenchReport } from './report.js'

const bin = fileURLToPath(new URL('../../bin/mambakit.mjs', import.meta.url))
const skip = spawnSync('g++', ['--version']).status === 0 ? false : 'no g++ to build the native device'

test('`bench conv --quick --json` prints rates of both devices and the kernels of a step', { skip }, async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [bin, 'bench', 'conv', '--quick', '--json'])
  const report: BenchReport = JSON.parse(stdout)
  const [native, wasm, step] = report.sections
  for (const { measurements, ratios } of report.sections)
    for (const { name, value } of [...measurements, ...ratios]) assert.ok(Number.isFinite(value) && value > 0, name)
  for (const { measurements } of [native, wasm])
    for (const size of ['dense 3x3', 'depth-wise 7x7'])
      assert.ok(
        measurements.some(({ name }) => name === `ours, ${size}, batch 1`),
        size,
      )
  assert.ok(native.ratios.length > 0 || native.remarks.length > 1, 'peers were measured, or their absence was told')
  const kernels = new Map(step.kernels!.map((kernel) => [kernel.kernel, kernel.callsPerStep]))
  // A stem, two of a dense block, one between the stages, three depth-wise; the images want no gradient.
  assert.equal(kernels.get('convolution'), 7)
  assert.equal(kernels.get('convolutionGradInput'), 6)
  assert.equal(kernels.get('convolutionGradWeight'), 7)
})

test('a peer that is not installed is null', async () => {
  assert.equal(await startOnnx(1, '/nonexistent'), null)
})
