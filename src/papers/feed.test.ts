import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { SaxesParser, type SaxesTagNS } from 'saxes'
import { validateXML } from 'xmllint-wasm'
import { composeDigest } from './digest.js'
import { catalogueEntry, type Entry } from './entry.js'
import { atomFeed } from './feed.node.js'
import { papers } from './index.js'
import { checkedPaper, listEntry } from './listPaper.js'
import { news } from './news.js'

const result = {
  command: 'mambakit reproduce mamba --full',
  commit: '0123abc',
  seeds: [1, 2, 3],
  verdict: 'reproduced' as const,
  interval: [0.2, 0.5] as const,
  date: '2026-01-02',
}
const catalogue = papers.map((paper) =>
  catalogueEntry(
    paper.slug === 'mamba' ? { ...paper, load: async () => ({}) } : paper,
    paper.slug === 'mamba' ? result : null,
  ),
)
const hostile = listEntry(
  checkedPaper(
    {
      title: `<script>alert(1)</script> ]]> &amp; "\u202e' ${'x'.repeat(10_000)}`,
      authors: ['A <b>', 'B & C'],
      date: '2026-01',
      abstract: '</summary><entry>',
      categories: ['"><x'],
      links: [{ label: '"><img>', href: 'https://example.org/?a=1&b="2"' }],
    },
    'x',
  ).paper,
)

interface Element {
  readonly tag: SaxesTagNS
  readonly children: Element[]
  text: string
}

function parse(xml: string): Element {
  const root: Element = { tag: {} as SaxesTagNS, children: [], text: '' }
  const path = [root]
  const parser = new SaxesParser({ xmlns: true })
  parser.on('error', (error) => {
    throw error
  })
  parser.on('opentag', (tag) => {
    const element = { tag, children: [], text: '' }
    path.at(-1)!.children.push(element)
    path.push(element)
  })
  parser.on('text', (text) => (path.at(-1)!.text += text))
  parser.on('closetag', () => path.pop())
  parser.write(xml).close()
  return root.children[0]
}

const schema = readFileSync(fileURLToPath(new URL('../../../test/atom.rng', import.meta.url)), 'utf8')

/** What of RFC 4287 Atom feeds break, in words: of its grammar, and of the rules that no grammar can say. */
async function faults(...feeds: readonly string[]): Promise<string[]> {
  const { errors } = await validateXML({
    xml: feeds.map((contents, i) => ({ fileName: `feed${i}.xml`, contents })),
    schema,
    extension: 'relaxng',
  })
  return [...errors.map(({ message }) => message), ...feeds.flatMap(faultsAcrossElements)]
}

function faultsAcrossElements(xml: string): string[] {
  const found: string[] = []
  const feed = parse(xml)
  const value = (element: Element, name: string) => element.tag.attributes[name]?.value
  const entries = feed.children.filter(({ tag }) => tag.local === 'entry')
  const texts = (name: string) => entries.map((entry) => entry.children.find(({ tag }) => tag.local === name)?.text)
  if (new Set(texts('id')).size !== entries.length) found.push('two entries share an id')
  for (const element of [feed, ...entries]) {
    const alternates = element.children.filter(
      ({ tag }) => tag.local === 'link' && tag.attributes.rel?.value === 'alternate',
    )
    const kinds = alternates.map((link) => `${value(link, 'type')} ${value(link, 'hreflang')}`)
    if (new Set(kinds).size !== kinds.length) found.push('two alternate links of one type and language')
    if (!element.children.some(({ tag }) => tag.local === 'content') && alternates.length === 0)
      found.push(`${element.tag.local} has neither content nor alternate`)
  }
  if (!feed.children.some(({ tag }) => tag.local === 'link' && tag.attributes.rel?.value === 'self'))
    found.push('no self link')
  return found
}

describe('the Atom feed', () => {
  const feed = atomFeed([...catalogue, hostile], { site: 'https://example.org/papers/' })

  test('is valid by the schema of RFC 4287, with hostile papers too', async () => {
    assert.deepEqual(await faults(feed, atomFeed(catalogue), atomFeed([])), [])
  })

  test('the schema catches a feed that breaks it', async () => {
    const broken: [string | RegExp, string, RegExp][] = [
      [/<id>[^<]*<\/id>/, '', /Expecting an element id|id/],
      [/T00:00:00Z/, '', /updated|dateTime/],
      ['<title>mambakit papers</title>', '<title>a</title><title>b</title>', /title/],
      [/<author><name>mambakit/, '<author><name>', /name|author/],
      [/<entry>/, '<entry><foo/>', /foo|entry/],
      [/ href="[^"]*"/, '', /link/],
      [/ rel="self"/, ' rel="other"', /no self link/],
    ]
    for (const [part, by, fault] of broken) {
      const found = (await faults(feed.replace(part, by))).join('; ')
      assert.match(found, fault)
    }
  })

  test('tells every paper and result, newest first, under names that stay', () => {
    const entries = parse(feed).children.filter(({ tag }) => tag.local === 'entry')
    const text = (element: Element, name: string) => element.children.find(({ tag }) => tag.local === name)!.text
    assert.equal(entries.length, 35)
    assert.equal(text(entries[0], 'title'), 'Mamba: reproduced')
    assert.match(text(entries[0], 'summary'), /^Verdict: reproduced, from 3 seeds\. .*between 0\.2 and 0\.5/)
    const dates = entries.map((entry) => text(entry, 'updated'))
    assert.deepEqual(dates, [...dates].sort().reverse())
    const again = parse(atomFeed(catalogue)).children.filter(({ tag }) => tag.local === 'entry')
    const mamba = (list: Element[]) =>
      text(list.find((entry) => text(entry, 'title').startsWith('Mamba: Linear'))!, 'id')
    assert.equal(mamba(entries), mamba(again))
    assert.match(mamba(entries), /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  })
})

describe('the digest', () => {
  test('says the same in HTML and text, results first', () => {
    const items = news(catalogue).slice(0, 5)
    const { subject, html, text } = composeDigest(items, { site: 'https://example.org/', unsubscribe: 'UNSUBSCRIBE' })
    assert.equal(subject, 'mambakit: 4 papers and 1 result')
    for (const { title, entry } of items) {
      assert.ok(html.includes(title) && text.replace(/\n/g, ' ').includes(title), title)
      assert.ok(
        html.includes(`https://example.org/#/paper/${entry.id}`) &&
          text.includes(`https://example.org/#/paper/${entry.id}`),
      )
    }
    assert.ok(text.indexOf('RESULTS') < text.indexOf('PAPERS') && html.indexOf('Results') < html.indexOf('Papers'))
    assert.ok(html.includes('href="UNSUBSCRIBE"') && text.includes('Unsubscribe: UNSUBSCRIBE'))
  })

  test('escapes what comes from outside', () => {
    const { subject, html } = composeDigest(news([hostile as Entry]))
    assert.doesNotMatch(html, /<script|<img|<entry|<x|\u202e/)
    assert.ok(html.includes('&lt;script&gt;'))
    assert.doesNotMatch(subject, /[\r\n\u202e]/)
    assert.ok(subject.length <= 100)
  })

  test('asks a reader to fetch nothing', () => {
    const { html } = composeDigest(news(catalogue))
    assert.doesNotMatch(html, /<(img|link|script|iframe|style)\b|url\(/)
  })
})
