// The citation of an entry. Only facts that are known are in it.
import type { Entry } from './entry.js'

/** Characters with a meaning in TeX; braces as commands, because BibTeX counts escaped ones too. */
const special: Readonly<Record<string, string>> = {
  '\\': '\\textbackslash{}',
  '{': '\\textbraceleft{}',
  '}': '\\textbraceright{}',
  '~': '\\textasciitilde{}',
  '^': '\\textasciicircum{}',
}

const texText = (text: string) => text.replace(/[\\{}~^&%$#_]/g, (character) => special[character] ?? `\\${character}`)

/** A BibTeX entry, its key the entry's id. */
export function bibtex(entry: Entry): string {
  const { id, title, authors, date, arxiv, venue, links } = entry
  const fields: [string, string | undefined][] = [
    // The inner braces keep capitals.
    ['title', `{${texText(title)}}`],
    ['author', authors?.replace(/[\\%$#_~^]/g, '')],
    ['year', date?.slice(0, 4)],
    ['eprint', arxiv],
    ['archiveprefix', arxiv && 'arXiv'],
    ['note', venue],
    ['url', links[0]?.href.replace(/[{}\\]/g, encodeURIComponent)],
  ]
  const lines = fields.filter(([, value]) => value).map(([name, value]) => `  ${name.padEnd(13)} = {${value}},`)
  return `@misc{${id.replace(/[^\w:.-]/g, '-')},\n${lines.join('\n')}\n}\n`
}
