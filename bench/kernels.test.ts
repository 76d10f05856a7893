import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { median, ratio, takeTurns } from './measure.js'
import type { BenchReport } from './report.js'

const bin = fileURLToPath(new URL('../../bin/mambakit.mjs', import.meta.url))
const skip = spawnSync('g++', ['--version']).status === 0 ? false : 'no g++ to build the native device'

test('`bench kernels --quick --json` prints ratios, numbers and the kernels of a step', { skip }, async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [bin, 'bench', 'kernels', '--quick', '--json'])
  const report: BenchReport = JSON.parse(stdout)
  assert.equal(report.quick, true)
  const [gemm, scan, memory, maps, step] = report.sections
  assert.deepEqual(
    report.sections.map(({ title }) => title),
    ['GEMM 128^3', 'scan L=128 D=64 N=16', 'memory', 'maps of 1 x 8 x 8 x 24', 'step of mamba-tiny B=1 L=32'],
  )
  for (const { ratios, measurements } of report.sections)
    for (const { name, value } of [...ratios, ...measurements]) assert.ok(Number.isFinite(value) && value >= 0, name)
  for (const layout of ['nn', 'nt', 'tn', 'tt'])
    assert.ok(
      gemm.ratios.some(({ name }) => name.startsWith(`${layout}, of 1 x the one-core peak`)),
      layout,
    )
  assert.ok(gemm.peers.length > 0 || gemm.remarks.some((remark) => remark.includes('numpy')))
  assert.ok(scan.ratios.some(({ name }) => name === 'forward, of the register-only limit'))
  assert.ok(maps.ratios.some(({ name }) => name === "batch norm, training, of a copy's rate"))
  assert.ok(memory.measurements.every(({ unit }) => unit === 'GB/s'))
  const kernels = new Map(step.kernels!.map((kernel) => [kernel.kernel, kernel]))
  // Four layers: one scan each way in each.
  for (const name of ['selectiveScan', 'selectiveScanGrad']) assert.equal(kernels.get(name)?.callsPerStep, 4, name)
  const share = step.kernels!.reduce((sum, kernel) => sum + kernel.share, 0)
  assert.ok(share > 0 && share < 1.01, `the kernels took ${share} of the step`)
  assert.ok(step.ratios[0].value >= 1, 'a step takes at least the time of its GEMMs and scans')
})

test('contenders take turns, the first round is not counted, and ratios are of one round', async () => {
  const order: string[] = []
  const contender = (name: string, seconds: number[]) => ({
    name,
    run: async () => {
      order.push(name)
      return seconds.shift()!
    },
  })
  const taken = await takeTurns([contender('a', [99, 2, 20, 6]), contender('b', [99, 1, 10, 2])], 3)
  assert.deepEqual(order, ['a', 'b', 'a', 'b', 'a', 'b', 'a', 'b'])
  assert.deepEqual(taken.get('a'), [2, 20, 6])
  assert.equal(ratio(taken, 'a', 'b'), 2)
})

test('a median is the middle, or the mean of the two middles', () => {
  assert.equal(median([5, 1, 9]), 5)
  assert.equal(median([4, 1, 9, 2]), 3)
})
