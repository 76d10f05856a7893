import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { findPaper, type Paper, papers } from './index.js'
import { readResult } from './results.node.js'
import { paperState, parseResult } from './state.js'

const list = fileURLToPath(new URL('../../../../shared/systems/README.md', import.meta.url))
const skip = existsSync(list) ? false : '../shared/systems/README.md is not there'

test('the catalogue is the list of the 33 papers', { skip }, () => {
  const shown = (value: number | string | null) => `${value ?? '-'}`
  const rows = papers.map(
    ({ number, title, slug, domain, authors, date }) =>
      `| ${number} | ${title} | \`${slug}\` | ${domain} | ${shown(authors)} | ${shown(date)} |`,
  )
  const listed = readFileSync(list, 'utf8')
    .split('\n')
    .filter((line) => /^\| \d+ \|/.test(line))
  assert.equal(listed.length, 33)
  assert.deepEqual(rows, listed)
})

test('slugs are unique and find their paper, dates are days', () => {
  assert.equal(new Set(papers.map(({ slug }) => slug)).size, 33)
  papers.forEach((paper, i) => {
    assert.equal(paper.number, i + 1)
    assert.equal(findPaper(paper.slug), paper)
    if (paper.date !== null) assert.equal(new Date(paper.date).toISOString().slice(0, 10), paper.date)
  })
  assert.equal(findPaper('mamba-4'), undefined)
})

test('every loader loads, and an experiment is that of its paper', async () => {
  for (const { slug, load } of papers) if (load) assert.equal(typeof (await load()), 'object', slug)
  for (const { slug, experiment } of papers) if (experiment) assert.equal((await experiment()).experiment.slug, slug)
})

test('a paper is what its loader and its result file say', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'mambakit-results-'))
  const planned: Paper = { number: 1, title: 'T', slug: 'some-paper', domain: 'd', authors: 1, date: null }
  const implemented: Paper = { ...planned, load: async () => ({}) }
  assert.equal(paperState(planned, null), 'planned')
  assert.equal(paperState(implemented, await readResult(implemented, folder)), 'implemented')
  const result = { command: 'mambakit reproduce some-paper --full', commit: '7dc1b2f', seeds: [0, 1, 2], gap: 0.4 }
  for (const verdict of ['reproduced', 'not reproduced', 'undecided'] as const) {
    await writeFile(join(folder, 'some-paper.json'), JSON.stringify({ ...result, verdict }))
    const read = await readResult(implemented, folder)
    assert.equal(paperState(implemented, read), verdict)
    assert.equal(paperState(planned, read), 'planned')
  }
  await rm(folder, { recursive: true })
})

test('a result file that is none is named with the field', () => {
  const good = { command: 'c', commit: '0123abc', seeds: [1], verdict: 'reproduced' }
  const refuse = (result: unknown, message: RegExp) =>
    assert.throws(() => parseResult(JSON.stringify(result), 'results/x.json'), message)
  assert.deepEqual(parseResult(JSON.stringify(good), 'f'), good)
  assert.throws(() => parseResult('{', 'results/x.json'), /results\/x\.json: expected JSON; run the experiment again/)
  refuse(null, /expected a JSON object/)
  refuse({ ...good, verdict: 'maybe' }, /expected verdict to be one of reproduced, not reproduced, undecided/)
  refuse({ ...good, command: undefined }, /expected command/)
  refuse({ ...good, commit: 'main' }, /expected commit/)
  refuse({ ...good, seeds: ['1'] }, /expected seeds/)
  const criterion = {
    statement: 'accuracy',
    claimed: '≥ 95 %',
    measured: '90 %',
    range: '80 to 93',
    mean: 0.9,
    interval: [0.8, 0.93],
    state: 'fails',
  }
  const measured = { ...good, measurements: { 'Copying: accuracy': 0.9 } }
  const parts = (...criteria: unknown[]) => ({ ...measured, parts: [{ name: 'copying', criteria }] })
  assert.deepEqual(parseResult(JSON.stringify({ ...parts(criterion), machine: {} }), 'f'), {
    ...measured,
    criteria: [
      {
        name: 'Copying: accuracy',
        interval: [0.8, 0.93],
        measured: '90 %',
        range: '80 to 93',
        claimed: '≥ 95 %',
        state: 'fails',
        decides: true,
      },
    ],
  })
  refuse(parts(), /expected a measurement for each criterion of the parts/)
  refuse({ ...measured, parts: 3 }, /expected parts to hold what 'Copying: accuracy' came to/)
  for (const wrong of [{ state: 'maybe' }, { interval: [1, 0] }, { statement: 'speed' }, { claimed: 1 }])
    refuse(parts({ ...criterion, ...wrong }), /expected parts to hold what 'Copying: accuracy' came to/)
})
