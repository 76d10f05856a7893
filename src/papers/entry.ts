// A paper as lists, pages, feeds and mails show it: the 33 of the catalogue with what they have come to, and those that
// a user keeps beside them.
import { paperFacts } from './facts.js'
import type { Paper } from './index.js'
import { type PaperResult, type PaperState, paperState } from './state.js'

export interface Link {
  readonly label: string
  readonly href: string
}

export interface Entry {
  /** Names the entry in addresses: the slug, or an id of its own for a user's paper. */
  readonly id: string
  /** Position in the catalogue; absent for a user's paper. */
  readonly number?: number
  readonly title: string
  /** BibTeX's form ("A and B"); absent where names are not known. */
  readonly authors?: string
  /** A count, the organisation that signs, or null where neither is known. */
  readonly signed: number | string | null
  /** ISO day, or a month where the day is not known; null where neither is. */
  readonly date: string | null
  /** Several are separated by commas. */
  readonly domain: string
  readonly summary: string
  readonly claim?: string
  readonly arxiv?: string
  readonly venue?: string
  readonly links: readonly Link[]
  /** Absent for a user's paper. */
  readonly state?: PaperState
  readonly result?: PaperResult
}

/** The entry of a catalogue paper, given its result or null. */
export function catalogueEntry(paper: Paper, result: PaperResult | null): Entry {
  const { idea, claim, arxiv, code, codeNote, authors, venue } = paperFacts[paper.slug]
  const links = [{ label: 'arXiv', href: `https://arxiv.org/abs/${arxiv}` }]
  if (code) links.push({ label: codeNote ? `Code (${codeNote})` : 'Code', href: `https://github.com/${code}` })
  const state = paperState(paper, result)
  return {
    id: paper.slug,
    number: paper.number,
    title: paper.title,
    authors,
    signed: paper.authors,
    date: paper.date ?? arxivMonth(arxiv),
    domain: paper.domain,
    summary: idea,
    claim,
    arxiv,
    venue,
    links,
    state,
    // A planned paper has no result, whatever files lie about.
    result: state === 'planned' ? undefined : (result ?? undefined),
  }
}

/** The month that an arXiv identifier names ("2410.13229": 2024-10), or null. */
export function arxivMonth(arxiv: string): string | null {
  const match = /^(\d\d)(0[1-9]|1[0-2])\.\d{4,5}/.exec(arxiv)
  return match && `20${match[1]}-${match[2]}`
}

/** "5 authors", "1 author", "NVIDIA"; names where only they are known; empty where nothing is. */
export function signature({ signed, authors }: Entry): string {
  if (typeof signed === 'number') return signed === 1 ? '1 author' : `${signed} authors`
  return signed ?? authors?.replace(/ and others$/, ' et al.').replace(/ and /g, ', ') ?? ''
}

/** Newest first; months after their days, entries without a date last; the list's order among equals. */
export function byDate(a: { readonly date: string | null }, b: { readonly date: string | null }): number {
  return (b.date ?? '').localeCompare(a.date ?? '')
}

export function byTitle(a: Entry, b: Entry): number {
  return a.title.localeCompare(b.title, 'en', { sensitivity: 'base' })
}
