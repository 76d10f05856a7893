import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { BenchReport } from './report.js'

const bin = fileURLToPath(new URL('../../bin/mambakit.mjs', import.meta.url))
const skip = spawnSync('g++', ['--version']).status === 0 ? false : 'no g++ to build the native device'

test('`bench load --quick --json` prints the rate and the memory of a load beside a plain read', { skip }, async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [bin, 'bench', 'load', '--quick', '--json'])
  const report: BenchReport = JSON.parse(stdout)
  const [section] = report.sections
  assert.deepEqual([report.quick, section.title], [true, 'load of mamba-tiny'])
  assert.deepEqual(
    section.ratios.map(({ unit }) => unit),
    ['percent', 'times', 'percent', 'times'],
  )
  for (const { name, value } of [...section.ratios, ...section.measurements])
    assert.ok(Number.isFinite(value) && value > 0, name)
  assert.match(section.remarks[0], /^2 MB of safetensors, read from the (disk|cache)/)
})
