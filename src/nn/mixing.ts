// The two halves of a Transformer layer, which hybrids and baselines use: multi-head attention and the gated MLP.
import { type Activation, launch } from '../backend/kernels.js'
import type { Backend } from '../backend/types.js'
import { MambakitError } from '../errors.js'
import {
  attention,
  gatedActivation,
  reshape,
  rotary,
  slice,
  split,
  type Tensor,
  tensor,
  zeros,
} from '../tensor/index.js'
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

/** Keys and values of the tokens so far, in tensors with room for more. */
export interface KeyValueCache {
  /** (B, room, Hkv, P). */
  readonly keys: Tensor
  readonly values: Tensor
  /** Tokens that are there; the model that owns the cache moves it on. */
  length: number
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
  /** An empty cache for `batch` sequences of at most `room` tokens. */
  initialCache(batch: number, room: number): KeyValueCache {
    const { backend } = this.inProj.weight.value
    const make = () => zeros([batch, room, this.#options.keyHeads, this.#options.headDim], { backend })
    return { keys: make(), values: make(), length: 0 }
  }
  /** (B, L, d) -> (B, L, d). With a cache the input continues it, and its keys and values are written there (no gradient). */
  forward(input: Tensor, cache: KeyValueCache | null = null): Tensor {
    const { heads, keyHeads, headDim, rotaryDim, rotaryBase, causal } = this.#options
    const [batch, length] = input.shape
    const counts = [heads, keyHeads, keyHeads]
    const parts = split(
      this.inProj.forward(input),
      counts.map((count) => count * headDim),
    )
    const [q, k, v] = parts.map((part, i) => reshape(part, [batch, length, counts[i], headDim]))
    const positions = cache && positionsFrom(cache.length, batch, length, input.backend)
    const turn = (x: Tensor) => (rotaryDim > 0 ? rotary(x, { rotaryDim, base: rotaryBase, positions }) : x)
    const [keys, values] = cache ? extend(cache, turn(k), v) : [turn(k), v]
    const out = attention(turn(q), keys, values, { causal })
    return this.outProj.forward(reshape(out, [batch, length, heads * headDim]))
  }
}

/** (B, L) int32: start, start + 1, ... in every row. */
function positionsFrom(start: number, batch: number, length: number, backend: Backend): Tensor {
  const positions = Int32Array.from({ length: batch * length }, (_, i) => start + (i % length))
  return tensor(positions, { shape: [batch, length], backend })
}

/** Writes keys and values behind those of the cache, and gives all of them as views. */
function extend(cache: KeyValueCache, keys: Tensor, values: Tensor): [keys: Tensor, values: Tensor] {
  const end = cache.length + keys.shape[1]
  const room = cache.keys.shape[1]
  if (end > room) throw new MambakitError(`attention: expected at most ${room} tokens in this cache, got ${end}`)
  const write = (whole: Tensor, part: Tensor) => {
    launch(whole.backend, 'copy', { input: part, out: slice(whole, 1, cache.length, end) }, {})
    return slice(whole, 1, 0, end)
  }
  return [write(cache.keys, keys), write(cache.values, values)]
}
