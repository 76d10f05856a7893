// Text that a user hands to a command, by a file or by standard input: whole or line by line, and nothing but UTF-8.
import { readFile } from 'node:fs/promises'
import { DataError } from '../data/bytes.js'
import { TextChecker } from '../data/utf8.js'

const standardInput = 'standard input'

/** Decodes pieces of one text. Throws a DataError that says where it stops being text. */
async function* checked(
  name: string,
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<string> {
  const checker = new TextChecker()
  const decoder = new TextDecoder('utf-8')
  const refuse = (fault: ReturnType<TextChecker['end']>) => {
    if (fault) throw new DataError(name, `expected UTF-8 text, got ${fault.reason} at byte ${fault.offset}`)
  }
  for await (const piece of pieces) {
    refuse(checker.push(piece))
    yield decoder.decode(piece, { stream: true })
  }
  refuse(checker.end())
}

async function whole(pieces: AsyncIterable<string>): Promise<string> {
  let text = ''
  for await (const piece of pieces) text += piece
  // The line break that an editor or echo puts at the end is not part of a prompt.
  return text.replace(/\r?\n$/, '')
}

/** The text of a file; - is standard input. */
export async function readText(path: string): Promise<string> {
  return whole(path === '-' ? checked(standardInput, process.stdin) : checked(path, [await readFile(path)]))
}

/** The lines of standard input, as they come. */
export async function* standardInputLines(): AsyncGenerator<string> {
  let rest = ''
  for await (const piece of checked(standardInput, process.stdin)) {
    const lines = (rest + piece).split(/\r?\n/)
    rest = lines.pop()!
    yield* lines
  }
  if (rest) yield rest
}
