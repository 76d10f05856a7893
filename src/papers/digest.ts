// A digest as a mail: subject, HTML and text that say the same. Everything from outside is escaped, and no image or
// script is in it, so that every reader shows it and nobody is tracked.
import { type Entry, signature } from './entry.js'
import { entryPath, type News, resultSentence } from './news.js'
import { escapeMarkup } from './plainText.js'

export interface DigestMessage {
  readonly subject: string
  readonly html: string
  readonly text: string
}

export interface DigestOptions {
  /** Address of the page, ending in a slash; without it entries link to their papers only. */
  readonly site?: string
  /** Stands in both bodies where each reader's own address for unsubscribing goes. */
  readonly unsubscribe?: string
}

/** Composes the digest of `items`, which must not be empty. */
export function composeDigest(items: readonly News[], { site, unsubscribe }: DigestOptions = {}): DigestMessage {
  const results = items.filter(({ verdict }) => verdict)
  const papers = items.filter(({ verdict }) => !verdict)
  const counted = [count(papers.length, 'paper'), count(results.length, 'result')].filter(Boolean).join(' and ')
  const subject = items.length === 1 ? `mambakit: ${clipped(items[0].title, 80)}` : `mambakit: ${counted}`
  const sections = [
    { heading: 'Results', items: results },
    { heading: 'Papers', items: papers },
  ].filter((section) => section.items.length > 0)
  return {
    subject,
    html: html(subject, counted, sections, site, unsubscribe),
    text: text(counted, sections, site, unsubscribe),
  }
}

interface Section {
  readonly heading: string
  readonly items: readonly News[]
}

const count = (n: number, what: string) => (n === 0 ? '' : `${n} ${what}${n === 1 ? '' : 's'}`)

function clipped(line: string, most: number): string {
  const characters = [...line]
  return characters.length <= most ? line : `${characters.slice(0, most - 1).join('')}…`
}

/** The line under a title. */
function facts({ entry, date }: News): string {
  return [date, signature(entry), entry.domain].filter(Boolean).join(' · ')
}

const bodyOf = (item: News) => (item.verdict ? resultSentence(item.entry) : clipped(item.entry.summary, 600))

const linksOf = (entry: Entry, site: string | undefined) => [
  ...(site ? [{ label: 'Page', href: site + entryPath(entry.id) }] : []),
  ...entry.links,
]

function text(counted: string, sections: readonly Section[], site?: string, unsubscribe?: string): string {
  const blocks = sections.flatMap(({ heading, items }) => [
    heading.toUpperCase(),
    ...items.map((item) =>
      [
        wrapped(item.title),
        facts(item),
        wrapped(bodyOf(item)),
        ...linksOf(item.entry, site).map(({ label, href }) => `${label}: ${href}`),
      ]
        .filter(Boolean)
        .join('\n'),
    ),
  ])
  const foot = unsubscribe ? [`--\nYou subscribed to this digest. Unsubscribe: ${unsubscribe}`] : []
  return `${[`New on the papers page: ${counted}.`, ...blocks, ...foot].join('\n\n')}\n`
}

/** Lines of at most 76 characters; longer words stay whole. */
function wrapped(paragraph: string): string {
  const lines = ['']
  for (const word of paragraph.split(' ')) {
    const last = lines.at(-1)!
    if (last !== '' && last.length + 1 + word.length > 76) lines.push(word)
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`
  }
  return lines.join('\n')
}

const style = {
  body: 'margin:0;padding:24px 16px;background:#fcfdfb;color:#18211d;font:16px/1.55 Georgia,serif',
  page: 'max-width:620px;margin:0 auto',
  heading: 'font:600 13px/1.4 system-ui,sans-serif;letter-spacing:.04em;color:#55625b;margin:32px 0 8px',
  item: 'border-top:1px solid #dfe6e0;padding:16px 0',
  title: 'font-size:19px;line-height:1.3;margin:0 0 4px;font-weight:600;overflow-wrap:anywhere',
  facts: 'font:13px/1.5 system-ui,sans-serif;color:#55625b;margin:0 0 8px',
  links: 'font:14px/1.5 system-ui,sans-serif;margin:8px 0 0',
  link: 'color:#0b5c45',
  foot: 'border-top:1px solid #dfe6e0;padding-top:16px;font:13px/1.5 system-ui,sans-serif;color:#55625b',
}

function html(subject: string, counted: string, sections: readonly Section[], site?: string, unsubscribe?: string) {
  const link = (label: string, href: string) =>
    `<a href="${escapeMarkup(href)}" style="${style.link}">${escapeMarkup(label)}</a>`
  const item = (news: News) => {
    const links = linksOf(news.entry, site).map(({ label, href }) => link(label, href))
    const [first] = linksOf(news.entry, site)
    // The direction of a title from outside ends with the title.
    const title = `<bdi>${first ? link(news.title, first.href) : escapeMarkup(news.title)}</bdi>`
    return `<div style="${style.item}">
<h3 style="${style.title}">${title}</h3>
<p style="${style.facts}">${escapeMarkup(facts(news))}</p>
<p style="margin:0"><bdi>${escapeMarkup(bodyOf(news))}</bdi></p>
<p style="${style.links}">${links.join(' &middot; ')}</p>
</div>`
  }
  const body = sections.map(
    ({ heading, items }) => `<h2 style="${style.heading}">${heading}</h2>\n${items.map(item).join('\n')}`,
  )
  const foot = unsubscribe
    ? `<p style="${style.foot}">You subscribed to this digest. ${link('Unsubscribe', unsubscribe)}</p>`
    : ''
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeMarkup(subject)}</title></head>
<body style="${style.body}"><div style="${style.page}">
<p style="margin:0">New on the papers page: ${escapeMarkup(counted)}.</p>
${body.join('\n')}
${foot}
</div></body></html>
`
}
