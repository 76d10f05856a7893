// A language model with its tokenizer: text in, text out.
import { loadBytes } from '#state-files'
import type { Tokenizer } from '../data/tokenizer.js'
import { MambakitError } from '../errors.js'
import { generateBatch } from '../models/generation.js'
import type { MambaLM } from '../models/mamba-lm.js'
import type { TokenScore } from '../models/sampling.js'
import { identityOf, type ModelIdentity } from './identity.js'
import { type TextOptions, type TextPiece, TextSession } from './session.js'
import { parseState, type SequenceState } from './state.js'
import { TextStream } from './text-stream.js'

export interface GenerateTextOptions extends TextOptions {
  /** Continue after this state; it is left as it is. */
  state?: SequenceState
}

/** What was generated after one prompt. */
export interface GeneratedText {
  readonly text: string
  /** The tokens of the text; those of a stop string are left out. */
  readonly tokens: readonly number[]
  /** Where `logprobs` asks for them, one a token. */
  readonly logprobs?: readonly TokenScore[]
}

export class LanguageModel {
  #identity: Promise<ModelIdentity> | null = null
  constructor(
    readonly model: MambaLM,
    readonly tokenizer: Tokenizer,
  ) {
    model.eval()
  }

  /** Text that follows `prompt`, piece by piece as it is made. Throws an AbortError where `signal` ends it. */
  async *generate(prompt: string, options: GenerateTextOptions = {}): AsyncGenerator<string> {
    for await (const { text } of this.generatePieces(prompt, options)) if (text) yield text
  }

  /** As `generate`, with the tokens and their log-probabilities. */
  async *generatePieces(prompt: string, options: GenerateTextOptions = {}): AsyncGenerator<TextPiece> {
    const session = this.session(options.state)
    try {
      await session.read(prompt, options)
      yield* session.generate(options)
    } finally {
      session.dispose()
    }
  }

  /** Texts that follow several prompts, made side by side; each is what its prompt gives alone (on WebGPU up to rounding). */
  async generateBatch(prompts: readonly string[], options: GenerateTextOptions = {}): Promise<GeneratedText[]> {
    const { state, stop = [], endToken = this.tokenizer.endOfText, ...rest } = options
    const rows = prompts.map(() => ({
      stream: new TextStream(this.tokenizer, [stop].flat()),
      text: '',
      tokens: [] as number[],
      scores: [] as TokenScore[],
    }))
    const ended = new Set<number>()
    this.checkOwn(state)
    const encoded = prompts.map((prompt) => (state ? this.tokenizer.encode(prompt) : this.#encodePrompt(prompt)))
    const from = { state: state?.layers, logits: state?.logits }
    const { vocabSize } = this.tokenizer
    const generated = generateBatch(this.model, encoded, { ...rest, ...from, endToken, vocabSize }, ended)
    for await (const { row: index, token, score } of generated) {
      const row = rows[index]
      row.text += row.stream.push(token)
      row.tokens.push(token)
      if (score) row.scores.push(score)
      if (row.stream.stopped) ended.add(index)
    }
    return rows.map(({ stream, text, tokens, scores }) => {
      const whole = text + stream.end()
      const count = stream.tokenCount
      const result = { text: whole, tokens: tokens.slice(0, count) }
      return options.logprobs === undefined ? result : { ...result, logprobs: scores.slice(0, count) }
    })
  }

  /** A text under way, at the beginning or after `state`: reads and writes in turn. The caller disposes it. */
  session(state?: SequenceState): TextSession {
    return new TextSession(this, state)
  }

  /** Reads a text and returns the state after it: a value of constant size, which the caller disposes. */
  async prefill(
    text: string,
    options: { state?: SequenceState; signal?: AbortSignal } = {},
  ): Promise<{ state: SequenceState; logits: Float32Array }> {
    const session = this.session(options.state)
    try {
      await session.read(text, options)
      const state = await session.state()
      return { state, logits: state.logits }
    } finally {
      session.dispose()
    }
  }

  /** Loads what `state.save(file)` wrote (in a page: from an address). Throws a StateError for another model's. */
  async loadState(file: string): Promise<SequenceState> {
    return parseState(this, await loadBytes(file), file)
  }

  /** As loadState, from the bytes of `state.toBytes()`. */
  parseState(bytes: Uint8Array): Promise<SequenceState> {
    return parseState(this, bytes, 'state')
  }

  /** Hashes of configuration and weights, which must not change from here on. */
  identity(): Promise<ModelIdentity> {
    return (this.#identity ??= identityOf(this.model))
  }

  /** Throws a MambakitError where a state is not of this model. */
  checkOwn(state: SequenceState | undefined): void {
    if (state && state.owner !== this)
      throw new MambakitError('state: expected a state of this model, got one that another model made')
  }

  /** An empty prompt is the end-of-text token, after which a new text begins. */
  #encodePrompt(text: string): Int32Array {
    const ids = this.tokenizer.encode(text)
    return ids.length === 0 && this.tokenizer.endOfText !== null ? Int32Array.of(this.tokenizer.endOfText) : ids
  }

  dispose(): void {
    this.model.dispose()
  }
}
