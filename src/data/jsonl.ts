// JSON-lines files as text: the chosen field of every record, one after another. A sparse index made in one pass lets
// any range be read again by parsing a few kilobytes, so that the file is never in memory as a whole.
import { type ByteSource, DataError, lastAtMost, pieces } from './bytes.js'

/** Text bytes between two entries of the index: small enough to parse for every window, large enough to keep the index small. */
const blockBytes = 16 * 1024
/** A longer line is taken for a file that is no JSON-lines at all. */
const longestLine = 64 * 1024 * 1024

/**
 * The texts of a JSON-lines source, each followed by `separator` but the last. Records with an empty text are skipped.
 * Throws DataError with the line number where a line is not an object with a string `field`.
 */
export async function jsonlText(source: ByteSource, field: string, separator: Uint8Array): Promise<ByteSource> {
  // Block i holds the records of lines firstLine[i], ...; its text begins at textStart[i], its lines at fileStart[i].
  const textStart: number[] = []
  const fileStart: number[] = []
  const firstLine: number[] = []
  let texts = 0
  for await (const { line, start, bytes } of lines(source)) {
    const text = recordText(source.name, line, bytes, field)
    if (text.length === 0) continue
    if (textStart.length === 0 || texts - textStart.at(-1)! >= blockBytes) {
      textStart.push(texts)
      fileStart.push(start)
      firstLine.push(line)
    }
    texts += text.length + separator.length
  }
  if (textStart.length === 0) throw new DataError(source.name, `expected records with text in "${field}", found none`)
  const size = texts - separator.length
  fileStart.push(source.size)
  textStart.push(texts)

  const parseBlock = async (block: number): Promise<Uint8Array> => {
    const out = new Uint8Array(textStart[block + 1] - textStart[block])
    let at = 0
    const part = partOf(source, fileStart[block], fileStart[block + 1])
    for await (const { line, bytes } of lines(part, firstLine[block])) {
      const text = recordText(source.name, line, bytes, field)
      if (text.length === 0) continue
      if (at + text.length + separator.length > out.length) throw changed(source)
      out.set(text, at)
      out.set(separator, at + text.length)
      at += text.length + separator.length
    }
    if (at !== out.length) throw changed(source)
    return out
  }
  // Consecutive reads mostly fall into the same block.
  let latest: { block: number; text: Promise<Uint8Array> } = { block: -1, text: Promise.resolve(new Uint8Array()) }
  const blockText = (block: number) => {
    if (latest.block !== block) latest = { block, text: parseBlock(block) }
    return latest.text
  }
  return {
    name: source.name,
    size,
    async read(offset, length) {
      const out = new Uint8Array(length)
      for (let block = lastAtMost(textStart, offset), at = offset; at < offset + length; block++) {
        const text = await blockText(block)
        const from = at - textStart[block]
        const part = text.subarray(from, from + offset + length - at)
        out.set(part, at - offset)
        at += part.length
      }
      return out
    },
    close: () => source.close(),
  }
}

function changed(source: ByteSource): DataError {
  return new DataError(source.name, 'the file changed while it was being read; start again')
}

function partOf(source: ByteSource, begin: number, end: number): ByteSource {
  const { name } = source
  return {
    name,
    size: end - begin,
    read: (offset, length) => source.read(begin + offset, length),
    close: () => source.close(),
  }
}

interface Line {
  /** Counted from 1. */
  readonly line: number
  /** Where the line begins in the source. */
  readonly start: number
  readonly bytes: Uint8Array
}

/** The lines of a source, without their line feeds; blank ones are counted but not given. */
async function* lines(source: ByteSource, first = 1): AsyncGenerator<Line> {
  let line = first
  let start = 0
  let open: Uint8Array = new Uint8Array()
  for await (const piece of pieces(source)) {
    let from = 0
    for (let feed = piece.indexOf(10); feed !== -1; feed = piece.indexOf(10, from)) {
      const bytes = open.length > 0 ? concat(open, piece.subarray(from, feed)) : piece.subarray(from, feed)
      if (bytes.some((byte) => byte !== 0x20 && byte !== 0x0d && byte !== 0x09)) yield { line, start, bytes }
      line++
      start += bytes.length + 1
      open = new Uint8Array()
      from = feed + 1
    }
    open = concat(open, piece.subarray(from))
    if (open.length > longestLine) {
      throw new DataError(source.name, `line ${line} is longer than ${longestLine} bytes; is this a JSON-lines file?`)
    }
  }
  if (open.some((byte) => byte !== 0x20 && byte !== 0x0d && byte !== 0x09)) yield { line, start, bytes: open }
}

function recordText(file: string, line: number, bytes: Uint8Array, field: string): Uint8Array {
  const fail = (got: string) =>
    new DataError(file, `line ${line}: expected a JSON object with a string field "${field}", got ${got}`)
  let record: unknown
  let written = ''
  try {
    written = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw fail('bytes that are not UTF-8')
  }
  try {
    record = JSON.parse(written)
  } catch {
    throw fail(`text that is not JSON: ${JSON.stringify(written.slice(0, 40))}`)
  }
  if (typeof record !== 'object' || record === null || Array.isArray(record)) throw fail(written.slice(0, 40))
  const text = (record as Record<string, unknown>)[field]
  if (typeof text !== 'string') {
    throw fail(
      text === undefined ? `the fields ${Object.keys(record).slice(0, 8).join(', ')}` : `a ${typeof text} in it`,
    )
  }
  if (text.includes('\0')) throw new DataError(file, `line ${line}: expected text in "${field}", got a NUL character`)
  return new TextEncoder().encode(text)
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length)
  out.set(a)
  out.set(b, a.length)
  return out
}
