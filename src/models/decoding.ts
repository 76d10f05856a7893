// Recurrent generation: a parallel prefill of the prompt, then one captured step a token that updates the state in place.
// Memory and work a token do not depend on how many tokens came before.

import { launch, reductions } from '../backend/kernels.js'
import type { Backend, Capture } from '../backend/types.js'
import { MambakitError } from '../errors.js'
import { autocast, empty, noGrad, outsideScopes, scope, slice, type Tensor, tensor } from '../tensor/index.js'
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

/** Most sequences whose activations stay float32 where the weights are float16. */
const fewSequences = 8
/** Argmax in the table of reductions. */
const argmax = reductions.indexOf('argmax')

/** How many steps are recorded at once, and how many such recordings are under way, where nothing is read back between. */
const chosenPace = ({ device }: Backend) => (device === 'webgpu' ? { steps: 8, ahead: 2 } : { steps: 1, ahead: 1 })

/** How a step chooses its tokens on the device. */
export interface Choice {
  /** Only ids below this. Default: all. */
  readonly vocabSize?: number
  /** Draws, as `sampleToken` does. Default: the most likely token. */
  readonly sampling?: {
    readonly temperature: number
    readonly topK: number
    readonly topP: number
    readonly minP: number
    /** What decides the draw of the tokens of step `i`, in [0, 1). */
    readonly uniform: (i: number) => number
  }
}

/** Decodes `batch` sequences in step: owns a state and the captured step that advances it. The weights must not change meanwhile. */
export class Decoder {
  readonly state: MambaState
  readonly #token: Tensor
  readonly #logits: Tensor
  readonly #decays: readonly Tensor[]
  #capture: Capture | null = null
  /** The tokens that the steps of a recording choose, (steps, B, 1), and the recording. */
  #chosen: Tensor | null = null
  /** What decides the draws of those steps, (steps). */
  #uniform: Tensor | null = null
  /** Steps that choose as `key` says. */
  #choosing: { readonly key: string; readonly capture: Capture } | null = null

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
   * logits (V) that belong to the state. `signal` ends it between pieces by an AbortError; the state is then somewhere
   * within the prompts.
   */
  async prefill(
    prompts: Int32Array | readonly Int32Array[],
    { known, signal }: { readonly known?: Float32Array; readonly signal?: AbortSignal } = {},
  ): Promise<Float32Array> {
    const each = prompts instanceof Int32Array ? [prompts] : prompts
    if (each.length !== this.batch || (!known && each.some((prompt) => prompt.length === 0)))
      throw new MambakitError(
        `prompt: expected at least one token for each of ${this.batch} sequences, got ${each.map(({ length }) => length).join(', ') || 'none'}`,
      )
    for (const [row, prompt] of each.entries()) if (prompt.length > 0) await this.#read(prompt, row, signal)
    const logits = await this.#readLogits()
    for (const [row, prompt] of each.entries())
      if (prompt.length === 0) logits.set(known!, row * this.model.config.vocabSize)
    return logits
  }

  async #read(prompt: Int32Array, row: number, signal: AbortSignal | undefined): Promise<void> {
    const { backend } = this.#token
    const own = (whole: Tensor) => (this.batch === 1 ? whole : slice(whole, 0, row, row + 1))
    for (let start = 0; start < prompt.length; start += prefillChunk) {
      // Waits for the piece before, so that an interruption is seen in time and little is enqueued at once.
      if (start > 0) await this.#token.data()
      signal?.throwIfAborted()
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
      noGrad(() => scope(() => this.#writeLogits(this.#advance(this.#token), this.#logits)))
      this.#capture = backend.endCapture()
    }
    return this.#readLogits()
  }

  /**
   * Takes one token for each sequence, and then what is chosen of its logits, by default the most likely one, `count`
   * times: yields the tokens (B) that follow. Logits stay on the device, where there are always steps under way; the state may be some steps ahead at the end.
   */
  async *chosen(tokens: Int32Array, count: number, choice: Choice = {}): AsyncGenerator<Int32Array> {
    const { backend } = this.#token
    const { steps, ahead } = chosenPace(backend)
    const { vocabSize = this.model.config.vocabSize, sampling } = choice
    const key = JSON.stringify({ vocabSize, ...sampling })
    this.#chosen ??= outsideScopes(() => empty(backend, [steps, this.batch, 1], 'int32'))
    this.#uniform ??= outsideScopes(() => empty(backend, [steps], 'float32'))
    const [chosen, uniform] = [this.#chosen, this.#uniform]
    const bytes = new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength)
    backend.upload(chosen.buffer, 4 * this.batch * (steps - 1), bytes)
    const pending: Promise<Int32Array>[] = []
    let enqueued = 0
    let yielded = 0
    try {
      while (yielded < count) {
        for (; pending.length < ahead && enqueued < count; enqueued += steps) {
          if (sampling) {
            const draws = Float32Array.from({ length: steps }, (_, step) => sampling.uniform(enqueued + step))
            backend.upload(uniform.buffer, 0, new Uint8Array(draws.buffer))
          }
          if (this.#choosing?.key === key) this.#choosing.capture.replay()
          else {
            this.#choosing?.capture.dispose()
            this.#choosing = { key, capture: this.#recordChoices(chosen, uniform, vocabSize, sampling) }
          }
          pending.push(chosen.data() as Promise<Int32Array>)
        }
        const ids = await pending[0]
        pending.shift()
        for (let step = 0; step < steps && yielded < count; step++, yielded++)
          yield ids.slice(step * this.batch, (step + 1) * this.batch)
      }
    } finally {
      await Promise.allSettled(pending)
    }
  }

  /** Runs the steps of a recording and keeps it. */
  #recordChoices(chosen: Tensor, uniform: Tensor, vocabSize: number, sampling: Choice['sampling']): Capture {
    const { backend, shape } = chosen
    const [steps] = shape
    const at = (step: number) => chosen.view([this.batch, 1], [1, 1], step * this.batch)
    backend.beginCapture()
    noGrad(() => {
      // The first step takes what the last of the recording before chose.
      for (let step = 0; step < steps; step++)
        scope(() => {
          const logits = this.model.logits(this.#advance(at((step + steps - 1) % steps)))
          const all = [this.batch, this.model.config.vocabSize]
          const rows = (shape: number[]) => slice(logits.view(shape), 1, 0, vocabSize)
          if (sampling) {
            const { uniform: _, ...numbers } = sampling
            const one = { uniform: uniform.view([this.batch], [0], step), out: at(step).view([this.batch]) }
            launch(backend, 'sample', { logits: rows(all), ...one }, numbers)
          } else launch(backend, 'reduce', { input: rows([...all, 1]), out: at(step) }, { reduction: argmax })
        })
    })
    return backend.endCapture()
  }

  /** Moves the state on by a token of each sequence, (B, 1), and returns the hidden states after the final norm. */
  #advance(token: Tensor): Tensor {
    const { model, state, batch } = this
    // Many sequences make matrix products, in which a GPU multiplies weights in half precision as they are.
    const { device } = token.backend
    const half = device === 'webgpu' && model.head.weight.value.dtype === 'float16' && batch > fewSequences
    return autocast(half ? 'float16' : null, () =>
      model.hasStep
        ? model.step(token, state, this.#decays)
        : model.hidden(token, { state, finalState: 'update', decays: this.#decays }).hidden,
    )
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
    this.#choosing?.capture.dispose()
    this.#chosen?.dispose()
    this.#uniform?.dispose()
    disposeState(this.state)
    this.#token.dispose()
    this.#logits.dispose()
    for (const decay of this.#decays) decay.dispose()
  }
}
