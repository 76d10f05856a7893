// Tokens and text: the interface of every tokenizer, and the byte-level one, whose tokens are the bytes of UTF-8.
import { MambakitError } from '../errors.js'

/** Turns a growing list of tokens into text, holding back the bytes of a character that is not complete yet. */
export interface StreamDecoder {
  push(token: number): string
  /** What is left; an incomplete character becomes U+FFFD. */
  end(): string
}

export interface Tokenizer {
  readonly vocabSize: number
  /** The token that stands between two texts and ends a generated one; it decodes to nothing. */
  readonly endOfText: number | null
  /** The files that say what it is, by name, where it has any: they are saved beside a model. */
  readonly files?: Readonly<Record<string, string>>
  encode(text: string): Int32Array
  decode(tokens: ArrayLike<number>): string
  decoder(): StreamDecoder
}

/** Tokens 0 to 255 are bytes. Text holds no NUL (the readers see to that), so token 0 is free to end a text. */
export const byteTokenizer: Tokenizer = {
  vocabSize: 256,
  endOfText: 0,
  encode: (text) => Int32Array.from(new TextEncoder().encode(text)),
  decode(tokens) {
    const decoder = this.decoder()
    let text = ''
    for (let i = 0; i < tokens.length; i++) text += decoder.push(tokens[i])
    return text + decoder.end()
  },
  decoder() {
    const utf8 = new TextDecoder('utf-8', { ignoreBOM: true })
    return {
      push(token) {
        if (!(token >= 0 && token < 256)) throw new MambakitError(`expected a byte token in [0, 256), got ${token}`)
        return token === 0 ? '' : utf8.decode(Uint8Array.of(token), { stream: true })
      },
      end: () => utf8.decode(),
    }
  },
}
