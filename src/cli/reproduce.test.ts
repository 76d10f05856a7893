import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { experimentProgress } from './experimentProgress.js'

const command = fileURLToPath(new URL('../../../bin/mambakit.mjs', import.meta.url))
const mambakit = (...args: string[]) => spawnSync(process.execPath, [command, ...args], { encoding: 'utf8' })

test('reproduce refuses wrong usage by one line and exit code 2', () => {
  const refuse = (args: string[], message: RegExp) => {
    const { status, stderr } = mambakit('reproduce', ...args)
    assert.equal(status, 2, stderr)
    assert.equal(stderr.trim().split('\n').length, 1, stderr)
    assert.match(stderr, message)
  }
  refuse([], /expected a paper’s slug, or --all/)
  refuse(['mamba', '--all'], /expected a paper’s slug, or --all/)
  refuse(['mamba-4'], /no paper 'mamba-4'; `mambakit papers` lists them/)
  refuse(['mamba-yolo'], /'mamba-yolo' has no experiment yet/)
  refuse(['mamba', '--quick', '--full'], /at most one of --quick and --full/)
  refuse(['mamba', '--sweep', '--null'], /--sweep does nothing with --null/)
  refuse(['mamba', '--record'], /--record needs --full, without --null and --part/)
  refuse(['mamba', '--seeds', '0'], /--seeds: expected an integer of at least 1, got '0'/)
})

test('a part that there is none of and data that are not there are named, with exit code 1', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mambakit-reproduce-'))
  try {
    const quick = ['reproduce', 'mamba', '--quick', '--runs', folder]
    const wrong = mambakit(...quick, '--part', 'vision')
    assert.equal(wrong.status, 1)
    assert.match(wrong.stderr, /mamba: expected a part among selective-copying, .* at this scale, got 'vision'/)
    const missing = mambakit(...quick, '--part', 'text', '--data-root', folder)
    assert.equal(missing.status, 1)
    assert.match(
      missing.stderr,
      /valid\.txt\.gz: no such file; say by --data-root where the data set 'text-wikitext2' is/,
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('the progress names every unit once, then every ten seconds, and leaves out what was measured before', () => {
  let time = 0
  const lines: string[] = []
  const progress = experimentProgress({ stream: { write: (text) => lines.push(text) }, now: () => time })
  const unit = { part: 'text', method: 'Mamba', seed: 0, units: 3, done: 0, cached: false }
  progress.update({ ...unit, unit: 1, what: 'measured before', secondsLeft: null, cached: true })
  progress.update({ ...unit, unit: 2, what: 'starting', secondsLeft: null })
  time = 5000
  progress.update({ ...unit, unit: 2, what: 'step 5/10', secondsLeft: 5 })
  time = 11_000
  progress.update({ ...unit, unit: 2, what: 'step 9/10', secondsLeft: 1 })
  progress.update({ ...unit, unit: 3, what: 'starting', secondsLeft: 65 })
  progress.end()
  assert.deepEqual(lines, [
    '2/3 text, Mamba, seed 0: starting\n',
    '2/3 text, Mamba, seed 0: step 9/10  about 1 s left\n',
    '3/3 text, Mamba, seed 0: starting  about 1 min 05 s left\n',
  ])
})
