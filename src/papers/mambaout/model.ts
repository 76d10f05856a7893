// MambaOut (arXiv 2405.07992): the Mamba block without its state-space model, as a pyramid of four stages.
// Idea: classifying an image is neither a long sequence nor autoregressive, so the gated convolution alone should do.
// Letters: C channels of a stage, h hidden channels, k convolved channels; maps (B, H, W, C).
import {
  gatedCnnEps as eps,
  GatedCnnBlock,
  type GatedCnnConfig,
  GatedCnnDownsampling,
  gatedCnnConv,
  gatedCnnDefaults,
} from '../../models/gated-cnn.js'
import {
  checkImages,
  type ImageClassifier,
  type ImageForwardOptions,
  throughBlocks,
} from '../../models/image-classifier.js'
import { type Conv2d, dropPathRates, imageLinear, LayerNorm, type Linear, Module } from '../../nn/index.js'
import { gelu, mean, type Tensor } from '../../tensor/index.js'

/** Under the official names. */
export interface MambaOutConfig extends GatedCnnConfig {
  in_chans: number
  num_classes: number
  /** Blocks of each stage. */
  depths: readonly number[]
  /** C of each stage. */
  dims: readonly number[]
  /** Of the last block; it grows linearly from 0. */
  drop_path_rate: number
}

/** What the published sizes have in common. */
export const mambaOutDefaults = { ...gatedCnnDefaults, drop_path_rate: 0 }

/** Halves the map twice: 3x3 convolutions of stride 2, each with a norm, GELU between. */
class Stem extends Module {
  readonly conv1: Conv2d
  readonly norm1: LayerNorm
  readonly conv2: Conv2d
  readonly norm2: LayerNorm
  constructor(inChannels: number, channels: number) {
    super()
    this.conv1 = this.child('conv1', gatedCnnConv(inChannels, channels >> 1, 3, { stride: 2 }))
    this.norm1 = this.child('norm1', new LayerNorm(channels >> 1, eps))
    this.conv2 = this.child('conv2', gatedCnnConv(channels >> 1, channels, 3, { stride: 2 }))
    this.norm2 = this.child('norm2', new LayerNorm(channels, eps))
  }
  forward(images: Tensor): Tensor {
    const half = gelu(this.norm1.forward(this.conv1.forward(images)))
    return this.norm2.forward(this.conv2.forward(half))
  }
}

/** Linear, GELU, norm, linear. */
class MlpHead extends Module {
  readonly fc1: Linear
  readonly norm: LayerNorm
  readonly fc2: Linear
  constructor(channels: number, numClasses: number) {
    super()
    this.fc1 = this.child('fc1', imageLinear(channels, 4 * channels))
    this.norm = this.child('norm', new LayerNorm(4 * channels, eps))
    this.fc2 = this.child('fc2', imageLinear(4 * channels, numClasses))
  }
  forward(pooled: Tensor): Tensor {
    return this.fc2.forward(this.norm.forward(gelu(this.fc1.forward(pooled))))
  }
}

/** mirrors: MambaOut of yuweihao/MambaOut (models/mambaout.py) */
export class MambaOut extends Module implements ImageClassifier {
  readonly numClasses: number
  readonly inChannels: number
  readonly heads = ['head']
  recompute = false
  readonly #entries: readonly (Stem | GatedCnnDownsampling)[]
  readonly #stages: readonly (readonly GatedCnnBlock[])[]
  readonly #norm: LayerNorm
  readonly #head: MlpHead
  /** `block` makes a stage's blocks; a counterpart with a state-space model gives its own. */
  constructor(
    readonly config: MambaOutConfig,
    block: (channels: number, dropPath: number) => GatedCnnBlock = (channels, dropPath) =>
      new GatedCnnBlock(channels, config, dropPath),
  ) {
    super()
    const { dims, depths, in_chans, num_classes, drop_path_rate } = config
    this.numClasses = num_classes
    this.inChannels = in_chans
    this.#entries = this.childList(
      'downsample_layers',
      dims.map((dim, i) => (i === 0 ? new Stem(in_chans, dim) : new GatedCnnDownsampling(dims[i - 1], dim))),
    )
    const rates = dropPathRates(
      drop_path_rate,
      depths.reduce((sum, depth) => sum + depth, 0),
    )
    this.#stages = dims.map((dim, i) =>
      this.childList(
        `stages.${i}`,
        rates.splice(0, depths[i]).map((rate) => block(dim, rate)),
      ),
    )
    const last = dims[dims.length - 1]
    this.#norm = this.child('norm', new LayerNorm(last, eps))
    this.#head = this.child('head', new MlpHead(last, num_classes))
  }

  /** The map before the first block: (B, H, W, 3) -> (B, ceil(H / 4), ceil(W / 4), C1). */
  stem(images: Tensor): Tensor {
    checkImages('mambaout', images, this.inChannels)
    return this.#entries[0].forward(images)
  }
  /** The maps after the stages, at strides 4, 8, 16, 32. */
  features(images: Tensor, { observe }: ImageForwardOptions = {}): Tensor[] {
    let map = images
    return this.#stages.map((blocks, i) => {
      const entered = i === 0 ? this.stem(map) : this.#entries[i].forward(map)
      map = throughBlocks(`stages.${i}`, blocks, entered, this.recompute, observe)
      return map
    })
  }
  /** The norm of the mean over positions: (B, h, w, C4) -> (B, C4). */
  pool(map: Tensor): Tensor {
    return this.#norm.forward(mean(map, { axis: [1, 2] }))
  }
  /** (B, H, W, 3) -> logits (B, classes). Any sides. */
  forward(images: Tensor, options: ImageForwardOptions = {}): Tensor {
    const maps = this.features(images, options)
    const logits = this.#head.forward(this.pool(maps[maps.length - 1]))
    options.observe?.('head', logits)
    return logits
  }
}
