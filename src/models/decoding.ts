// Recurrent generation: a parallel prefill of the prompt, then one captured step a token that updates the state in place.
// Memory and work a token do not depend on how many tokens came before.

import { launch } from '../backend/kernels.js'
import type { Capture } from '../backend/types.js'
import { MambakitError } from '../errors.js'
import { empty, noGrad, outsideScopes, scope, slice, type Tensor, tensor } from '../tensor/index.js'
import type { MambaLM, MambaState } from './mamba-lm.js'
import { checkSampling, type SamplingOptions, sampleToken } from './sampling.js'

/** A copy of a state that shares nothing with it; the caller disposes it. */
export function cloneState(state: MambaState): MambaState {
  const copy = (from: Tensor) => {
    const to = empty(from.backend, from.shape, from.dtype)
    launch(from.backend, 'copy', { input: from, out: to }, {})
    return to
  }
  return outsideScopes(() => state.map(({ conv, ssm }) => ({ conv: copy(conv), ssm: copy(ssm) })))
}

export function disposeState(state: MambaState): void {
  for (const { conv, ssm } of state) {
    conv.dispose()
    ssm.dispose()
  }
}

/** Tokens that the prefill takes at a time, so that its memory does not grow with the prompt. */
const prefillChunk = 1024

/** Decodes `batch` sequences in step: owns a state and the captured step that advances it. The weights must not change meanwhile. */
export class Decoder {
  readonly state: MambaState
  readonly #token: Tensor
  readonly #logits: Tensor
  readonly #decays: readonly Tensor[]
  #capture: Capture | null = null

  /** Starts from `state` (taken over) or from the beginning. */
  constructor(
    private readonly model: MambaLM,
    readonly batch = 1,
    state?: MambaState,
  ) {
    const { backend } = model.head.weight.value
    this.state = state ?? outsideScopes(() => model.initialState(batch))
    this.#token = outsideScopes(() => empty(backend, [batch, 1], 'int32'))
    this.#logits = outsideScopes(() => empty(backend, [batch, model.config.vocabSize], 'float32'))
    this.#decays = outsideScopes(() => noGrad(() => model.decays()))
  }

  /** Reads a prompt (B, L) int32, row-major, and returns the logits (B, V) after its last token. */
  async prefill(ids: Int32Array): Promise<Float32Array> {
    const length = ids.length / this.batch
    if (!(Number.isInteger(length) && length > 0))
      throw new MambakitError(
        `prompt: expected at least one token for each of ${this.batch} sequences, got ${ids.length}`,
      )
    const { backend } = this.#token
    for (let start = 0; start < length; start += prefillChunk) {
      const count = Math.min(prefillChunk, length - start)
      const last = start + count === length
      noGrad(() =>
        scope(() => {
          const whole = tensor(ids, { shape: [this.batch, length], backend })
          const part = slice(whole, 1, start, start + count)
          const { hidden } = this.model.hidden(part, { state: this.state, finalState: 'update', decays: this.#decays })
          if (last) this.#writeLogits(slice(hidden, 1, count - 1, count))
        }),
      )
      backend.flush()
    }
    return this.#readLogits()
  }

  /** Takes one token for each sequence and returns the logits (B, V) that follow. */
  async step(tokens: Int32Array): Promise<Float32Array> {
    const { backend } = this.#token
    backend.upload(this.#token.buffer, 0, new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength))
    if (this.#capture) this.#capture.replay()
    else {
      backend.beginCapture()
      noGrad(() =>
        scope(() => {
          const { hidden } = this.model.hidden(this.#token, {
            state: this.state,
            finalState: 'update',
            decays: this.#decays,
          })
          this.#writeLogits(hidden)
        }),
      )
      this.#capture = backend.endCapture()
    }
    return this.#readLogits()
  }

  #writeLogits(hidden: Tensor): void {
    const logits = this.model.logits(hidden)
    launch(logits.backend, 'copy', { input: logits.view(this.#logits.shape), out: this.#logits }, {})
  }

  async #readLogits(): Promise<Float32Array> {
    return (await this.#logits.data()) as Float32Array
  }

  dispose(): void {
    this.#capture?.dispose()
    disposeState(this.state)
    this.#token.dispose()
    this.#logits.dispose()
    for (const decay of this.#decays) decay.dispose()
  }
}

export interface GenerateOptions extends SamplingOptions {
  /** Default 128. */
  maxTokens?: number
  /** Generation ends before this token. Default none. */
  endToken?: number | null
  /** Continue after this state; it is left as it is. */
  state?: MambaState
  /** Ends generation after the token under way, by an AbortError. */
  signal?: AbortSignal
}

/** Tokens that follow a prompt, one at a time. */
export async function* generateTokens(
  model: MambaLM,
  prompt: Int32Array,
  options: GenerateOptions = {},
): AsyncGenerator<number> {
  const { maxTokens = 128, endToken = null, signal } = options
  checkSampling(options)
  if (!(Number.isInteger(maxTokens) && maxTokens >= 0))
    throw new MambakitError(`maxTokens: expected an integer of at least 0, got ${maxTokens}`)
  const decoder = new Decoder(model, 1, options.state && cloneState(options.state))
  try {
    signal?.throwIfAborted()
    if (maxTokens === 0) return
    let logits = await decoder.prefill(prompt)
    for (let position = 0; ; position++) {
      signal?.throwIfAborted()
      const token = sampleToken(logits, options, position)
      if (token === endToken) return
      yield token
      if (position + 1 === maxTokens) return
      logits = await decoder.step(Int32Array.of(token))
    }
  } finally {
    decoder.dispose()
  }
}
