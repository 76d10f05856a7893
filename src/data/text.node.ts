// A user's text files and folders as training and held-out tokens. Node only; text.ts does the same for byte sources.
import type { ByteSource } from './bytes.js'
import { findFiles } from './files.node.js'
import { splitHeldOut, type TextFormat, type TextSplit, textTokens } from './text.js'

/** What counts as text in a folder; a file that is named itself may have any name. */
export const textExtensions = [
  '.txt',
  '.text',
  '.md',
  '.markdown',
  '.rst',
  '.org',
  '.adoc',
  '.tex',
  '.jsonl',
  '.ndjson',
]

export interface TextFilesOptions extends TextFormat {
  /** Files or folders held out whole. */
  readonly heldOut?: readonly string[]
  /** Where `heldOut` is not given: the share of the text, from its end, that is held out. */
  readonly heldOutFraction?: number
}

export interface TextFiles extends TextSplit {
  readonly files: readonly string[]
  close(): Promise<void>
}

/** Opens and checks text; nothing is loaded whole. Throws DataError that names the file and what was expected. */
export async function openTextFiles(paths: readonly string[], options: TextFilesOptions = {}): Promise<TextFiles> {
  const sources: ByteSource[] = []
  const close = async () => {
    for (const source of sources) await source.close()
  }
  const tokensOf = async (some: readonly string[]) => {
    const found = await findFiles(some, textExtensions)
    sources.push(...found)
    return textTokens(found, options)
  }
  try {
    const tokens = await tokensOf(paths)
    const split = options.heldOut
      ? { train: tokens, heldOut: await tokensOf(options.heldOut) }
      : splitHeldOut(tokens, options.heldOutFraction)
    return { ...split, files: sources.map(({ name }) => name), close }
  } catch (error) {
    await close()
    throw error
  }
}
