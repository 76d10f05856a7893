// The Atom feed (RFC 4287) of papers and of reproduction results. Node only.
import { createHash } from 'node:crypto'
import type { Entry } from './entry.js'
import { entryPath, type News, news, resultSentence } from './news.js'
import { escapeMarkup } from './plainText.js'

export interface FeedOptions {
  /** Where the page is; absent in a static build, which does not know its address. */
  readonly site?: string
  /** The newest so many. */
  readonly most?: number
}

export function atomFeed(entries: readonly Entry[], { site, most = 100 }: FeedOptions = {}): string {
  const items = news(entries).slice(0, most)
  const updated =
    items
      .map(({ date }) => instant(date))
      .sort()
      .at(-1) ?? instant(null)
  const page = site ?? './'
  const lines = [
    '<?xml version="1.0" encoding="utf-8"?>',
    '<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="en">',
    '  <title>mambakit papers</title>',
    '  <subtitle>Mamba papers, and what came of reproducing them</subtitle>',
    `  <id>${urn('feed')}</id>`,
    `  <updated>${updated}</updated>`,
    '  <author><name>mambakit</name></author>',
    `  <link rel="self" type="application/atom+xml" href="${escapeMarkup(site ? `${site}feed.xml` : 'feed.xml')}"/>`,
    `  <link rel="alternate" type="text/html" href="${escapeMarkup(page)}"/>`,
    ...items.flatMap((item) => feedEntry(item, page)),
    '</feed>',
  ]
  return `${lines.join('\n')}\n`
}

function feedEntry({ key, title, date, entry, verdict }: News, page: string): string[] {
  const { id, summary, links, domain, authors } = entry
  const names = verdict || !authors ? [] : authors.split(' and ').filter((name) => name !== 'others')
  const text = verdict ? resultSentence(entry) : summary
  return [
    '  <entry>',
    `    <title>${escapeMarkup(title)}</title>`,
    `    <id>${urn(key)}</id>`,
    `    <updated>${instant(date)}</updated>`,
    ...names.map((name) => `    <author><name>${escapeMarkup(name.replace(/[{}]/g, ''))}</name></author>`),
    `    <link rel="alternate" type="text/html" href="${escapeMarkup(page + entryPath(id))}"/>`,
    ...links.map(
      ({ label, href }) => `    <link rel="related" title="${escapeMarkup(label)}" href="${escapeMarkup(href)}"/>`,
    ),
    ...domain.split(', ').map((term) => `    <category term="${escapeMarkup(term)}"/>`),
    `    <summary>${escapeMarkup(text)}</summary>`,
    '  </entry>',
  ]
}

/** A name for what has no address of its own; the same key gives the same name wherever the feed is made. */
function urn(key: string): string {
  const hex = createHash('sha256').update(`mambakit ${key}`).digest('hex')
  // Version 8 of RFC 9562: a UUID from a hash of our choice.
  const variant = ((Number.parseInt(hex[16], 16) & 3) | 8).toString(16)
  return `urn:uuid:${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

/** RFC 3339; a month is its first day, and what has no date is older than everything else. */
function instant(date: string | null): string {
  const day = date === null ? '2000-01-01' : date.length === 7 ? `${date}-01` : date
  return `${day}T00:00:00Z`
}
