// The README's first command in its short form: it trains, measures, saves and writes.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const demo = fileURLToPath(new URL('../../scripts/demo.mjs', import.meta.url))

test('npm run demo -- --quick learns and writes', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [demo, '--quick'], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  const [, before, after] = /held-out bits per byte: ([\d.]+) before, ([\d.]+) after/.exec(stdout) ?? []
  assert.ok(Number(after) < Number(before), stdout)
  assert.match(stdout, /it writes:\n\nThe whale/)
})
