// Recurrent generation: a parallel prefill of the prompt, then one captured step a token that updates the state in place.
// Memory and work a token do not depend on how many tokens came before.

import { launch } from '../backend/kernels.js'
import type { Capture } from '../backend/types.js'
import { MambakitError } from '../errors.js'
import { empty, noGrad, outsideScopes, scope, slice, type Tensor, tensor } from '../tensor/index.js'
import type { MambaLM, MambaState } from './mamba-lm.js'

/** A copy of a state that shares nothing with it; the caller disposes it. */
export function cloneState(state: MambaState): MambaState {
  const copy = (from: Tensor) => {
    const to = empty(from.backend, from.shape, from.dtype)
    launch(from.backend, 'copy', { input: from, out: to }, {})
    return to
  }
  return outsideScopes(() => state.map(({ conv, ssm }) => ({ conv: copy(conv), ssm: copy(ssm) })))
}

/** Overwrites a state with the values of another of the same shapes. */
export function copyState(from: MambaState, to: MambaState): void {
  for (const [i, { conv, ssm }] of from.entries()) {
    launch(conv.backend, 'copy', { input: conv, out: to[i].conv }, {})
    launch(ssm.backend, 'copy', { input: ssm, out: to[i].ssm }, {})
  }
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
    this.#decays = outsideScopes(() => noGrad(() => scope(() => model.decays())))
  }

  /**
   * Reads one prompt for each sequence, of any lengths, and returns the logits (B, V) after their last tokens. Prompts are
   * read one after the other, so that each gives what it gives alone. For a prompt without tokens they are `known`, the
   * logits (V) that belong to the state.
   */
  async prefill(prompts: Int32Array | readonly Int32Array[], known?: Float32Array): Promise<Float32Array> {
    const each = prompts instanceof Int32Array ? [prompts] : prompts
    if (each.length !== this.batch || (!known && each.some((prompt) => prompt.length === 0)))
      throw new MambakitError(
        `prompt: expected at least one token for each of ${this.batch} sequences, got ${each.map(({ length }) => length).join(', ') || 'none'}`,
      )
    for (const [row, prompt] of each.entries()) if (prompt.length > 0) this.#read(prompt, row)
    const logits = await this.#readLogits()
    for (const [row, prompt] of each.entries())
      if (prompt.length === 0) logits.set(known!, row * this.model.config.vocabSize)
    return logits
  }

  #read(prompt: Int32Array, row: number): void {
    const { backend } = this.#token
    const own = (whole: Tensor) => (this.batch === 1 ? whole : slice(whole, 0, row, row + 1))
    for (let start = 0; start < prompt.length; start += prefillChunk) {
      const end = Math.min(start + prefillChunk, prompt.length)
      noGrad(() =>
        scope(() => {
          const ids = tensor(prompt.subarray(start, end), { shape: [1, end - start], backend })
          const state = this.state.map(({ conv, ssm }) => ({ conv: own(conv), ssm: own(ssm) }))
          const { hidden } = this.model.hidden(ids, { state, finalState: 'update', decays: this.#decays })
          if (end === prompt.length)
            this.#writeLogits(slice(hidden, 1, end - start - 1, end - start), own(this.#logits))
        }),
      )
      backend.flush()
    }
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
          this.#writeLogits(hidden, this.#logits)
        }),
      )
      this.#capture = backend.endCapture()
    }
    return this.#readLogits()
  }

  #writeLogits(hidden: Tensor, out: Tensor): void {
    const logits = this.model.logits(hidden)
    launch(logits.backend, 'copy', { input: logits.view(out.shape), out }, {})
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
