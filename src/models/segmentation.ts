// Semantic segmentation: a class for every pixel, from the maps of a backbone's stages. The heads here are the smallest
// that use every map; each first goes through a norm of its own.
// Letters: B batch, H, W sides of the image, h, w sides of a map, C channels of a map, K classes.
import { Conv2d, LayerNorm, Module } from '../nn/index.js'
import { add, concat, interpolate, relu, type Tensor } from '../tensor/index.js'
import type { ImageClassifier, ImageForwardOptions } from './image-classifier.js'

/** What training and measuring ask of a model, whatever its layers are. */
export interface ImageSegmenter extends Module {
  readonly numClasses: number
  /** images (B, H, W, 3) -> logits (B, H, W, K) */
  forward(images: Tensor, options?: ImageForwardOptions): Tensor
}

/** Makes logits (B, h, w, K) of maps (B, h_i, w_i, C_i), finest first, on the grid of the first. */
export interface SegmentationHead extends Module {
  readonly numClasses: number
  forward(maps: readonly Tensor[]): Tensor
}

const mapNorms = (channels: readonly number[]) => channels.map((width) => new LayerNorm(width, 1e-6))

const resizedTo = (map: Tensor, like: Tensor): Tensor => {
  const [, height, width] = like.shape
  return map.shape[1] === height && map.shape[2] === width
    ? map
    : interpolate(map, { size: [height, width], mode: 'bilinear' })
}

/** The maps, made equally wide, added up on the finest grid: K logits of their ReLU. */
export class SummedMapsHead extends Module implements SegmentationHead {
  readonly #norms: readonly LayerNorm[]
  readonly #laterals: readonly Conv2d[]
  readonly #logits: Conv2d
  /** `channels`: C of each map; `width`: what they are brought to. */
  constructor(
    channels: readonly number[],
    width: number,
    readonly numClasses: number,
  ) {
    super()
    this.#norms = this.childList('norms', mapNorms(channels))
    this.#laterals = this.childList(
      'lateral_convs',
      channels.map((own) => new Conv2d(own, width, 1)),
    )
    this.#logits = this.child('conv_seg', new Conv2d(width, numClasses, 1))
  }
  forward(maps: readonly Tensor[]): Tensor {
    const wide = maps.map((map, i) => this.#laterals[i].forward(this.#norms[i].forward(map)))
    return this.#logits.forward(relu(wide.map((map) => resizedTo(map, wide[0])).reduce((sum, map) => add(sum, map))))
  }
}

/** K logits of the maps side by side on the finest grid: for backbones of one resolution. */
export class JoinedMapsHead extends Module implements SegmentationHead {
  readonly #norms: readonly LayerNorm[] | null
  readonly #logits: Conv2d
  /** `norms`: false where the backbone's maps are normalised. Default true. */
  constructor(
    channels: readonly number[],
    readonly numClasses: number,
    { norms = true }: { norms?: boolean } = {},
  ) {
    super()
    this.#norms = norms ? this.childList('norms', mapNorms(channels)) : null
    const joined = channels.reduce((sum, own) => sum + own, 0)
    this.#logits = this.child('conv_seg', new Conv2d(joined, numClasses, 1))
  }
  forward(maps: readonly Tensor[]): Tensor {
    const normed = this.#norms?.map((norm, i) => norm.forward(maps[i])) ?? maps
    const joined = normed.map((map) => resizedTo(map, normed[0]))
    return this.#logits.forward(concat(joined, -1))
  }
}

/** A backbone and a head; the logits are brought to the image's size by bilinear interpolation. */
export class Segmenter extends Module implements ImageSegmenter {
  readonly numClasses: number
  readonly backbone: ImageClassifier
  readonly head: SegmentationHead
  /** `maps`: what the head reads of images; default the backbone's features. */
  constructor(
    backbone: ImageClassifier,
    head: SegmentationHead,
    private readonly maps: (images: Tensor) => readonly Tensor[] = (images) => backbone.features(images),
  ) {
    super()
    this.numClasses = head.numClasses
    this.backbone = this.child('backbone', backbone)
    this.head = this.child('decode_head', head)
  }
  forward(images: Tensor, { observe }: ImageForwardOptions = {}): Tensor {
    const maps = this.maps(images)
    maps.forEach((map, i) => {
      observe?.(`backbone, map ${i}`, map)
    })
    const logits = this.head.forward(maps)
    observe?.('decode_head', logits)
    return resizedTo(logits, images)
  }
  /** Number of trainable values without the backbone's own heads, which take no part. */
  trainedCount(): number {
    const idle = this.backbone.heads.map((name) => `backbone.${name}.`)
    const taken = [...this.namedParameters()].filter(([name]) => !idle.some((prefix) => name.startsWith(prefix)))
    return [...new Set(taken.map(([, parameter]) => parameter))]
      .filter(({ trainable }) => trainable)
      .reduce((sum, { size }) => sum + size, 0)
  }
}
