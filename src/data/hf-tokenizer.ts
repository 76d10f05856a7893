// Tokenizers from a tokenizer.json, as checkpoints bring them: read by @huggingface/tokenizers, which is loaded only when
// there is one to read.
import type { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import { DataError } from './bytes.js'
import type { StreamDecoder, Tokenizer } from './tokenizer.js'

type Json = Readonly<Record<string, unknown>>

/** What a tokenizer.json is called beside a model, and the optional file of its special tokens. */
export const tokenizerFiles = { tokenizer: 'tokenizer.json', config: 'tokenizer_config.json' } as const

/** Names of the end-of-text token, where tokenizer_config.json does not give one. */
const usualEnds = ['<|endoftext|>', '</s>', '<|end_of_text|>', '[SEP]']

/**
 * Reads a tokenizer. `config` is the parsed tokenizer_config.json, {} where there is none; `file` is named in errors.
 * Throws DataError where the JSON is not a tokenizer that can be read.
 */
export async function readTokenizer(json: unknown, config: Json, file: string): Promise<Tokenizer> {
  const { Tokenizer: Reader } = await import('@huggingface/tokenizers')
  let inner: HuggingFaceTokenizer
  try {
    inner = new Reader(json as object, config)
  } catch (error) {
    throw new DataError(file, `expected a tokenizer.json of Hugging Face (${(error as Error).message})`)
  }
  const vocabulary = inner.get_vocab(true)
  let vocabSize = 0
  for (const id of vocabulary.values()) {
    if (!Number.isSafeInteger(id) || id < 0 || id >= 1 << 24)
      throw new DataError(file, `expected ids from 0 to ${(1 << 24) - 1}, got ${id}`)
    vocabSize = Math.max(vocabSize, id + 1)
  }
  if (vocabSize === 0) throw new DataError(file, 'its vocabulary is empty')
  const decode = (tokens: number[]) =>
    inner.decode(tokens, { skip_special_tokens: true, clean_up_tokenization_spaces: false })
  return {
    vocabSize,
    endOfText: endOfText(inner, config),
    encode: (text) => Int32Array.from(inner.encode(text).ids),
    decode: (tokens) => decode(Array.from(tokens)),
    decoder: () => new WindowDecoder(decode),
  }
}

function endOfText(inner: HuggingFaceTokenizer, config: Json): number | null {
  const named = config.eos_token
  const content = typeof named === 'object' && named !== null ? (named as Json).content : named
  for (const token of [content, ...usualEnds]) {
    const id = typeof token === 'string' ? inner.token_to_id(token) : undefined
    if (id !== undefined) return id
  }
  return null
}

/** A UTF-8 character has at most four bytes, so it is spread over at most four tokens; this many end no character. */
const mostPending = 8

/**
 * Decodes token by token: a token's text is what it adds to that of the tokens before it, of which the last few are
 * kept, since some decoders look back. While the text ends in U+FFFD, a character may be incomplete, and it is held.
 */
class WindowDecoder implements StreamDecoder {
  #context: number[] = []
  #pending: number[] = []
  constructor(private readonly decode: (tokens: number[]) => string) {}

  push(token: number): string {
    this.#pending.push(token)
    const text = this.#added()
    if (!text.endsWith('\ufffd')) return this.#take(text)
    if (this.#pending.length < mostPending) return ''
    // These bytes are no text; what follows them is decoded anew.
    this.#pending = []
    this.#context = []
    return text
  }

  end(): string {
    return this.#take(this.#added())
  }

  #added(): string {
    const before = this.decode(this.#context)
    return this.decode([...this.#context, ...this.#pending]).slice(before.length)
  }

  #take(text: string): string {
    this.#context = [...this.#context, ...this.#pending].slice(-mostPending)
    this.#pending = []
    return text
  }
}
