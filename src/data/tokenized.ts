// Text as tokens of any tokenizer: the bytes of a text source are encoded once, piece by piece, into one list of ids.
import { MambakitError } from '../errors.js'
import type { TokenSource } from './text.js'
import { byteTokenizer, type Tokenizer } from './tokenizer.js'

/** Encoded at once; the text between two cuts is at most this long, a single line aside. */
const pieceBytes = 1 << 20

const isSpace = (byte: number) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)

/**
 * The tokens of a text that is given as byte tokens, in which 0 stands between two texts; it becomes the tokenizer's end
 * of text. Pieces are cut after a line that no space follows, where tokenizers cut too. The ids are held in memory.
 */
export async function tokenize(bytes: TokenSource, tokenizer: Tokenizer): Promise<TokenSource> {
  if (tokenizer === byteTokenizer) return bytes
  const found: Int32Array[] = []
  const encode = (piece: Uint8Array) => {
    if (piece.length > 0) found.push(tokenizer.encode(new TextDecoder().decode(piece)))
  }
  let rest: Uint8Array = new Uint8Array()
  for (let offset = 0; offset < bytes.length; offset += pieceBytes) {
    const ids = await bytes.read(offset, Math.min(pieceBytes, bytes.length - offset))
    const text = new Uint8Array(rest.length + ids.length)
    text.set(rest)
    text.set(ids, rest.length)
    let begin = 0
    for (let i = text.indexOf(0); i !== -1; i = text.indexOf(0, begin)) {
      encode(text.subarray(begin, i))
      if (tokenizer.endOfText !== null) found.push(Int32Array.of(tokenizer.endOfText))
      begin = i + 1
    }
    let cut = text.length
    if (offset + pieceBytes < bytes.length) {
      cut--
      while (cut > begin && !(text[cut - 1] === 0x0a && !isSpace(text[cut]))) cut--
    }
    encode(text.subarray(begin, cut))
    rest = text.slice(cut)
  }
  return tokenSource(found, bytes.name, tokenizer.vocabSize)
}

function tokenSource(parts: readonly Int32Array[], name: string, vocabSize: number): TokenSource {
  const all = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let length = 0
  for (const part of parts) {
    all.set(part, length)
    length += part.length
  }
  if (length < 2) throw new MambakitError(`${name}: expected a text of at least two tokens, got ${length}`)
  return { name, length, vocabSize, read: async (offset, count) => all.slice(offset, offset + count) }
}
