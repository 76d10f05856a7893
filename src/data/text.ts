// Text as a stream of byte tokens with random access, checked once from end to end, and its split into a training and a
// held-out part. Takes byte sources, so that it serves files (text.node.ts) and pages alike.
import { MambakitError } from '../errors.js'
import { type ByteSource, DataError, joinSources, pieces } from './bytes.js'
import { jsonlText } from './jsonl.js'
import { byteTokenizer } from './tokenizer.js'
import { TextChecker } from './utf8.js'

/** Tokens in order, readable at any position. */
export interface TokenSource {
  readonly name: string
  readonly length: number
  readonly vocabSize: number
  /** Exactly `length` tokens from `offset`, as int32. */
  read(offset: number, length: number): Promise<Int32Array>
}

export interface TextFormat {
  /** The field of a JSON-lines record that holds its text. */
  readonly field?: string
  /** Stands between two files or records. By default the byte tokenizer's end-of-text token. */
  readonly separator?: string
}

/**
 * The byte tokens of sources one after another; those named *.jsonl or *.ndjson are read as JSON lines. Each is read
 * once to check it. Throws DataError where one is empty or not text.
 */
export async function textTokens(sources: readonly ByteSource[], format: TextFormat = {}): Promise<TokenSource> {
  const { field = 'text', separator = '\0' } = format
  const between = new TextEncoder().encode(separator)
  if (sources.length === 0) throw new MambakitError('expected at least one text to read, got none')
  const texts: ByteSource[] = []
  for (const source of sources) {
    if (source.size === 0) throw new DataError(source.name, 'expected text, got an empty file')
    if (/\.(jsonl|ndjson)$/i.test(source.name)) texts.push(await jsonlText(source, field, between))
    else texts.push(await checkedText(source))
  }
  const joined = joinSources(texts, between)
  return {
    name: joined.name,
    length: joined.size,
    vocabSize: byteTokenizer.vocabSize,
    read: async (offset, length) => Int32Array.from(await joined.read(offset, length)),
  }
}

/** Tokens that are in memory. */
export function tokensInMemory(name: string, values: Uint8Array | Int32Array, vocabSize: number): TokenSource {
  return {
    name,
    length: values.length,
    vocabSize,
    read: async (offset, length) => Int32Array.from(values.subarray(offset, offset + length)),
  }
}

/** Part of a token source: positions [begin, end). */
export function tokenRange(tokens: TokenSource, begin: number, end: number): TokenSource {
  const { name, vocabSize } = tokens
  return { name, vocabSize, length: end - begin, read: (offset, length) => tokens.read(begin + offset, length) }
}

export interface TextSplit {
  readonly train: TokenSource
  readonly heldOut: TokenSource
}

/** Holds out the last `fraction` of the tokens: what follows in the text is what a model has to predict. */
export function splitHeldOut(tokens: TokenSource, fraction = 0.1): TextSplit {
  const cut = tokens.length - Math.floor(tokens.length * fraction)
  return {
    train: tokenRange(tokens, 0, cut),
    heldOut: { ...tokenRange(tokens, cut, tokens.length), name: `${tokens.name} (held-out part)` },
  }
}

async function checkedText(source: ByteSource): Promise<ByteSource> {
  const checker = new TextChecker()
  let first = true
  for await (const piece of pieces(source)) {
    if (first && ((piece[0] === 0xff && piece[1] === 0xfe) || (piece[0] === 0xfe && piece[1] === 0xff))) {
      throw new DataError(source.name, 'expected UTF-8 text, got UTF-16; convert it first')
    }
    first = false
    const fault = checker.push(piece)
    if (fault) throw notText(source, fault.offset, fault.reason)
  }
  const fault = checker.end()
  if (fault) throw notText(source, fault.offset, fault.reason)
  return source
}

function notText(source: ByteSource, offset: number, reason: string): DataError {
  return new DataError(source.name, `expected UTF-8 text, got ${reason} at byte ${offset}`)
}
