// CSV by RFC 4180: fields in quotes may hold commas, line breaks and doubled quotes. Tabs work as commas where the first
// line has tabs and no comma.
import { DataError } from './bytes.js'

export interface CsvRow {
  /** From 1. */
  readonly line: number
  readonly fields: readonly string[]
}

/** The rows of a text; empty lines are left out. Throws DataError where a quote does not end. */
export function readCsv(name: string, text: string): CsvRow[] {
  const head = text.slice(0, text.search(/[\r\n]|$/))
  const separator = head.includes('\t') && !head.includes(',') ? '\t' : ','
  const rows: CsvRow[] = []
  let line = 1
  for (let at = text.startsWith('\ufeff') ? 1 : 0; at < text.length; ) {
    const first = line
    const fields: string[] = []
    for (;;) {
      let field = ''
      if (text[at] === '"') {
        let end = text.indexOf('"', at + 1)
        while (end !== -1 && text[end + 1] === '"') end = text.indexOf('"', end + 2)
        if (end === -1) throw new DataError(name, `line ${first}: expected the end of a quoted field`)
        field = text.slice(at + 1, end)
        line += field.split('\n').length - 1
        field = field.replaceAll('""', '"')
        at = end + 1
      } else {
        const start = at
        while (at < text.length && text[at] !== separator && text[at] !== '\n' && text[at] !== '\r') at++
        field = text.slice(start, at)
      }
      fields.push(field)
      if (text[at] !== separator) break
      at++
    }
    if (text[at] === '\r') at++
    if (at < text.length && text[at] !== '\n' && text[at - 1] !== '\r')
      throw new DataError(name, `line ${line}: expected a separator after a quoted field`)
    if (text[at] === '\n') at++
    line++
    if (fields.length > 1 || fields[0] !== '') rows.push({ line: first, fields })
  }
  return rows
}
