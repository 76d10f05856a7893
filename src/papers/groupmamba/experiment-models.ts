// The networks that the experiment compares, at the size of CIFAR-10: GroupMamba's block, and the same with one scan of all
// channels in four directions (VMamba's mixer) in its place.
import {
  checkImages,
  type ImageClassifier,
  type ImageForwardOptions,
  throughBlocks,
} from '../../models/image-classifier.js'
import { BatchNorm2d, Conv2d, imageLinear, LayerNorm, type Linear, Module } from '../../nn/index.js'
import { SS2D } from '../../ssm/ss2d.js'
import { add, affine, gelu, mean, type Tensor } from '../../tensor/index.js'
import { Downsampling, eps, GroupMambaBlock, ModulatedGroupMamba, mixerEps } from './model.js'

/** A norm and VMamba's scan of all channels in four directions. */
class CrossScanMixer extends Module {
  readonly #norm: LayerNorm
  readonly #scan: SS2D
  constructor(channels: number) {
    super()
    this.#norm = this.child('norm', new LayerNorm(channels, mixerEps))
    this.#scan = this.child('op', new SS2D({ d_model: channels, d_state: 1, ssm_ratio: 1 }))
  }
  forward(input: Tensor): Tensor {
    return this.#scan.forward(this.#norm.forward(input))
  }
}

/** Of the stages. */
export const widths = [32, 64, 128]
const depths = [1, 2, 1]
const stemChannels = 16
const mlpRatio = 4

export interface GroupMambaMiniOptions {
  readonly widths: readonly number[]
  /** Quarters of the channels scanned in a direction each; else all channels in four. */
  readonly grouped: boolean
  /** A second head, for what a teacher says. */
  readonly distilled: boolean
  /** Of the first of the stem's two convolutions. Default 1. */
  readonly stemStride?: 1 | 2
}

/** Three stages on grids of a half, a quarter and an eighth of the image, over the stride of the stem. */
export class GroupMambaMini extends Module implements ImageClassifier {
  readonly numClasses = 10
  readonly inChannels = 3
  readonly heads: readonly string[]
  recompute = false
  readonly #conv: Conv2d
  readonly #batchNorm: BatchNorm2d
  readonly #proj: Conv2d
  readonly #stemNorm: LayerNorm
  readonly #entries: readonly Downsampling[]
  readonly #stages: readonly (readonly GroupMambaBlock[])[]
  readonly #norm: LayerNorm
  readonly #head: Linear
  readonly #second: Linear | null
  constructor({ widths, grouped, distilled, stemStride = 1 }: GroupMambaMiniOptions) {
    super()
    this.#conv = this.child('stem.0', new Conv2d(3, stemChannels, 3, { padding: 1, stride: stemStride }))
    this.#batchNorm = this.child('stem.1', new BatchNorm2d(stemChannels))
    this.#proj = this.child('stem.3', new Conv2d(stemChannels, widths[0], 3, { padding: 1, stride: 2 }))
    this.#stemNorm = this.child('stem.4', new LayerNorm(widths[0], mixerEps))
    this.#entries = this.childList(
      'downsample',
      widths.slice(1).map((width, i) => new Downsampling(widths[i], width)),
    )
    const mixer = (width: number) => (grouped ? new ModulatedGroupMamba(width) : new CrossScanMixer(width))
    this.#stages = widths.map((width, i) =>
      this.childList(
        `block${i + 1}`,
        Array.from({ length: depths[i] }, () => new GroupMambaBlock(width, mlpRatio, 0, mixer(width))),
      ),
    )
    const last = widths[widths.length - 1]
    this.#norm = this.child('norm', new LayerNorm(last, eps))
    this.#head = this.child('head', imageLinear(last, 10))
    this.#second = distilled ? this.child('dist_head', imageLinear(last, 10)) : null
    this.heads = distilled ? ['head', 'dist_head'] : ['head']
    if (distilled) this.bothLogits = (images) => this.#both(images)
  }
  bothLogits?: ImageClassifier['bothLogits']

  features(images: Tensor, { observe }: ImageForwardOptions = {}): Tensor[] {
    checkImages('groupmamba-mini', images, 3)
    const full = gelu(this.#batchNorm.forward(this.#conv.forward(images)))
    let map = this.#stemNorm.forward(this.#proj.forward(full))
    return this.#stages.map((blocks, i) => {
      const entered = i === 0 ? map : this.#entries[i - 1].forward(map)
      map = throughBlocks(`block${i + 1}`, blocks, entered, this.recompute, observe)
      return map
    })
  }
  #pooled(images: Tensor, options?: ImageForwardOptions): Tensor {
    const maps = this.features(images, options)
    return this.#norm.forward(mean(maps[maps.length - 1], { axis: [1, 2] }))
  }
  #both(images: Tensor, options?: ImageForwardOptions): readonly [logits: Tensor, distilled: Tensor] {
    const pooled = this.#pooled(images, options)
    return [this.#head.forward(pooled), this.#second!.forward(pooled)]
  }
  forward(images: Tensor, options?: ImageForwardOptions): Tensor {
    if (!this.#second) return this.#head.forward(this.#pooled(images, options))
    const [logits, distilled] = this.#both(images, options)
    return affine(add(logits, distilled), 0.5)
  }
}
