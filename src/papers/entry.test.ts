import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { bibtex } from './bibtex.js'
import { byDate, catalogueEntry, type Entry, signature } from './entry.js'
import { paperFacts } from './facts.js'
import { type Paper, papers } from './index.js'
import { plainText, webAddress } from './plainText.js'

const entries = papers.map((paper) => catalogueEntry(paper, null))
const systems = fileURLToPath(new URL('../../../../shared/systems/', import.meta.url))
const skip = existsSync(systems) ? false : '../shared/systems is not there'

test('every paper of the catalogue has its summary, claim and links, and no other paper has', () => {
  assert.deepEqual(Object.keys(paperFacts).sort(), papers.map(({ slug }) => slug).sort())
  for (const { id, summary, claim, links } of entries) {
    const sentences = summary.split(/(?<=\.)\s/)
    assert.ok(sentences.length >= 1 && sentences.length <= 3 && summary.endsWith('.'), id)
    assert.ok(claim?.endsWith('.'), id)
    assert.match(links[0].href, /^https:\/\/arxiv\.org\/abs\/\d{4}\.\d{5}$/, id)
  }
})

test('identifiers and repositories are those of the specifications', { skip }, () => {
  for (const [slug, { arxiv, code }] of Object.entries(paperFacts)) {
    const specification = readFileSync(`${systems}${slug}.md`, 'utf8')
    assert.ok(specification.includes(`arXiv ${arxiv}`), `${slug}: arXiv ${arxiv}`)
    if (code) assert.ok(specification.includes(code), `${slug}: ${code}`)
  }
})

test('a result shows only where the paper is implemented', () => {
  const planned: Paper = { number: 1, title: 'T', slug: 'mamba', domain: 'd', authors: 1, date: '2024-01-02' }
  const result = { command: 'c', commit: '0123abc', seeds: [1], verdict: 'undecided' as const }
  assert.equal(catalogueEntry(planned, result).result, undefined)
  const implemented = catalogueEntry({ ...planned, load: async () => ({}) }, result)
  assert.deepEqual([implemented.state, implemented.result], ['undecided', result])
})

test('a paper without a day is sorted by the month of its identifier', () => {
  const sorted = [...entries].sort(byDate).map(({ id }) => id)
  assert.equal(sorted[0], 'nemotron-elastic')
  assert.equal(sorted.at(-1), 'mamba')
  assert.deepEqual([sorted.indexOf('quamba2') - sorted.indexOf('mamba-pkd'), entries[2].date], [1, '2024-10'])
})

test('signatures count authors, or name who signs', () => {
  const of = (id: string) => signature(entries.find((entry) => entry.id === id)!)
  assert.deepEqual([of('mamba'), of('nemotron-elastic'), of('quamba')], ['2 authors', 'NVIDIA', ''])
})

test('a citation holds what is known and nothing else', () => {
  const of = (id: string) => bibtex(entries.find((entry) => entry.id === id)!)
  assert.equal(
    of('graph-mamba'),
    `@misc{graph-mamba,
  title         = {{Graph Mamba: Towards Learning on Graphs with State Space Models}},
  author        = {Behrouz and Hashemi},
  year          = {2024},
  eprint        = {2402.08678},
  archiveprefix = {arXiv},
  note          = {KDD 2024},
  url           = {https://arxiv.org/abs/2402.08678},
}
`,
  )
  assert.doesNotMatch(of('plainmamba'), /author/)
})

test('a hostile title cannot break out of its citation', () => {
  const title = 'A \\input{x} } @misc{evil, title={% # $ & _ ^ ~'
  const hostile: Entry = { ...entries[0], id: 'a} b', title, authors: undefined }
  const text = bibtex(hostile)
  let depth = 0
  for (const character of text) {
    depth += character === '{' ? 1 : character === '}' ? -1 : 0
    assert.ok(depth >= 0)
  }
  assert.equal(depth, 0)
  assert.match(text, /^@misc\{a--b,\n/)
  assert.doesNotMatch(text, /(?<!\\)[%#$&_]/)
})

test('text from outside is one plain line', () => {
  assert.equal(plainText('  a\r\n\tb\u0000\u202e\u2066c\u200f\ud800 d  '), 'a bc d')
  assert.equal(plainText('x'.repeat(10_000), 300).length, 300)
  assert.equal(plainText('日本語 العربية', 300), '日本語 العربية')
})

test('only http and https are addresses', () => {
  assert.equal(webAddress(' https://example.org/a b '), 'https://example.org/a%20b')
  for (const text of ['javascript:alert(1)', 'data:text/html,x', 'file:///etc/passwd', '//x', 'x', '', 'http://'])
    assert.equal(webAddress(text), null, text)
})
