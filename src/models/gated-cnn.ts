// Gated convolutions: the Mamba block without its state-space model (MambaOut, arXiv 2405.07992), and a small network of
// them that experiments on 32 x 32 images compare and learn from.
// Letters: C channels, h hidden channels, k convolved channels; maps (B, H, W, C).
import { Conv2d, DropPath, imageLinear, initializers, LayerNorm, type Linear, Module } from '../nn/index.js'
import { add, concat, gatedActivation, gelu, mean, split, type Tensor } from '../tensor/index.js'
import { checkImages, type ImageClassifier, type ImageForwardOptions, throughBlocks } from './image-classifier.js'

const { constant, imageNormal } = initializers
/** Of the norms. */
export const gatedCnnEps = 1e-6
const eps = gatedCnnEps
/** A convolution that keeps the map's size at stride 1, from N(0, 0.02). */
export const gatedCnnConv = (
  from: number,
  to: number,
  kernel: number,
  options: { stride?: number; groups?: number } = {},
) =>
  new Conv2d(from, to, kernel, {
    ...options,
    padding: kernel >> 1,
    weightInitializer: imageNormal,
    biasInitializer: constant(0),
  })

/** Under the official names. */
export interface GatedCnnConfig {
  /** k / C, truncated. */
  conv_ratio: number
  kernel_size: number
}

/** What the published sizes have. */
export const gatedCnnDefaults: GatedCnnConfig = { conv_ratio: 1, kernel_size: 7 }

/** x + W2 (gelu(g) * [i, conv(c)]), where [g, i, c] = W1 norm(x). mirrors: GatedCNNBlock */
export class GatedCnnBlock extends Module {
  readonly norm: LayerNorm
  readonly fc1: Linear
  readonly conv: Conv2d
  readonly fc2: Linear
  readonly dropPath: DropPath
  readonly #parts: readonly [gate: number, identity: number, convolved: number]
  constructor(channels: number, { conv_ratio, kernel_size } = gatedCnnDefaults, dropPath = 0) {
    super()
    const hidden = Math.trunc((8 / 3) * channels)
    const convolved = Math.trunc(conv_ratio * channels)
    this.#parts = [hidden, hidden - convolved, convolved]
    this.norm = this.child('norm', new LayerNorm(channels, eps))
    this.fc1 = this.child('fc1', imageLinear(channels, 2 * hidden))
    this.conv = this.child('conv', gatedCnnConv(convolved, convolved, kernel_size, { groups: convolved }))
    this.fc2 = this.child('fc2', imageLinear(hidden, channels))
    this.dropPath = this.child('drop_path', new DropPath(dropPath))
  }
  /** (B, H, W, C) -> (B, H, W, C) */
  forward(input: Tensor): Tensor {
    const [gate, identity, convolved] = split(this.fc1.forward(this.norm.forward(input)), this.#parts)
    const value = concat([identity, this.mix(this.conv.forward(convolved))], -1)
    return add(input, this.dropPath.forward(this.fc2.forward(gatedActivation(gate, value, 'gelu'))))
  }
  /** What follows the convolution: nothing here; a counterpart with a state-space model puts it here. (B, H, W, k) -> same. */
  protected mix(convolved: Tensor): Tensor {
    return convolved
  }
}

/** Halves the map. */
export class GatedCnnDownsampling extends Module {
  readonly conv: Conv2d
  readonly norm: LayerNorm
  constructor(from: number, to: number) {
    super()
    this.conv = this.child('conv', gatedCnnConv(from, to, 3, { stride: 2 }))
    this.norm = this.child('norm', new LayerNorm(to, eps))
  }
  forward(map: Tensor): Tensor {
    return this.norm.forward(this.conv.forward(map))
  }
}

/** Blocks of the small network's stages. */
const miniDepths = [1, 2, 1]

/** Three stages on grids of a half, a quarter and an eighth of the image (with a `stemStride` of 2 of half that); a linear head. */
export class GatedCnnMini extends Module implements ImageClassifier {
  readonly numClasses = 10
  readonly inChannels = 3
  readonly heads = ['head']
  recompute = false
  readonly #conv1
  readonly #norm1: LayerNorm
  readonly #entries: readonly GatedCnnDownsampling[]
  readonly #stages: readonly (readonly GatedCnnBlock[])[]
  readonly #norm: LayerNorm
  readonly #head: Linear
  /** Widths of the stages, what makes their blocks, and the stride of the first of the stem's two convolutions. */
  constructor(
    widths: readonly number[],
    block: (channels: number) => GatedCnnBlock = (channels) => new GatedCnnBlock(channels),
    stemStride: 1 | 2 = 1,
  ) {
    super()
    const [first] = widths
    this.#conv1 = this.child('stem.conv1', gatedCnnConv(3, first >> 1, 3, { stride: stemStride }))
    this.#norm1 = this.child('stem.norm1', new LayerNorm(first >> 1, eps))
    this.#entries = this.childList(
      'downsample_layers',
      widths.map((width, i) => new GatedCnnDownsampling(i === 0 ? first >> 1 : widths[i - 1], width)),
    )
    this.#stages = widths.map((width, i) =>
      this.childList(
        `stages.${i}`,
        Array.from({ length: miniDepths[i] }, () => block(width)),
      ),
    )
    const last = widths[widths.length - 1]
    this.#norm = this.child('norm', new LayerNorm(last, eps))
    this.#head = this.child('head', imageLinear(last, 10))
  }
  features(images: Tensor, { observe }: ImageForwardOptions = {}): Tensor[] {
    checkImages('gated-cnn-mini', images, 3)
    let map = gelu(this.#norm1.forward(this.#conv1.forward(images)))
    return this.#stages.map((blocks, i) => {
      map = throughBlocks(`stages.${i}`, blocks, this.#entries[i].forward(map), this.recompute, observe)
      return map
    })
  }
  forward(images: Tensor, options: ImageForwardOptions = {}): Tensor {
    const maps = this.features(images, options)
    return this.#head.forward(this.#norm.forward(mean(maps[maps.length - 1], { axis: [1, 2] })))
  }
}
