// Generation of tokens: prompts of any lengths side by side, each giving exactly what it gives alone (on WebGPU: up to
// rounding).

import { launch } from '../backend/kernels.js'
import { MambakitError } from '../errors.js'
import { noGrad, outsideScopes, scope, slice } from '../tensor/index.js'
import { type Choice, cloneState, Decoder } from './decoding.js'
import type { MambaLM, MambaState } from './mamba-lm.js'
import {
  checkSampling,
  type SamplingOptions,
  sampleToken,
  scoreToken,
  type TokenScore,
  uniformDraw,
} from './sampling.js'

export interface TokenOptions extends SamplingOptions {
  /** Default 128. */
  maxTokens?: number
  /** Generation ends before this token. Default none. */
  endToken?: number | null
  /**
   * Only ids below this are chosen: the rows of a padded vocabulary that stand for no token are left out, and their share
   * of the probability with them. Default: all of the model's.
   */
  vocabSize?: number
  /** Gives each token's log-probability, and those of this many most likely tokens. Default: none, which saves the work. */
  logprobs?: number
  /** Ends generation after the token under way, by an AbortError. */
  signal?: AbortSignal
}

export interface GenerateOptions extends TokenOptions {
  /** Continue after this state; it is left as it is. */
  state?: MambaState
  /** (V): what follows `state`, for prompts without tokens. */
  logits?: Float32Array
}

/** A token of one of the sequences. */
export interface GeneratedToken {
  /** Which prompt it follows. */
  readonly row: number
  readonly token: number
  readonly score: TokenScore | null
}

/** Throws a MambakitError that names the option which means nothing. */
export function checkTokenOptions(options: TokenOptions): void {
  const { maxTokens = 128, logprobs, vocabSize = 1 } = options
  checkSampling(options)
  if (!(Number.isInteger(vocabSize) && vocabSize > 0))
    throw new MambakitError(`vocabSize: expected an integer above 0, got ${vocabSize}`)
  if (!(Number.isInteger(maxTokens) && maxTokens >= 0))
    throw new MambakitError(`maxTokens: expected an integer of at least 0, got ${maxTokens}`)
  if (logprobs !== undefined && !(Number.isInteger(logprobs) && logprobs >= 0))
    throw new MambakitError(`logprobs: expected an integer of at least 0, got ${logprobs}`)
}

