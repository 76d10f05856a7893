// A paper of the user's own list: what an import may say about it, made safe to show, and the entry that it becomes.
import { MambakitError } from '../errors.js'
import { arxivMonth, type Entry, type Link } from './entry.js'
import { plainText, webAddress } from './plainText.js'

export interface ListPaper {
  readonly id: string
  readonly title: string
  readonly authors: readonly string[]
  /** ISO day or month. */
  readonly date: string | null
  readonly abstract: string
  readonly categories: readonly string[]
  readonly arxiv: string | null
  readonly links: readonly Link[]
}

/** What an import hands over: fields as the file has them. */
export interface RawPaper {
  readonly title: string
  readonly authors: readonly string[]
  readonly date: string | null
  readonly abstract: string
  readonly categories: readonly string[]
  readonly links: readonly Link[]
}

/** A list that is imported is not what it should be. The message names file and place. */
export class ImportError extends MambakitError {
  override name = 'ImportError'
}

/** An import of more papers is a mistake or an attack. */
export const mostPapers = 100_000

const mostTitle = 300
const mostAbstract = 5000
const mostName = 100
const mostAuthors = 500

export interface CheckedPaper {
  readonly paper: ListPaper
  /** What was shortened, as a sentence; absent where nothing was. */
  readonly note?: string
}

/** Cleans and checks a paper. `where` names its place in messages, as in "papers.json, paper 3". */
export function checkedPaper(raw: RawPaper, where: string): CheckedPaper {
  const title = plainText(raw.title, mostTitle)
  if (title === '') throw new ImportError(`${where}: expected a title with visible text; add one or remove the paper`)
  const links = raw.links.map(({ label, href }) => {
    const address = webAddress(href)
    if (address !== null) return { label: plainText(label, 40) || 'Link', href: address }
    throw new ImportError(
      `${where}: expected links to be http or https addresses, got '${plainText(href, 80)}'; correct or remove it`,
    )
  })
  const date = raw.date === null ? null : checkedDate(raw.date, where)
  const arxiv = firstArxiv(links)
  const paper: ListPaper = {
    id: arxiv === null ? titleId(title) : `arxiv-${arxiv.replace(/[^\w.-]/g, '-')}`,
    title,
    authors: raw.authors
      .slice(0, mostAuthors)
      // Braces group in BibTeX; a lone one would swallow what follows.
      .map((name) => plainText(name.replace(/[{}]/g, ''), mostName))
      .filter((name) => name !== ''),
    date: date ?? (arxiv && arxivMonth(arxiv)),
    abstract: plainText(raw.abstract, mostAbstract),
    categories: raw.categories
      .slice(0, 20)
      .map((name) => plainText(name, 40).replace(/,/g, ' '))
      .filter(Boolean),
    arxiv,
    links,
  }
  const shortened = [
    [title, raw.title, mostTitle, 'title'] as const,
    [paper.abstract, raw.abstract, mostAbstract, 'abstract'] as const,
  ].filter(([now, before, most]) => now.endsWith('…') && before.length > most)
  if (shortened.length === 0) return { paper }
  const parts = shortened.map(([, , most, name]) => `${name} to ${most} characters`)
  return { paper, note: `${where}: cut ${parts.join(' and ')}` }
}

/** Accepts a day, a month, or a date with time; gives the day or month. */
function checkedDate(text: string, where: string): string {
  const match = /^(\d{4}-\d\d(?:-\d\d)?)(?:$|T)/.exec(text.trim())
  const whole = match && (match[1].length === 7 ? `${match[1]}-01` : match[1])
  const time = whole === null ? Number.NaN : Date.parse(`${whole}T00:00:00Z`)
  if (match && new Date(time).toString() !== 'Invalid Date' && new Date(time).toISOString().startsWith(`${whole}`))
    return match[1]
  throw new ImportError(`${where}: expected date to be a day such as 2026-01-31, got '${plainText(text, 40)}'`)
}

function firstArxiv(links: readonly Link[]): string | null {
  for (const { href } of links) {
    const match =
      /^https?:\/\/(?:[\w-]+\.)?arxiv\.org\/(?:abs|pdf)\/([a-z-]+(?:\.[A-Z]{2})?\/\d{7}|\d{4}\.\d{4,5})/.exec(href)
    if (match) return match[1]
  }
  return null
}

/** The same title gives the same id, so that a second import updates. */
function titleId(title: string): string {
  const words = title
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 48)
    .replace(/^-+|-+$/g, '')
  // FNV-1a over the whole title tells apart what the words above cut or drop.
  let hash = 0x811c9dc5
  for (const character of title) hash = Math.imul(hash ^ character.codePointAt(0)!, 0x01000193) >>> 0
  return `my-${words || 'paper'}-${hash.toString(16).padStart(8, '0')}`
}

export function listEntry(paper: ListPaper): Entry {
  const { id, title, authors, date, abstract, categories, arxiv, links } = paper
  return {
    id,
    title,
    authors: authors.length > 0 ? authors.join(' and ') : undefined,
    signed: authors.length > 0 ? authors.length : null,
    date,
    domain: categories.length > 0 ? categories.join(', ') : 'my list',
    summary: abstract,
    arxiv: arxiv ?? undefined,
    links,
  }
}
