// Every experiment at quick scale, through the command: all parts run, and the report with its plots is there.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { defaultDataRoot } from '../data/registry.node.js'
import { runsAt } from '../experiments/experiment.js'
import { papers } from './index.js'

const command = fileURLToPath(new URL('../../../bin/mambakit.mjs', import.meta.url))
const skip = existsSync(defaultDataRoot) ? false : '../shared/data is not there'

for (const { slug, experiment } of papers)
  if (experiment)
    test(`mambakit reproduce ${slug} --quick runs every part and writes a report with plots`, { skip }, async () => {
      const folder = mkdtempSync(join(tmpdir(), 'mambakit-reproduce-'))
      try {
        const json = join(folder, 'result.json')
        const run = () =>
          spawnSync(process.execPath, [command, 'reproduce', slug, '--quick', '--runs', folder, '--json', json], {
            encoding: 'utf8',
          })
        const { status, stdout, stderr } = run()
        assert.equal(status, 0, stderr)
        assert.match(stderr, /starting/)
        assert.match(stdout, /verdict: smoke/)
        const result = JSON.parse(readFileSync(json, 'utf8'))
        assert.equal(result.verdict, 'smoke')
        const { parts } = (await experiment()).experiment
        assert.deepEqual(
          result.parts.map((part: { name: string }) => part.name),
          parts.filter((part) => runsAt(part, 'quick')).map((part) => part.name),
        )
        const quick = join(folder, slug, 'quick')
        const report = readFileSync(join(quick, 'report.md'), 'utf8')
        const plots = [...report.matchAll(/\]\((.*?\.svg)\)/g)].map(([, plot]) => plot)
        assert.ok(plots.length > 0)
        for (const plot of plots) {
          assert.match(readFileSync(join(quick, plot), 'utf8'), /^<svg [^>]*xmlns=/)
          assert.equal(readFileSync(join(quick, plot.replace('.svg', '.png'))).toString('latin1', 1, 4), 'PNG')
        }
        // Nothing is trained twice: in the second run no unit starts.
        const again = run()
        assert.equal(again.status, 0, again.stderr)
        assert.doesNotMatch(again.stderr, /starting/)
      } finally {
        rmSync(folder, { recursive: true })
      }
    })
