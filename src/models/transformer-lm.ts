// A decoder-only Transformer language model of today's form, the baseline of many papers here: pre-norm residual layers
// of multi-head attention and a SwiGLU MLP, RMSNorm, a head tied to the embedding. Positions are rotary or learned.
// Letters: B batch, L length, d d_model, V vocabulary, H heads.
import { MambakitError } from '../errors.js'
import {
  Embedding,
  GatedMlp,
  initializers,
  type KeyValueCache,
  Module,
  MultiHeadAttention,
  type Parameter,
  RmsNorm,
} from '../nn/index.js'
import { add, concat, linear, linearCrossEntropy, noGrad, scope, type Tensor, tensor, zeros } from '../tensor/index.js'
import type { LanguageModel } from './language-model.js'

export interface TransformerLMConfig {
  vocabSize: number
  dModel: number
  /** Pairs of attention and MLP. */
  nLayer: number
  heads: number
  /** Width of the MLP. */
  hidden: number
  /** 'rotary', or this many learned absolute positions; tokens beyond them get no position at all. */
  positions: 'rotary' | number
}

class TransformerLayer extends Module {
  readonly norm: RmsNorm
  readonly mixer: MultiHeadAttention
  readonly norm2: RmsNorm
  readonly mlp: GatedMlp
  constructor({ dModel, heads, hidden, nLayer, positions }: TransformerLMConfig) {
    super()
    this.norm = this.child('norm', new RmsNorm(dModel))
    const rotaryDim = positions === 'rotary' ? dModel / heads : 0
    this.mixer = this.child('mixer', new MultiHeadAttention(dModel, { heads, rotaryDim }))
    this.norm2 = this.child('norm2', new RmsNorm(dModel))
    const outInitializer = (width: number) => initializers.kaimingUniform(width, Math.sqrt(nLayer))
    this.mlp = this.child('mlp', new GatedMlp(dModel, hidden, { multipleOf: 1, outInitializer }))
  }
  /** (B, L, d) -> (B, L, d) */
  forward(input: Tensor, cache: KeyValueCache | null): Tensor {
    const mixed = add(input, this.mixer.forward(this.norm.forward(input), cache))
    return add(mixed, this.mlp.forward(this.norm2.forward(mixed)))
  }
}

/** What decoding carries from token to token; it grows with every token, up to its room. */
export type TransformerCache = readonly KeyValueCache[]

export class TransformerLM extends Module implements LanguageModel {
  readonly embedding: Embedding
  readonly positions: Embedding | null
  readonly layers: readonly TransformerLayer[]
  readonly finalNorm: RmsNorm
  readonly head: { readonly weight: Parameter }
  constructor(readonly config: TransformerLMConfig) {
    super()
    const initializer = initializers.normalWith(0.02)
    this.embedding = this.child('embedding', new Embedding(config.vocabSize, config.dModel, initializer))
    this.positions =
      config.positions === 'rotary'
        ? null
        : this.child('positions', new Embedding(config.positions, config.dModel, initializer))
    const layers = Array.from({ length: config.nLayer }, () => new TransformerLayer(config))
    this.layers = this.childList('layers', layers)
    this.finalNorm = this.child('norm_f', new RmsNorm(config.dModel))
    this.head = this.embedding
  }

  /** ids (B, L) int32 -> hidden states (B, L, d). With a cache the ids continue it. */
  hidden(
    ids: Tensor,
    options: { cache?: TransformerCache; observe?: (layer: string, output: Tensor) => void } = {},
  ): { hidden: Tensor } {
    const { cache, observe } = options
    let hidden = this.#embed(ids, cache?.[0]?.length ?? 0)
    observe?.('embedding', hidden)
    this.layers.forEach((layer, i) => {
      const next = scope(() => layer.forward(hidden, cache?.[i] ?? null))
      hidden.dispose()
      hidden = next
      observe?.(`layers.${i}`, hidden)
    })
    for (const entry of cache ?? []) entry.length += ids.shape[1]
    const normalized = this.finalNorm.forward(hidden)
    observe?.('norm_f', normalized)
    return { hidden: normalized }
  }

  #embed(ids: Tensor, start: number): Tensor {
    const tokens = this.embedding.forward(ids)
    if (!this.positions) return tokens
    // Places of the learned positions, then zeros up to the length.
    const length = ids.shape[1]
    const known = Math.max(0, Math.min(length, this.positions.weight.shape[0] - start))
    if (known === 0) return tokens
    const places = Int32Array.from({ length: known }, (_, t) => start + t)
    const learned = this.positions.forward(tensor(places, { backend: ids.backend }))
    if (known === length) return add(tokens, learned)
    const rest = zeros([length - known, learned.shape[1]], { backend: ids.backend })
    return add(tokens, concat([learned, rest]))
  }

  /** Hidden states (..., d) -> logits (..., V). */
  logits(hidden: Tensor): Tensor {
    return linear(hidden, this.head.weight.value)
  }

  loss(ids: Tensor, targets: Tensor): Tensor {
    return linearCrossEntropy(this.hidden(ids).hidden, this.head.weight.value, targets)
  }

  /** An empty cache for `batch` sequences of at most `room` tokens; the caller disposes it by disposeCache. */
  initialCache(batch: number, room: number): TransformerCache {
    return this.layers.map((layer) => layer.mixer.initialCache(batch, room))
  }

  /** Reads tokens (B, L), row-major, after those of the cache and returns the logits (B, V) that follow. */
  async advance(tokens: Int32Array, cache: TransformerCache): Promise<Float32Array> {
    const batch = cache[0].keys.shape[0]
    const length = tokens.length / batch
    if (!(Number.isInteger(length) && length > 0))
      throw new MambakitError(`transformer: expected tokens for each of ${batch} sequences, got ${tokens.length}`)
    const { backend } = this.head.weight.value
    const logits = noGrad(() =>
      scope(() => {
        const { hidden } = this.hidden(tensor(tokens, { shape: [batch, length], backend }), { cache })
        const last = hidden.view(
          [batch, 1, hidden.shape[2]],
          hidden.strides,
          hidden.offset + (length - 1) * hidden.strides[1],
        )
        return this.logits(last)
      }),
    )
    const values = (await logits.data()) as Float32Array
    logits.dispose()
    return values
  }
}

export function disposeCache(cache: TransformerCache): void {
  for (const { keys, values } of cache) {
    keys.dispose()
    values.dispose()
  }
}
