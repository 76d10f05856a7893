// Attention between two sequences with PyTorch's parameters: other widths of keys and values, masks, averaged weights.
import { MambakitError } from '../errors.js'
import {
  add,
  attention,
  cast,
  linear,
  matmul,
  mean,
  permute,
  reshape,
  slice,
  softmax,
  type Tensor,
  where,
} from '../tensor/index.js'
import { constant, uniformWithin } from './initializers.js'
import { Linear } from './layers.js'
import { Module, type Parameter } from './module.js'

export interface MultiheadAttentionOptions {
  /** Width of the keys. Default that of the queries. */
  keyDim?: number
  /** Width of the values. Default that of the queries. */
  valueDim?: number
  /** Default true. */
  bias?: boolean
}

export interface AttendOptions {
  /** (L, S) or what broadcasts to (B, heads, L, S): bool, true = do not attend, or float, added to the scores. */
  mask?: Tensor | null
  /** (B, S) bool: true = ignore this key. */
  keyPadding?: Tensor | null
  /** Also return the weights (B, L, S), averaged over the heads. Default false. */
  weights?: boolean
}

/** mirrors: torch.nn.MultiheadAttention with batch_first */
export class MultiheadAttention extends Module {
  /** Of queries, keys and values: three matrices, or the rows of one where all widths are equal. */
  readonly #projections: readonly Parameter[]
  readonly #bias: Parameter | null
  readonly outProj: Linear
  constructor(
    readonly features: number,
    readonly heads: number,
    options: MultiheadAttentionOptions = {},
  ) {
    super()
    const { keyDim = features, valueDim = features, bias = true } = options
    if (!Number.isInteger(features / heads))
      throw new MambakitError(`MultiheadAttention: expected features divisible by heads, got ${features} and ${heads}`)
    // Xavier's uniform.
    const matrix = (name: string, rows: number, columns: number) =>
      this.parameter(name, [rows, columns], uniformWithin(Math.sqrt(6 / (rows + columns))))
    this.#projections =
      keyDim === features && valueDim === features
        ? [matrix('in_proj_weight', 3 * features, features)]
        : [
            matrix('q_proj_weight', features, features),
            matrix('k_proj_weight', features, keyDim),
            matrix('v_proj_weight', features, valueDim),
          ]
    this.#bias = bias ? this.parameter('in_proj_bias', [3 * features], constant(0), { decay: false }) : null
    this.outProj = this.child('out_proj', new Linear(features, features, { bias, biasInitializer: constant(0) }))
  }

  /** query (B, L, E), key (B, S, keyDim), value (B, S, valueDim) -> out (B, L, E). */
  forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    options: AttendOptions = {},
  ): { out: Tensor; weights: Tensor | null } {
    const { mask, keyPadding, weights: wanted = false } = options
    const [batch, length] = query.shape
    const part = (x: Tensor, i: number) => slice(x, 0, i * this.features, (i + 1) * this.features)
    const [q, k, v] = [query, key, value].map((x, i) => {
      const [first] = this.#projections
      const weight = this.#projections.length === 1 ? part(first.value, i) : this.#projections[i].value
      const projected = linear(x, weight, this.#bias && part(this.#bias.value, i))
      return reshape(projected, [batch, x.shape[1], this.heads, this.features / this.heads])
    })
    const joined = (x: Tensor) => this.outProj.forward(reshape(x, [batch, length, this.features]))
    if (!mask && !keyPadding && !wanted) return { out: joined(attention(q, k, v)), weights: null }
    const headsSecond = (x: Tensor) => permute(x, [0, 2, 1, 3])
    const scale = 1 / Math.sqrt(this.features / this.heads)
    let scores = matmul(headsSecond(q), headsSecond(k), { transposeB: true, scale })
    const padded = keyPadding && reshape(keyPadding, [batch, 1, 1, key.shape[1]])
    for (const hidden of [mask, padded])
      if (hidden)
        scores =
          hidden.dtype === 'bool'
            ? where(hidden, Number.NEGATIVE_INFINITY, scores)
            : add(scores, cast(hidden, scores.dtype))
    const attended = softmax(scores)
    const out = joined(headsSecond(matmul(attended, headsSecond(v))))
    return { out, weights: wanted ? mean(attended, { axis: 1 }) : null }
  }
}
