import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { openWebGpu } from '../src/backend/webgpu/index.js'
import type { BenchReport } from './report.js'

const bin = fileURLToPath(new URL('../../bin/mambakit.mjs', import.meta.url))
const skip = await openWebGpu().then(
  async (gpu) => {
    await gpu.close()
    return false
  },
  (error: Error) => error.message,
)

test('`bench profile --json` gives the rates of every kernel beside those of a copy and GEMM', { skip }, async () => {
  const given = ['bench', 'profile', '--device', 'webgpu', '--model', 'mamba-tiny', '--batch', '1', '--length', '16']
  const { stdout } = await promisify(execFile)(process.execPath, [bin, ...given, '--precision', 'mixed', '--json'])
  const { sections }: BenchReport = JSON.parse(stdout)
  const [limits, training, decoding] = sections
  assert.deepEqual(
    limits.measurements.map(({ unit }) => unit),
    ['GB/s', 'GFLOP/s', 'GFLOP/s'],
  )
  for (const { kernels } of [training, decoding]) {
    const share = kernels!.reduce((sum, kernel) => sum + kernel.share, 0)
    assert.ok(Math.abs(share - 1) < 1e-6, `shares add up to ${share}`)
    for (const { kernel, gigabytesPerSecond } of kernels!) assert.ok(gigabytesPerSecond! > 0, kernel)
  }
  const calls = (section: typeof training, name: string) =>
    section.kernels!.find(({ kernel }) => kernel === name)?.callsPerStep
  // Four layers.
  assert.equal(calls(training, 'selectiveScanGrad'), 4)
  assert.equal(calls(decoding, 'mambaStepIn'), 4)
})
