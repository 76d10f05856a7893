// A user's files as tokens of a chosen kind: bytes of text, bases of DNA, samples of sound. Node only.
import { gunzipSync } from 'node:zlib'
import { MambakitError } from '../errors.js'
import { baseTokenizer } from './bases.js'
import { type ByteSource, DataError } from './bytes.js'
import { joinBases, readFasta } from './fasta.js'
import { findFiles } from './files.node.js'
import { encodeMuLaw } from './mu-law.js'
import { splitHeldOut, type TokenSource, tokensInMemory } from './text.js'
import { openTextFiles, type TextFiles, type TextFilesOptions } from './text.node.js'
import { readWav } from './wav.js'

export const tokenKinds = ['bytes', 'bases', 'mulaw'] as const
export type TokenKind = (typeof tokenKinds)[number]

/** How many tokens there are of each kind. */
export const vocabularySizes: Readonly<Record<TokenKind, number>> = {
  bytes: 256,
  bases: baseTokenizer.vocabSize,
  mulaw: 256,
}

/** Sound and genomes are held in memory; larger ones than this are refused. */
const mostBytes = 1 << 30

interface Format {
  readonly extensions: readonly string[]
  read(name: string, bytes: Uint8Array): Uint8Array
}

const formats: Readonly<Record<Exclude<TokenKind, 'bytes'>, Format>> = {
  bases: {
    extensions: ['.fa', '.fasta', '.fna', '.ffn', '.frn', '.gz'],
    read: (name, bytes) => joinBases(readFasta(name, bytes)),
  },
  mulaw: { extensions: ['.wav'], read: (name, bytes) => encodeMuLaw(readWav(name, bytes).samples) },
}

/**
 * Opens files as tokens: text (openTextFiles), FASTA files (also gzipped) as one token a base, or WAV files as one 8-bit
 * mu-law level a sample, channels averaged, whatever their rate. Throws DataError that names the file.
 */
export async function openTokenFiles(
  kind: TokenKind,
  paths: readonly string[],
  options: TextFilesOptions = {},
): Promise<TextFiles> {
  if (kind === 'bytes') return openTextFiles(paths, options)
  const files: string[] = []
  const tokensOf = async (some: readonly string[]): Promise<TokenSource> => {
    const found = await findFiles(some, formats[kind].extensions)
    files.push(...found.map(({ name }) => name))
    return readAll(kind, found)
  }
  const tokens = await tokensOf(paths)
  const split = options.heldOut
    ? { train: tokens, heldOut: await tokensOf(options.heldOut) }
    : splitHeldOut(tokens, options.heldOutFraction)
  return { ...split, files, async close() {} }
}

async function readAll(kind: Exclude<TokenKind, 'bytes'>, sources: readonly ByteSource[]): Promise<TokenSource> {
  const total = sources.reduce((sum, { size }) => sum + size, 0)
  if (total > mostBytes)
    throw new MambakitError(`${sources[0].name}: expected files of at most ${mostBytes} bytes in all, got ${total}`)
  const parts: Uint8Array[] = []
  for (const source of sources) {
    const bytes = await source.read(0, source.size)
    await source.close()
    parts.push(formats[kind].read(source.name, unpacked(source.name, bytes)))
  }
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  const name = sources.length === 1 ? sources[0].name : `${sources[0].name} and ${sources.length - 1} more`
  return tokensInMemory(name, all, vocabularySizes[kind])
}

function unpacked(name: string, bytes: Uint8Array): Uint8Array {
  if (!name.endsWith('.gz')) return bytes
  try {
    return gunzipSync(bytes, { maxOutputLength: mostBytes })
  } catch (error) {
    throw new DataError(name, `expected a gzip file (${(error as Error).message})`)
  }
}
