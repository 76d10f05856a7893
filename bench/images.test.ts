import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { BenchReport } from './report.js'

const bin = fileURLToPath(new URL('../../bin/mambakit.mjs', import.meta.url))
const skip = spawnSync('g++', ['--version']).status === 0 ? false : 'no g++ to build the native device'

test('`bench images --quick --json` holds reading and training against the counted arithmetic', { skip }, async () => {
  const args = ['bench', 'images', '--quick', '--json', '--models', 'mambaout-femto']
  const { stdout } = await promisify(execFile)(process.execPath, [bin, ...args])
  const report: BenchReport = JSON.parse(stdout)
  assert.equal(report.sections.length, 2)
  for (const { ratios, measurements, kernels } of report.sections) {
    assert.ok(ratios[0].value > 0)
    assert.ok(measurements.every(({ value }) => Number.isFinite(value)))
    assert.ok(kernels!.some(({ kernel }) => kernel === 'convolution'))
  }
})

test('an image model that nobody knows is refused with those that are there', () => {
  const { stderr } = spawnSync(process.execPath, [bin, 'bench', 'images', '--models', 'mambain'], { encoding: 'utf8' })
  assert.match(stderr, /^mambakit: no image model is called 'mambain'; choose one of .*mambaout-femto/)
})
