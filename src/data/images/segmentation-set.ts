// Images with a class for every pixel: reading them, and the random crops that training sees. A label map is kept as grey
// pixels, so that every crop, flip and frame of images does for it too.
import { decodeImage } from '#images'
import { DataError } from '../bytes.js'
import { Draws } from '../draws.js'
import { streams } from './image-batches.js'
import { shuffledItem } from './image-set.js'
import { crop, flipHorizontally, flipVertically, type Pixels } from './pixels.js'
import { type ImagePreprocessing, normalizerOf } from './preprocessing.js'
import { resize } from './resize.js'

/** The label of pixels that count for nothing, in training and in measuring. */
export const unlabelled = 255

export interface LabelledImage {
  /** For errors. */
  readonly name: string
  readonly image: Pixels
  /** Of the image's size, one channel: the class of each pixel, or `unlabelled`. */
  readonly labels: Pixels
}

/** An image that is decoded when it is asked for. */
export interface LabelledFile {
  readonly name: string
  /** Throws DataError where image or mask cannot be read, or do not fit each other. */
  read(): Promise<LabelledImage>
}

export interface SegmentationSet {
  readonly name: string
  readonly classes: readonly string[]
  readonly files: readonly LabelledFile[]
}

/** Colours of a mask, 0xRRGGBB, and the class of each. */
export type MaskColors = ReadonlyMap<number, number>

/** The classes that a mask's colours mean. Throws DataError for a colour that means none. */
export function labelsOfMask(name: string, { width, height, data: from }: Pixels, colors: MaskColors): Pixels {
  const data = new Uint8Array(width * height)
  let [last, label]: [number, number | undefined] = [-1, undefined]
  for (let i = 0, at = 0; i < data.length; i++, at += 3) {
    const color = (from[at] << 16) | (from[at + 1] << 8) | from[at + 2]
    if (color !== last) {
      last = color
      label = colors.get(color)
      if (label === undefined)
        throw new DataError(
          name,
          `expected a mask of known colours, got #${color.toString(16).padStart(6, '0')} at (${i % width}, ${Math.floor(i / width)})`,
        )
    }
    data[i] = label!
  }
  return { width, height, channels: 1, data }
}

/** An image and its colour mask, whatever kind of PNG (with a palette or without) the mask is. */
export const maskedFile = (
  image: { readonly name: string; readonly bytes: Uint8Array },
  mask: { readonly name: string; readonly bytes: Uint8Array },
  colors: MaskColors,
): LabelledFile => ({
  name: image.name,
  async read() {
    const pixels = await decodeImage(image.name, image.bytes)
    const labels = labelsOfMask(mask.name, await decodeImage(mask.name, mask.bytes), colors)
    if (labels.width !== pixels.width || labels.height !== pixels.height)
      throw new DataError(
        mask.name,
        `expected a mask of ${pixels.width} x ${pixels.height} pixels as its image, got ${labels.width} x ${labels.height}`,
      )
    return { name: image.name, image: pixels, labels }
  },
})

/** At another size: the image filtered, each label that of the nearest pixel. mirrors: PIL's BILINEAR and NEAREST */
export function resizeLabelled({ name, image, labels }: LabelledImage, width: number, height: number): LabelledImage {
  const data = new Uint8Array(width * height)
  for (let y = 0; y < height; y++) {
    const row = Math.floor(((y + 0.5) * labels.height) / height) * labels.width
    for (let x = 0; x < width; x++)
      data[y * width + x] = labels.data[row + Math.floor(((x + 0.5) * labels.width) / width)]
  }
  return { name, image: resize(image, width, height, 'bilinear'), labels: { width, height, channels: 1, data } }
}

export interface CropOptions {
  /** Height and width of the crop. */
  readonly size: number
  /** Probability of exchanging left and right, and that of top and bottom. */
  readonly flip: number
  readonly verticalFlip: number
}

/** The same random window and flips of image and labels. Throws DataError where the image is smaller than the window. */
export function randomCrop(
  { name, image, labels }: LabelledImage,
  { size, flip, verticalFlip }: CropOptions,
  draws: Draws,
): LabelledImage {
  const { width, height } = image
  if (width < size || height < size)
    throw new DataError(name, `expected at least ${size} x ${size} pixels to crop from, got ${width} x ${height}`)
  const [left, top] = [draws.integer(width - size + 1), draws.integer(height - size + 1)]
  const [mirrored, upside] = [draws.chance(flip), draws.chance(verticalFlip)]
  const seen = (pixels: Pixels): Pixels => {
    const part = crop(pixels, left, top, size, size)
    const across = mirrored ? flipHorizontally(part) : part
    return upside ? flipVertically(across) : across
  }
  return { name, image: seen(image), labels: seen(labels) }
}

export interface SegmentationBatch {
  /** (B, size, size, 3), normalised. */
  readonly images: Float32Array
  /** (B, size, size): classes, or `unlabelled`. */
  readonly labels: Int32Array
  readonly batch: number
}

export interface SegmentationBatchOptions extends CropOptions {
  /** Crops a batch (B). */
  readonly batch: number
  readonly seed: number
}

/**
 * Batches of random crops of decoded images, every image once an epoch. What a batch holds follows from (seed, batch
 * number) alone.
 */
export class SegmentationCrops {
  readonly #order: { readonly items: Int32Array }
  constructor(
    readonly images: readonly LabelledImage[],
    readonly statistics: Pick<ImagePreprocessing, 'mean' | 'std'>,
    readonly options: SegmentationBatchOptions,
  ) {
    this.#order = { items: Int32Array.from(images.keys()) }
  }

  /** Training batch `index`, counted over all epochs. */
  batch(index: number): SegmentationBatch {
    const { batch, seed, size } = this.options
    const pixels = size * size
    const images = new Float32Array(batch * pixels * 3)
    const labels = new Int32Array(batch * pixels)
    const normalize = normalizerOf({ ...this.statistics, channels: 3 })
    for (let row = 0; row < batch; row++) {
      const position = index * batch + row
      const chosen = this.images[shuffledItem(this.#order, position, seed)]
      const seen = randomCrop(chosen, this.options, new Draws(streams.image, seed, position))
      normalize(seen.image, images.subarray(3 * row * pixels, 3 * (row + 1) * pixels))
      labels.set(seen.labels.data, row * pixels)
    }
    return { images, labels, batch }
  }
}
