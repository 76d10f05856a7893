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
  const vocabSize = vocabularySize(json, file)
  const { Tokenizer: Reader } = await import('@huggingface/tokenizers')
  let inner: HuggingFaceTokenizer
  try {
    inner = new Reader(json as object, config)
  } catch (error) {
    throw new DataError(file, `expected a tokenizer.json of Hugging Face (${(error as Error).message})`)
  }
  const options = { skip_special_tokens: true, clean_up_tokenization_spaces: false }
  const decode = (tokens: number[]) => (tokens.length === 0 ? '' : inner.decode(tokens, options))
  return {
    vocabSize,
    get files() {
      const special = Object.keys(config).length > 0 && { [tokenizerFiles.config]: JSON.stringify(config, null, 2) }
      return { [tokenizerFiles.tokenizer]: JSON.stringify(json), ...special }
    },
    endOfText: endOfText(inner, config),
    encode: (text) => Int32Array.from(inner.encode(text).ids),
    decode: (tokens) => decode(Array.from(tokens)),
    decoder: () => new WindowDecoder(decode),
  }
}

const mostTokens = 1 << 24

/** One more than the largest id: of the model's table (ids by token, or tokens in order) and of the added tokens. */
function vocabularySize(json: unknown, file: string): number {
  const { model, added_tokens: added } = fields(json)
  const { vocab } = fields(model)
  const addedIds = Array.isArray(added) ? added.map((token) => fields(token).id) : []
  const ids = [...addedIds, ...(Array.isArray(vocab) ? [vocab.length - 1] : Object.values(fields(vocab)))]
  if (ids.length === 0) throw new DataError(file, 'expected a tokenizer.json of Hugging Face, with a vocabulary')
  let size = 0
  for (const id of ids) {
    if (!Number.isInteger(id) || (id as number) < 0 || (id as number) >= mostTokens)
      throw new DataError(file, `expected ids from 0 to ${mostTokens - 1}, got ${JSON.stringify(id) ?? 'none'}`)
    size = Math.max(size, (id as number) + 1)
  }
  return size
}

function fields(value: unknown): Json {
  return typeof value === 'object' && value !== null ? (value as Json) : {}
}

function endOfText(inner: HuggingFaceTokenizer, config: Json): number | null {
  const named = config.eos_token
  const content = typeof named === 'string' ? named : fields(named).content
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