/** Chooses the tokens of one sequence; knows how many it has chosen and what came before. */
export class TokenChooser {
  #position = 0
  readonly #seen: Set<number>
  constructor(
    private readonly options: TokenOptions,
    before: Iterable<number>,
  ) {
    checkTokenOptions(options)
    this.#seen = new Set(before)
  }
  /** The next token, or null where the text ends. */
  choose(all: Float32Array): { readonly token: number; readonly score: TokenScore | null } | null {
    const { maxTokens = 128, endToken = null, logprobs, vocabSize } = this.options
    if (this.#position >= maxTokens) return null
    const logits = all.subarray(0, vocabSize)
    const token = sampleToken(logits, this.options, this.#position, this.#seen)
    if (token === endToken) return null
    this.#position++
    this.#seen.add(token)
    return { token, score: logprobs === undefined ? null : scoreToken(logits, token, logprobs) }
  }
  /** As `choose`, where the device has chosen the token. */
  take(token: number): { readonly token: number; readonly score: null } | null {
    const { maxTokens = 128, endToken = null } = this.options
    if (this.#position >= maxTokens || token === endToken) return null
    this.#position++
    return { token, score: null }
  }
  get finished(): boolean {
    return this.#position >= (this.options.maxTokens ?? 128)
  }
}

/**
 * How the device chooses what these options ask for after the first token; null where only the host can: where a choice
 * depends on the text before, logits are asked for, or the official min-p.
 */
function choiceOf(options: TokenOptions): Choice | null {
  const { temperature = 1, topK = 0, topP = 1, minP = 0, minPMode, repetitionPenalty = 1, seed = 0 } = options
  const { vocabSize, logprobs } = options
  if (repetitionPenalty !== 1 || logprobs !== undefined) return null
  if (temperature === 0 || topK === 1) return { vocabSize }
  if (minPMode === 'mamba_ssm' && minP > 0 && topK === 0) return null
  return { vocabSize, sampling: { temperature, topK, topP, minP, uniform: (i) => uniformDraw(seed, i + 1) } }
}

/** Sequences that are decoded in step: as many rows as matrix products take without a change in how they sum. */
const rowsTogether = 8

/**
 * Tokens that follow each of the prompts, as they are made. A row ends at its end token, or where the caller adds it to
 * `ended`. Rows draw from the same seed, so that each gives what it would give alone.
 */
export async function* generateBatch(
  model: MambaLM,
  prompts: readonly Int32Array[],
  options: GenerateOptions = {},
  ended: Set<number> = new Set(),
): AsyncGenerator<GeneratedToken> {
  checkTokenOptions(options)
  for (let first = 0; first < prompts.length; first += rowsTogether)
    for await (const { row, ...rest } of generateRows(model, prompts.slice(first, first + rowsTogether), options, {
      has: (row) => ended.has(first + row),
      add: (row) => ended.add(first + row),
    }))
      yield { row: first + row, ...rest }
}

async function* generateRows(
  model: MambaLM,
  prompts: readonly Int32Array[],
  options: GenerateOptions,
  ended: { has(row: number): boolean; add(row: number): void },
): AsyncGenerator<GeneratedToken> {
  const { signal, maxTokens, state, logits: known } = options
  const { vocabSize } = model.config
  const choosers = prompts.map((prompt) => new TokenChooser(options, prompt))
  const decoder = new Decoder(model, prompts.length, state && repeatState(model, state, prompts.length))
  try {
    signal?.throwIfAborted()
    if (maxTokens === 0) return
    let logits = await decoder.prefill(prompts, { known, signal })
    const tokens = new Int32Array(prompts.length)
    const choose = (row: number) => choosers[row].choose(logits.subarray(row * vocabSize, (row + 1) * vocabSize))
    const each = function* (next: (row: number) => ReturnType<typeof choose>) {
      for (const [row, chooser] of choosers.entries()) {
        if (ended.has(row)) continue
        signal?.throwIfAborted()
        const chosen = next(row)
        if (chosen) yield { row, ...chosen }
        if (!chosen || chooser.finished) ended.add(row)
        tokens[row] = chosen?.token ?? 0
      }
    }
    const allEnded = () => choosers.every((_, row) => ended.has(row))
    yield* each(choose)
    const choice = choiceOf(options)
    if (choice) {
      // The device chooses, and goes on while the tokens before are on their way.
      if (!allEnded())
        for await (const ids of decoder.chosen(tokens, (maxTokens ?? 128) - 1, choice)) {
          yield* each((row) => choosers[row].take(ids[row]))
          if (allEnded()) return
        }
      return
    }
    while (!allEnded()) {
      signal?.throwIfAborted()
      logits = await decoder.step(tokens)
      yield* each(choose)
    }
  } finally {
    decoder.dispose()
  }
}

/** The state of one sequence for each of `batch` sequences. */
function repeatState(model: MambaLM, state: MambaState, batch: number): MambaState {
  if (batch === 1) return cloneState(state)
  const repeated = outsideScopes(() => model.initialState(batch))
  noGrad(() =>
    scope(() => {
      for (const [i, { conv, ssm }] of state.entries())
        for (const [from, to] of [
          [conv, repeated[i].conv],
          [ssm, repeated[i].ssm],
        ])
          for (let row = 0; row < batch; row++)
            launch(from.backend, 'copy', { input: from, out: slice(to, 0, row, row + 1) }, {})
    }),
  )
  return repeated
}

/** Tokens that follow a prompt, one at a time. */
export async function* generateTokens(
  model: MambaLM,
  prompt: Int32Array,
  options: GenerateOptions = {},
): AsyncGenerator<number> {
  for await (const { token } of generateBatch(model, [prompt], options)) yield token
}
