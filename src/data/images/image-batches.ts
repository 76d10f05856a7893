// Makes batches of images: read, augment, normalise, mix. A batch follows from its request alone, so that it is the same
// whichever thread makes it.
import { Draws } from '../draws.js'
import { augment, drawMixture, erase, type ImageAugmentation, type Mixture, mixImages } from './augmentation.js'
import { readImage, type StoredImages } from './image-set.js'
import type { PixelCache } from './pixel-cache.js'
import type { Pixels } from './pixels.js'
import { evaluationCrop, type ImagePreprocessing, normalizerOf } from './preprocessing.js'

export interface BatchRequest {
  /** Which of the sets. */
  readonly set: number
  /** Stored images, one a row. */
  readonly items: Int32Array
  /** For training; absent for evaluation. */
  readonly training?: {
    readonly augmentation: ImageAugmentation
    readonly seed: number
    /** Position of the first row, counted over all epochs: what the rows draw follows from it. */
    readonly position: number
  }
}

export interface MadeBatch {
  /** (B, size, size, C) */
  readonly images: Float32Array
  readonly mixture: Mixture | null
}

/** What batches are made from; plain data, the same in every thread. */
export interface BatchSource {
  readonly sets: readonly { readonly images: StoredImages; readonly cache: PixelCache | null }[]
  readonly preprocessing: ImagePreprocessing
}

/**
 * Training reads photographs no larger than random crops of them can show: with the shorter side at this many times what
 * the model sees, a crop of a sixteenth of the area is still not enlarged. Evaluation reads them whole.
 */
export const trainingSides = 4

/** What a stream of draws is for, so that images and whole batches draw different numbers. */
export const streams = { image: 1, batch: 2 }

/** Throws DataError that names the image which cannot be read. */
export async function makeBatch({ sets, preprocessing }: BatchSource, request: BatchRequest): Promise<MadeBatch> {
  const { size, channels } = preprocessing
  const { images: stored, cache } = sets[request.set]
  const { items, training } = request
  const values = size * size * channels
  const images = new Float32Array(items.length * values)
  const normalize = normalizerOf(preprocessing)
  const read = async (item: number): Promise<Pixels> => {
    const known = cache?.get(item)
    // What training has read smaller is not what evaluation measures on.
    if (known && (training || Math.min(known.width, known.height) !== trainingSides * size)) return known
    const pixels = await readImage(stored, item, channels, training && trainingSides * size)
    cache?.set(item, pixels)
    return pixels
  }
  // The next image is read while this one is worked on.
  let next = read(items[0])
  for (let row = 0; row < items.length; row++) {
    const image = await next
    if (row + 1 < items.length) {
      next = read(items[row + 1])
      // It is awaited in its turn; until then a fault must not count as unhandled.
      next.catch(() => {})
    }
    const out = images.subarray(row * values, (row + 1) * values)
    if (!training) {
      normalize(evaluationCrop(image, preprocessing), out)
      continue
    }
    const { augmentation, seed, position } = training
    const draws = new Draws(streams.image, seed, position + row)
    normalize(augment(image, augmentation, preprocessing, draws), out)
    if (augmentation.erase > 0) erase(out, size, size, channels, augmentation.erase, draws)
  }
  return { images, mixture: mixBatch(images, items.length, preprocessing, training) }
}

function mixBatch(
  images: Float32Array,
  rows: number,
  { size, channels }: ImagePreprocessing,
  training: BatchRequest['training'],
): Mixture | null {
  if (!training?.augmentation.mix) return null
  const draws = new Draws(streams.batch, training.seed, training.position)
  const mixture = drawMixture(training.augmentation.mix, size, size, draws)
  if (mixture) mixImages(images, rows, size, size, channels, mixture)
  return mixture
}
