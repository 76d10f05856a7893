import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { SaxesParser, type SaxesTagNS } from 'saxes'
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

/** How often each child may be there, from the schema of RFC 4287; null is any number. */
const contentModel: Record<string, Record<string, readonly [least: number, most: number | null]>> = {
  feed: {
    title: [1, 1],
    subtitle: [0, 1],
    id: [1, 1],
    updated: [1, 1],
    author: [0, null],
    contributor: [0, null],
    category: [0, null],
    generator: [0, 1],
    icon: [0, 1],
    logo: [0, 1],
    link: [0, null],
    rights: [0, 1],
    entry: [0, null],
  },
  entry: {
    title: [1, 1],
    id: [1, 1],
    updated: [1, 1],
    published: [0, 1],
    author: [0, null],
    contributor: [0, null],
    category: [0, null],
    content: [0, 1],
    link: [0, null],
    rights: [0, 1],
    source: [0, 1],
    summary: [0, 1],
  },
  author: { name: [1, 1], uri: [0, 1], email: [0, 1] },
}

/** What of RFC 4287 an Atom feed breaks, in words. */
function faults(xml: string): string[] {
  const found: string[] = []
  const feed = parse(xml)
  if (feed.tag.uri !== 'http://www.w3.org/2005/Atom' || feed.tag.local !== 'feed') return ['the root is not atom:feed']
  const value = (element: Element, name: string) => element.tag.attributes[name]?.value
  const check = (element: Element) => {
    const { local } = element.tag
    const model = contentModel[local]
    if (model) {
      const counts = new Map<string, number>()
      for (const { tag } of element.children) counts.set(tag.local, (counts.get(tag.local) ?? 0) + 1)
      for (const name of counts.keys()) if (!(name in model)) found.push(`${local} holds ${name}`)
      for (const [name, [least, most]] of Object.entries(model)) {
        const n = counts.get(name) ?? 0
        if (n < least || (most !== null && n > most)) found.push(`${local} has ${n} ${name}`)
      }
      if (element.text.trim() !== '') found.push(`${local} holds text`)
      element.children.forEach(check)
      return
    }
    if (element.children.length > 0) found.push(`${local} holds markup`)
    if (local === 'updated' || local === 'published')
      if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(element.text))
        found.push(`${local} ${element.text}`)
    if (local === 'id' && !/^[a-z][a-z0-9+.-]*:\S+$/.test(element.text)) found.push(`id ${element.text} is no IRI`)
    if (local === 'link' && !value(element, 'href')) found.push('link without href')
    if (local === 'category' && !value(element, 'term')) found.push('category without term')
    if (local === 'name' && element.text.trim() === '') found.push('name without text')
  }
  check(feed)
  const entries = feed.children.filter(({ tag }) => tag.local === 'entry')
  const has = (element: Element, name: string) => element.children.some(({ tag }) => tag.local === name)
  if (!has(feed, 'author') && !entries.every((entry) => has(entry, 'author'))) found.push('no author')
  const texts = (name: string) => entries.map((entry) => entry.children.find(({ tag }) => tag.local === name)?.text)
  if (new Set(texts('id')).size !== entries.length) found.push('two entries share an id')
  for (const element of [feed, ...entries]) {
    const alternates = element.children.filter(
      ({ tag }) => tag.local === 'link' && tag.attributes.rel?.value === 'alternate',
    )
    const kinds = alternates.map((link) => `${value(link, 'type')} ${value(link, 'hreflang')}`)
    if (new Set(kinds).size !== kinds.length) found.push('two alternate links of one type and language')
    if (!has(element, 'content') && alternates.length === 0)
      found.push(`${element.tag.local} has neither content nor alternate`)
  }
  if (!feed.children.some(({ tag }) => tag.local === 'link' && tag.attributes.rel?.value === 'self'))
    found.push('no self link')
  return found
}

describe('the Atom feed', () => {
  const feed = atomFeed([...catalogue, hostile], { site: 'https://example.org/papers/' })

  test('keeps the rules of RFC 4287, with hostile papers too', () => {
    assert.deepEqual(faults(feed), [])
    assert.deepEqual(faults(atomFeed(catalogue)), [])
    assert.deepEqual(faults(atomFeed([])), [])
  })

  test('the rules catch a feed that breaks them', () => {
    const broken: [string | RegExp, string, RegExp][] = [
      [/<id>[^<]*<\/id>/, '', /feed has 0 id/],
      [/T00:00:00Z/, '', /updated \d/],
      ['<title>mambakit papers</title>', '<title>a</title><title>b</title>', /feed has 2 title/],
      [/<author><name>mambakit/, '<author><name>', /name without text/],
      [/<entry>/, '<entry><foo/>', /entry holds foo/],
      [/ href="[^"]*"/, '', /link without href/],
    ]
    for (const [part, by, fault] of broken) assert.match(faults(feed.replace(part, by)).join('; '), fault)
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
