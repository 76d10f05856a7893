import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { defaultDataRoot } from '../../data/registry.node.js'

const command = fileURLToPath(new URL('../../../../bin/mambakit.mjs', import.meta.url))
const skip = existsSync(defaultDataRoot) ? false : '../shared/data is not there'

test('mambakit reproduce mamba --quick runs every part and writes a report with plots', { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'mambakit-reproduce-'))
  try {
    const json = join(folder, 'result.json')
    const run = () =>
      spawnSync(process.execPath, [command, 'reproduce', 'mamba', '--quick', '--runs', folder, '--json', json], {
        encoding: 'utf8',
      })
    const { status, stdout, stderr } = run()
    assert.equal(status, 0, stderr)
    assert.match(stdout, /verdict: smoke/)
    const result = JSON.parse(readFileSync(json, 'utf8'))
    assert.equal(result.verdict, 'smoke')
    assert.deepEqual(
      result.parts.map((part: { name: string }) => part.name),
      ['selective-copying', 'induction-heads', 'text', 'decoding', 'dna', 'audio'],
    )
    const report = readFileSync(join(folder, 'mamba/quick/report.md'), 'utf8')
    for (const [, plot] of report.matchAll(/\]\((.*?\.svg)\)/g)) {
      assert.match(readFileSync(join(folder, 'mamba/quick', plot), 'utf8'), /^<svg [^>]*xmlns=/)
      const png = readFileSync(join(folder, 'mamba/quick', plot.replace('.svg', '.png')))
      assert.equal(png.toString('latin1', 1, 4), 'PNG')
    }
    // Nothing is trained twice: the second run takes a fraction of the first.
    const started = performance.now()
    assert.equal(run().status, 0)
    assert.ok(performance.now() - started < 20_000)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
