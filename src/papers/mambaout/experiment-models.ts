// The networks that the experiment compares: MambaOut at the size of CIFAR-10, and the same with a state-space model behind
// every convolution.
import {
  checkImages,
  type ImageClassifier,
  type ImageForwardOptions,
  throughBlocks,
} from '../../models/image-classifier.js'
import { initializers, LayerNorm, Linear, Module } from '../../nn/index.js'
import type { ScanPattern } from '../../ssm/scan-paths.js'
import { MapScan } from '../../ssm/ss2d.js'
import { gelu, mean, silu, type Tensor } from '../../tensor/index.js'
import { convOf, Downsampling, eps, GatedCnnBlock, mambaOutDefaults } from './model.js'

/** A block whose convolved channels go through selective scans: c <- SSM(silu(c)). */
class ScannedBlock extends GatedCnnBlock {
  readonly #scan: MapScan
  constructor(channels: number, pattern: ScanPattern) {
    super(channels, mambaOutDefaults)
    this.#scan = this.child('ssm', new MapScan({ channels, states: 4, rank: Math.ceil(channels / 16), pattern }))
  }
  protected override mix(convolved: Tensor): Tensor {
    return this.#scan.scan(silu(convolved))
  }
}

const depths = [1, 2, 1]
/** Widths of the model that the claim is about. */
export const miniWidths = [24, 48, 96]

/** Three stages on grids of a half, a quarter and an eighth of the image; a linear head. */
export class MambaOutMini extends Module implements ImageClassifier {
  readonly numClasses = 10
  readonly inChannels = 3
  readonly heads = ['head']
  recompute = false
  readonly #conv1
  readonly #norm1: LayerNorm
  readonly #entries: readonly Downsampling[]
  readonly #stages: readonly (readonly GatedCnnBlock[])[]
  readonly #norm: LayerNorm
  readonly #head: Linear
  /** `pattern` names the scans behind each convolution; null for none. */
  constructor(pattern: ScanPattern | null, widths: readonly number[] = miniWidths) {
    super()
    const [first] = widths
    this.#conv1 = this.child('stem.conv1', convOf(3, first >> 1, 3))
    this.#norm1 = this.child('stem.norm1', new LayerNorm(first >> 1, eps))
    this.#entries = this.childList(
      'downsample_layers',
      widths.map((width, i) => new Downsampling(i === 0 ? first >> 1 : widths[i - 1], width)),
    )
    const block = (width: number) =>
      pattern ? new ScannedBlock(width, pattern) : new GatedCnnBlock(width, mambaOutDefaults)
    this.#stages = widths.map((width, i) =>
      this.childList(
        `stages.${i}`,
        Array.from({ length: depths[i] }, () => block(width)),
      ),
    )
    const last = widths[widths.length - 1]
    this.#norm = this.child('norm', new LayerNorm(last, eps))
    this.#head = this.child(
      'head',
      new Linear(last, 10, { weightInitializer: initializers.imageNormal, biasInitializer: initializers.constant(0) }),
    )
  }
  features(images: Tensor, { observe }: ImageForwardOptions = {}): Tensor[] {
    checkImages('mambaout-mini', images, 3)
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
