// The two halves of a Transformer layer, which hybrids and baselines use: multi-head attention and the gated MLP.
import type { Activation } from '../backend/kernels.js'
import { MambakitError } from '../errors.js'
import { attention, gatedActivation, reshape, rotary, split, type Tensor } from '../tensor/index.js'
import { Linear } from './layers.js'
import { type Initializer, Module } from './module.js'

export interface GatedMlpOptions {
  /** Default false. */
  bias?: boolean
  /** Default silu. */
  activation?: Activation
  /** The hidden width is rounded up to a multiple of this. Default 128. */
  multipleOf?: number
  /** For fc2, given its fan-in. Default: PyTorch's. */
  outInitializer?: (hidden: number) => Initializer
}

/** fc2(first half of fc1(x) * activation(second half)). mirrors: GatedMLP of state-spaces/mamba */
export class GatedMlp extends Module {
  readonly fc1: Linear
  readonly fc2: Linear
  readonly #activation: Activation
  readonly #hidden: number
  constructor(features: number, hidden: number, options: GatedMlpOptions = {}) {
    super()
    const { bias = false, multipleOf = 128, activation = 'silu' } = options
    this.#hidden = Math.ceil(hidden / multipleOf) * multipleOf
    this.#activation = activation
    this.fc1 = this.child('fc1', new Linear(features, 2 * this.#hidden, { bias }))
    const weightInitializer = options.outInitializer?.(this.#hidden)
    this.fc2 = this.child('fc2', new Linear(this.#hidden, features, { bias, weightInitializer }))
  }
  /** (..., d) -> (..., d) */
  forward(input: Tensor): Tensor {
    const [value, gate] = split(this.fc1.forward(input), [this.#hidden, this.#hidden])
    return this.fc2.forward(gatedActivation(gate, value, this.#activation))
  }
}

export interface AttentionLayerOptions {
  heads: number
  /** Key and value heads. Default `heads`. */
  keyHeads?: number
  /** Default features / heads. */
  headDim?: number
  /** Default true. */
  causal?: boolean
  /** Channels of each head that turn with position; 0 for none. Default headDim. */
  rotaryDim?: number
  /** Default 10000. */
  rotaryBase?: number
  /** Default false. */
  bias?: boolean
}

/** Multi-head attention: `in_proj` gives queries, keys and values of all heads. mirrors: MHA of state-spaces/mamba */
export class MultiHeadAttention extends Module {
  readonly inProj: Linear
  readonly outProj: Linear
  readonly #options: Required<AttentionLayerOptions>
  constructor(features: number, options: AttentionLayerOptions) {
    super()
    const headDim = options.headDim ?? features / options.heads
    if (!Number.isInteger(headDim))
      throw new MambakitError(`attention: expected features divisible by heads, got ${features} and ${options.heads}`)
    const defaults = { keyHeads: options.heads, causal: true, rotaryDim: headDim, rotaryBase: 10000, bias: false }
    this.#options = { ...defaults, ...options, headDim }
    const { heads, keyHeads, bias } = this.#options
    this.inProj = this.child('in_proj', new Linear(features, headDim * (heads + 2 * keyHeads), { bias }))
    this.outProj = this.child('out_proj', new Linear(headDim * heads, features, { bias }))
  }
  /** (B, L, d) -> (B, L, d) */
  forward(input: Tensor): Tensor {
    const { heads, keyHeads, headDim, rotaryDim, rotaryBase, causal } = this.#options
    const [batch, length] = input.shape
    const counts = [heads, keyHeads, keyHeads]
    const parts = split(
      this.inProj.forward(input),
      counts.map((count) => count * headDim),
    )
    const [q, k, v] = parts.map((part, i) => reshape(part, [batch, length, counts[i], headDim]))
    const turn = (x: Tensor) => (rotaryDim > 0 ? rotary(x, { rotaryDim, base: rotaryBase }) : x)
    const out = attention(turn(q), turn(k), v, { causal })
    return this.outProj.forward(reshape(out, [batch, length, heads * headDim]))
  }
}
