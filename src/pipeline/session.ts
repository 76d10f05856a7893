// A text under way: reads and writes in turn, and what was read or written before is kept as the recurrent state alone.
import type { Tokenizer } from '../data/tokenizer.js'
import { MambakitError } from '../errors.js'
import { cloneState, copyState, Decoder, disposeState } from '../models/decoding.js'
import { checkTokenOptions, TokenChooser, type TokenOptions } from '../models/generation.js'
import type { MambaState } from '../models/mamba-lm.js'
import type { TokenScore } from '../models/sampling.js'
import type { LanguageModel } from './language-model.js'
import { SequenceState } from './state.js'
import { TextStream } from './text-stream.js'

export interface TextOptions extends TokenOptions {
  /** Texts that end generation; none of them is part of the result. */
  stop?: string | readonly string[]
}

/** A step of generation: a token, and the text that can be shown since. */
export interface TextPiece {
  /** Empty while text is held back: an incomplete character, or what may become a stop string. */
  readonly text: string
  /** Null for text that was held back until the end. */
  readonly token: number | null
  /** Where `logprobs` asks for it. */
  readonly score: TokenScore | null
}

/** Where a session stood before the text that may become a stop string. */
interface Checkpoint {
  readonly state: MambaState
  readonly logits: Float32Array
  readonly tokens: number
  /** Shown since. */
  text: string
}

export class TextSession {
  readonly #decoder: Decoder
  readonly #tokenizer: Tokenizer
  /** What follows the tokens that were read. */
  #logits: Float32Array | null
  /** A token that was chosen and not yet read. */
  #pending: number | null = null
  #tokens: number
  readonly #seen = new Set<number>()

  /** Starts after `state`, which is left as it is, or at the beginning. */
  constructor(
    private readonly owner: LanguageModel,
    state?: SequenceState,
  ) {
    owner.checkOwn(state)
    this.#decoder = new Decoder(owner.model, 1, state && cloneState(state.layers))
    this.#tokenizer = owner.tokenizer
    this.#logits = state?.logits ?? null
    this.#tokens = state?.tokens ?? 0
  }

  /** Tokens read and written so far, those before the state it started from included. */
  get tokens(): number {
    return this.#tokens
  }

  /** Reads text. Throws an AbortError where `signal` ends it; the session then stands where it stood before. */
  async read(text: string, { signal }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    signal?.throwIfAborted()
    const before = signal && cloneState(this.#decoder.state)
    try {
      await this.#readTokens(this.#tokenizer.encode(text), signal)
    } catch (error) {
      if (before) copyState(before, this.#decoder.state)
      throw error
    } finally {
      if (before) disposeState(before)
    }
  }

  async #readTokens(tokens: Int32Array, signal?: AbortSignal): Promise<void> {
    const unread = this.#pending === null ? 0 : 1
    const all = new Int32Array(unread + tokens.length)
    if (this.#pending !== null) all[0] = this.#pending
    all.set(tokens, unread)
    if (all.length === 0) return
    this.#logits = await this.#decoder.prefill(all, { signal })
    this.#pending = null
    this.#tokens += tokens.length
    for (const token of tokens) this.#seen.add(token)
  }

  /** The logits of what comes next; at the very beginning, after the end-of-text token. */
  async #next(): Promise<Float32Array> {
    if (this.#pending !== null) {
      this.#logits = await this.#decoder.step(Int32Array.of(this.#pending))
      this.#pending = null
    }
    if (!this.#logits) {
      const { endOfText } = this.#tokenizer
      if (endOfText === null)
        throw new MambakitError(
          'prompt: expected at least one character, since this tokenizer has no end-of-text token',
        )
      await this.#readTokens(Int32Array.of(endOfText))
    }
    return this.#logits!
  }

  /** Writes text, piece by piece. Throws an AbortError where `signal` ends it; the session can go on from there. */
  async *generate(options: TextOptions = {}): AsyncGenerator<TextPiece> {
    checkTokenOptions(options)
    const { signal, stop = [], endToken = this.#tokenizer.endOfText } = options
    const stream = new TextStream(this.#tokenizer, [stop].flat())
    signal?.throwIfAborted()
    // What stands before the first token must be known to the repetition penalty.
    if (options.maxTokens !== 0) await this.#next()
    const chooser = new TokenChooser({ ...options, endToken, vocabSize: this.#tokenizer.vocabSize }, this.#seen)
    let checkpoint: Checkpoint | null = null
    try {
      while (!stream.stopped && !chooser.finished) {
        signal?.throwIfAborted()
        const logits = await this.#next()
        signal?.throwIfAborted()
        const chosen = chooser.choose(logits)
        if (!chosen) break
        const wasSettled = stream.settled
        const text = stream.push(chosen.token)
        if (wasSettled && !stream.settled)
          checkpoint = { state: cloneState(this.#decoder.state), logits, tokens: this.#tokens, text: '' }
        if (checkpoint) checkpoint.text += text
        if (stream.settled && checkpoint) {
          disposeState(checkpoint.state)
          checkpoint = null
        }
        this.#pending = chosen.token
        this.#tokens++
        this.#seen.add(chosen.token)
        yield { text, ...chosen }
      }
      if (stream.stopped && checkpoint) await this.#goBack(checkpoint)
      const text = stream.end()
      if (text) yield { text, token: null, score: null }
    } finally {
      if (checkpoint) disposeState(checkpoint.state)
    }
  }

  /** Forgets the stop string: the session stands after what was shown. */
  async #goBack({ state, logits, tokens, text }: Checkpoint): Promise<void> {
    copyState(state, this.#decoder.state)
    this.#logits = logits
    this.#pending = null
    this.#tokens = tokens
    if (text) await this.read(text)
  }

  /** The state after everything read and written; the caller disposes it. */
  async state(): Promise<SequenceState> {
    const logits = await this.#next()
    return new SequenceState(this.owner, cloneState(this.#decoder.state), logits, this.#tokens)
  }

  dispose(): void {
    this.#decoder.dispose()
  }
}
