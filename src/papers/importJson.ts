// Reads a plain JSON list of papers: an array, or an object whose `papers` is one.
//   [{ "title": "...", "authors": ["..."], "date": "2026-01-31", "abstract": "...", "categories": ["..."],
//      "links": { "Paper": "https://...", "Code": "https://..." } }]
// Only the title is needed. `links` may also be an array of addresses.
import type { Link } from './entry.js'
import { ImportError, mostPapers, type RawPaper } from './listPaper.js'

const fields = ['title', 'authors', 'date', 'abstract', 'categories', 'links']

/** The papers of a JSON document, in order. Throws ImportError that names the file, the paper and the field. */
export function parseJson(json: string, file: string): RawPaper[] {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (error) {
    throw new ImportError(`${file}: expected JSON; ${(error as Error).message}`)
  }
  const list = isRecord(value) ? value.papers : value
  if (!Array.isArray(list))
    throw new ImportError(`${file}: expected a list of papers, or an object with such a list as 'papers'`)
  if (list.length === 0) throw new ImportError(`${file}: expected at least one paper, the list is empty`)
  if (list.length > mostPapers)
    throw new ImportError(`${file}: expected at most ${mostPapers} papers, got ${list.length}`)
  return list.map((paper, i) => readPaper(paper, `${file}, paper ${i + 1}`))
}

function readPaper(value: unknown, where: string): RawPaper {
  const expected = (what: string) => new ImportError(`${where}: expected ${what}`)
  if (!isRecord(value)) throw expected(`an object with ${fields.join(', ')}`)
  const unknown = Object.keys(value).find((key) => !fields.includes(key))
  if (unknown !== undefined) throw expected(`only the fields ${fields.join(', ')}, got '${unknown.slice(0, 40)}'`)
  const text = (name: string): string | null => {
    const found = value[name]
    if (found === undefined || found === null) return null
    if (typeof found === 'string') return found
    throw expected(`${name} to be a text`)
  }
  const texts = (name: string): string[] => {
    const found = value[name] ?? []
    if (Array.isArray(found) && found.every((item) => typeof item === 'string')) return found
    throw expected(`${name} to be a list of texts`)
  }
  const title = text('title')
  if (title === null) throw expected('a title')
  return {
    title,
    authors: texts('authors'),
    date: text('date'),
    abstract: text('abstract') ?? '',
    categories: texts('categories'),
    links: readLinks(value.links, expected),
  }
}

function readLinks(value: unknown, expected: (what: string) => ImportError): Link[] {
  if (value === undefined || value === null) return []
  if (Array.isArray(value) && value.every((href) => typeof href === 'string'))
    return value.map((href) => ({ label: 'Link', href }))
  if (isRecord(value) && !Array.isArray(value)) {
    const pairs = Object.entries(value)
    if (pairs.every(([, href]) => typeof href === 'string'))
      return pairs.map(([label, href]) => ({ label, href: href as string }))
  }
  throw expected('links to be addresses by name, such as { "Paper": "https://..." }, or a list of them')
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
