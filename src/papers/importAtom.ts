// Reads an Atom feed of papers, such as arXiv's API gives. The parser expands nothing but XML's five entities and
// character references: a document with a DOCTYPE, where entity bombs live, is refused.
import { SaxesParser, type SaxesTagNS } from 'saxes'
import type { Link } from './entry.js'
import { ImportError, mostPapers, type RawPaper } from './listPaper.js'

const atom = 'http://www.w3.org/2005/Atom'
const mostDepth = 64

/** The papers of an Atom document, in order. Throws ImportError that names the file and the line. */
export function parseAtom(xml: string, file: string): RawPaper[] {
  const parser = new SaxesParser({ xmlns: true })
  const fail = (problem: string): never => {
    throw new ImportError(`${file}, line ${parser.line}: ${problem}`)
  }
  const papers: RawPaper[] = []
  const path: SaxesTagNS[] = []
  let entry: EntryDraft | null = null
  let text = ''

  parser.on('error', (error) => fail(`expected well-formed XML; ${error.message.replace(/^[^ ]*\d+:\d+: /, '')}`))
  parser.on('doctype', () => fail('expected no DOCTYPE in an Atom feed; remove it, entities are not expanded'))
  parser.on('opentag', (tag) => {
    if (path.length === 0 && !(tag.uri === atom && (tag.local === 'feed' || tag.local === 'entry')))
      fail(`expected an Atom feed, got <${tag.name}>; save the answer of arXiv's API (export.arxiv.org/api/query)`)
    path.push(tag)
    if (path.length > mostDepth) fail(`expected at most ${mostDepth} elements inside each other`)
    text = ''
    if (tag.uri !== atom) return
    if (tag.local === 'entry') entry = newDraft()
    else if (entry && path.length === entryDepth(path) + 2) readAttributes(entry, tag)
  })
  const addText = (chunk: string) => {
    text += chunk
  }
  parser.on('text', addText)
  parser.on('cdata', addText)
  parser.on('closetag', (tag) => {
    if (entry && tag.uri === atom) readText(entry, tag.local, path.at(-2)?.local, text)
    if (entry && tag.uri === atom && tag.local === 'entry') {
      papers.push(finished(entry))
      entry = null
      if (papers.length > mostPapers) fail(`expected at most ${mostPapers} entries`)
    }
    path.pop()
    // An element's text is what follows its last child; markup inside abstracts is not kept.
    text = ''
  })
  parser.write(xml).close()
  if (papers.length === 0) throw new ImportError(`${file}: expected at least one <entry> in the feed, found none`)
  return papers
}

interface EntryDraft {
  id: string
  title: string
  published: string
  updated: string
  summary: string
  content: string
  authors: string[]
  categories: string[]
  links: Link[]
}

const newDraft = (): EntryDraft => ({
  id: '',
  title: '',
  published: '',
  updated: '',
  summary: '',
  content: '',
  authors: [],
  categories: [],
  links: [],
})

/** Index in the path of the <entry> element. */
const entryDepth = (path: readonly SaxesTagNS[]) =>
  path.findIndex(({ local, uri }) => local === 'entry' && uri === atom)

function readAttributes(entry: EntryDraft, tag: SaxesTagNS): void {
  const attribute = (name: string) => tag.attributes[name]?.value ?? ''
  if (tag.local === 'category' && attribute('term') !== '') entry.categories.push(attribute('term'))
  if (tag.local !== 'link' || attribute('href') === '') return
  const relation = attribute('rel') || 'alternate'
  const pdf = attribute('title') === 'pdf' || attribute('type') === 'application/pdf'
  if (relation === 'alternate') entry.links.unshift({ label: labelOf(attribute('href')), href: attribute('href') })
  else if (relation === 'related' && !pdf)
    entry.links.push({ label: attribute('title') || labelOf(attribute('href')), href: attribute('href') })
}

const labelOf = (href: string) => {
  if (/^https?:\/\/([\w-]+\.)?arxiv\.org\//.test(href)) return 'arXiv'
  return /^https?:\/\/(github|gitlab)\.com\//.test(href) ? 'Code' : 'Paper'
}

function readText(entry: EntryDraft, name: string, parent: string | undefined, text: string): void {
  if (name === 'name' && parent === 'author') entry.authors.push(text)
  if (parent !== 'entry') return
  if (name === 'title' || name === 'summary' || name === 'content') entry[name] = text
  if (name === 'id' || name === 'published' || name === 'updated') entry[name] = text.trim()
}

function finished(entry: EntryDraft): RawPaper {
  const { id, links, categories } = entry
  const known = links.length > 0 ? links : /^https?:/.test(id) ? [{ label: labelOf(id), href: id }] : []
  return {
    title: entry.title,
    authors: entry.authors,
    date: entry.published || entry.updated || null,
    abstract: entry.summary || entry.content,
    categories: [...new Set(categories)],
    links: known,
  }
}
