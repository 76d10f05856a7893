// A causal U-Net over raw sound, one token a sample: SaShiMi's frame of two pooling stages with residual Mamba blocks
// inside. What is far away is carried at coarse steps, what is near at single samples.
// Letters: B batch, L length, D width of the finest level, p pooling factor, V levels of a sample.
import { Embedding, LayerNorm, Linear, Module, type Parameter } from '../nn/index.js'
import { MambaMixer } from '../ssm/mamba.js'
import { add, concat, crossEntropy, reshape, scope, slice, type Tensor, transpose, zeros } from '../tensor/index.js'
import type { LanguageModel } from './language-model.js'
import type { MixerFactory } from './mamba-lm.js'

export interface AudioUNetConfig {
  /** V. Default 256, 8-bit mu-law. */
  vocabSize?: number
  /** D; every pooling doubles it. */
  dModel: number
  /** p of each pooling stage, finest first. */
  pool: readonly number[]
  /** Blocks at the centre and at each level on the way up. */
  blocks: number
  dState?: number
}

/** x + mixer(norm(x)) */
class Block extends Module {
  readonly norm: LayerNorm
  readonly mixer: ReturnType<MixerFactory>
  constructor(dModel: number, dState: number | undefined, rescale: number, mixerOf: MixerFactory) {
    super()
    this.norm = this.child('norm', new LayerNorm(dModel))
    this.mixer = this.child('layer', mixerOf({ dModel, dState, outProjRescale: rescale }))
  }
  forward(input: Tensor): Tensor {
    return scope(() => add(input, this.mixer.forward(this.norm.forward(input)).out))
  }
}

/** (B, L, D) -> (B, L / p, 2 D): p neighbouring steps stacked, the channel slower than the step. */
class DownPool extends Module {
  readonly linear: Linear
  constructor(
    dModel: number,
    private readonly factor: number,
  ) {
    super()
    this.linear = this.child('linear', new Linear(factor * dModel, 2 * dModel))
  }
  forward(input: Tensor): Tensor {
    const [batch, length, width] = input.shape
    const steps = reshape(input, [batch, length / this.factor, this.factor, width])
    return this.linear.forward(reshape(transpose(steps), [batch, length / this.factor, width * this.factor]))
  }
}

/** (B, L, 2 D) -> (B, L p, D), one coarse step later, so that no sample sees what comes after it. */
class UpPool extends Module {
  readonly linear: Linear
  constructor(
    private readonly width: number,
    private readonly factor: number,
  ) {
    super()
    this.linear = this.child('linear', new Linear(2 * width, factor * width))
  }
  forward(input: Tensor): Tensor {
    const [batch, length] = input.shape
    const wide = this.linear.forward(input)
    const first = zeros([batch, 1, this.factor * this.width], { backend: input.backend })
    const later = concat([first, slice(wide, 1, 0, length - 1)], 1)
    const stacked = reshape(later, [batch, length, this.width, this.factor])
    return reshape(transpose(stacked), [batch, length * this.factor, this.width])
  }
}

/** mirrors: Sashimi of state-spaces/s4 (models/sashimi/sashimi.py), without blocks on the way down. */
export class AudioUNet extends Module implements LanguageModel {
  readonly embedding: Embedding
  readonly down: readonly DownPool[]
  readonly centre: readonly Block[]
  readonly up: readonly UpPool[]
  /** Of each level on the way up, coarsest first. */
  readonly levels: readonly (readonly Block[])[]
  readonly norm: LayerNorm
  readonly output: Linear
  readonly #multiple: number

  constructor(
    readonly config: AudioUNetConfig,
    mixerOf: MixerFactory = (mixer) => new MambaMixer(mixer),
  ) {
    super()
    const { dModel, pool, blocks, dState, vocabSize = 256 } = config
    const widths = pool.map((_, i) => dModel * 2 ** i)
    const rescale = Math.sqrt(blocks * (pool.length + 1))
    const residual = (name: string, width: number) =>
      this.childList(
        name,
        Array.from({ length: blocks }, () => new Block(width, dState, rescale, mixerOf)),
      )
    this.#multiple = pool.reduce((product, factor) => product * factor, 1)
    this.embedding = this.child('embedding', new Embedding(vocabSize, dModel))
    this.down = this.childList(
      'd_layers',
      pool.map((factor, i) => new DownPool(widths[i], factor)),
    )
    this.centre = residual('c_layers', dModel * 2 ** pool.length)
    this.up = this.childList('up', pool.map((factor, i) => new UpPool(widths[i], factor)).reverse())
    this.levels = [...widths].reverse().map((width, i) => residual(`u_layers.${i}`, width))
    this.norm = this.child('norm', new LayerNorm(dModel))
    this.output = this.child('output', new Linear(dModel, vocabSize))
  }

  get head(): { readonly weight: Parameter } {
    return this.output
  }

  /** ids (B, L) int32 -> hidden states (B, L, D); position t depends on ids up to t. Any L: the rest of a coarse step is filled up. */
  hidden(ids: Tensor, options: { observe?: (layer: string, output: Tensor) => void } = {}): { hidden: Tensor } {
    const [batch, length] = ids.shape
    const missing = (this.#multiple - (length % this.#multiple)) % this.#multiple
    const filled =
      missing === 0 ? ids : concat([ids, zeros([batch, missing], { dtype: 'int32', backend: ids.backend })], 1)
    let x = this.embedding.forward(filled)
    const kept = [x]
    const see = (layer: string) => options.observe?.(layer, x)
    see('embedding')
    for (const [i, pool] of this.down.entries()) {
      x = pool.forward(x)
      kept.push(x)
      see(`d_layers.${i}`)
    }
    for (const block of this.centre) x = block.forward(x)
    x = add(x, kept.pop()!)
    see('c_layers')
    for (const [i, pool] of this.up.entries()) {
      const joined = add(pool.forward(x), kept.pop()!)
      x = joined
      for (const block of this.levels[i]) x = block.forward(x)
      x = add(x, joined)
      see(`u_layers.${i}`)
    }
    const normalized = this.norm.forward(x)
    return { hidden: missing === 0 ? normalized : slice(normalized, 1, 0, length) }
  }

  /** Hidden states (..., D) -> logits (..., V). */
  logits(hidden: Tensor): Tensor {
    return this.output.forward(hidden)
  }

  loss(ids: Tensor, targets: Tensor): Tensor {
    return crossEntropy(this.logits(this.hidden(ids).hidden), targets)
  }
}
