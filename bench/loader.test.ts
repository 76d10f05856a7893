import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { BenchReport } from './report.js'

const bin = fileURLToPath(new URL('../../bin/mambakit.mjs', import.meta.url))
const skip = spawnSync('g++', ['--version']).status === 0 ? false : 'no g++ to build the native device'

test('`bench loader --quick --json` says how much of a step goes into waiting for images', { skip }, async () => {
  const args = ['bench', 'loader', '--quick', '--json', '--workers', '0']
  const { stdout } = await promisify(execFile)(process.execPath, [bin, ...args])
  const report: BenchReport = JSON.parse(stdout)
  assert.equal(report.sections.length, 4)
  for (const { ratios, measurements } of report.sections) {
    assert.ok(ratios[0].value >= 0 && ratios[0].value <= 1)
    assert.ok([...ratios, ...measurements].every(({ value }) => Number.isFinite(value)))
  }
})
