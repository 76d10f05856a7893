import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { catalogueEntry, type Entry } from './entry.js'
import { papers } from './index.js'
import { SearchIndex } from './search.js'

const entries = papers.map((paper) => catalogueEntry(paper, null))
const index = new SearchIndex()
for (const entry of entries) index.add(entry)
const found = (query: string) => index.search(query).map((number) => entries[number].id)

describe('the search', () => {
  test('finds by the start of words, in any order, without case and accents', () => {
    assert.equal(found('graph mam')[0], 'graph-mamba')
    assert.equal(found('MAM gráph')[0], 'graph-mamba')
    assert.deepEqual(
      found(''),
      entries.map(({ id }) => id),
    )
    assert.deepEqual(found('quamba graph'), [])
  })

  test('finds what is in the summary, the domain, the identifier and the state', () => {
    assert.ok(found('lidar').includes('csfmamba'))
    assert.ok(found('recommendation').includes('tim4rec'))
    assert.deepEqual(found('2402.08678'), ['graph-mamba'])
    assert.deepEqual(
      new Set(found('planned')),
      new Set(entries.filter(({ state }) => state === 'planned').map(({ id }) => id)),
    )
  })

  test('finds a word with one typo: swapped, missing, doubled, wrong', () => {
    for (const typo of ['grpah', 'grph', 'graaph', 'grabh', 'garph']) assert.equal(found(typo)[0], 'graph-mamba', typo)
    assert.equal(found('hyperspctral morphologcal')[0], 'morpmamba')
  })

  test('puts a word of the title before one of the text', () => {
    const entry = (id: string, title: string, summary: string): Entry => ({
      ...entries[0],
      id,
      title,
      summary,
      claim: '',
    })
    const small = new SearchIndex()
    small.add(entry('a', 'Other', 'A kangaroo jumps.'))
    small.add(entry('b', 'Kangaroo', 'Nothing.'))
    small.add(entry('c', 'Kangaroos', 'Nothing.'))
    small.add(entry('d', 'Kangaroo', 'Nothing.'))
    assert.deepEqual(small.search('kangaroo'), [1, 3, 2, 0])
  })

  test('answers whatever is typed with entries that are there, each once', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.constantFrom('(', '[a-', '\\', '*', '"', '-x')),
        (query) => {
          const numbers = index.search(query)
          assert.equal(new Set(numbers).size, numbers.length)
          assert.ok(numbers.every((number) => number >= 0 && number < 33))
        },
      ),
      { numRuns: 500 },
    )
  })
})
