// Feeds training and measuring with batches of images, made ahead of time: where batches are made (here or on workers) is
// the maker's business. Which images a batch holds and what they look like follows from (seed, batch number) alone.
import { MambakitError } from '../../errors.js'
import { type ImageAugmentation, type Mixture, mixTargets } from './augmentation.js'
import { type BatchRequest, type BatchSource, type MadeBatch, makeBatch } from './image-batches.js'
import { type ImageSet, shuffledItem } from './image-set.js'
import type { ImagePreprocessing } from './preprocessing.js'

/** Makes the batches of a loader. */
export interface BatchMaker {
  make(request: BatchRequest): Promise<MadeBatch>
  /** Batches that it can work on at once. */
  readonly parallel: number
  close(): Promise<void>
}

/** Makes batches in this thread, when they are asked for: in pages, and where there is one core. */
export function makeHere(source: BatchSource): BatchMaker {
  return { make: (request) => makeBatch(source, request), parallel: 1, async close() {} }
}

export interface ImageBatch {
  /** (B, size, size, C), normalised. */
  readonly images: Float32Array
  /** (B). */
  readonly labels: Int32Array
  /** (B, K), where the batch was mixed. */
  readonly targets: Float32Array | null
  readonly batch: number
}

export interface ImageLoaderOptions {
  /** Images a batch (B). */
  readonly batch: number
  readonly augmentation: ImageAugmentation
  readonly seed: number
}

export class ImageLoader {
  /** Training batches under way, by number. */
  readonly #ahead = new Map<number, Promise<MadeBatch>>()

  /** `sets`: training images first, held-out ones second; the maker has both in this order. */
  constructor(
    readonly sets: readonly [train: ImageSet, heldOut: ImageSet],
    readonly preprocessing: ImagePreprocessing,
    readonly options: ImageLoaderOptions,
    private readonly maker: BatchMaker,
  ) {
    const { mix } = options.augmentation
    if (mix && options.batch % 2 !== 0)
      throw new MambakitError(`mixup and cutmix need an even batch, got ${options.batch}`)
  }

  /** Training batch `index`, counted over all epochs; those after it are begun. */
  async batch(index: number): Promise<ImageBatch> {
    // After a jump (a resumed run) nothing that was begun is of use.
    for (const begun of this.#ahead.keys()) if (begun < index) this.#ahead.delete(begun)
    const last = index + this.maker.parallel + 1
    for (let i = index; i <= last; i++) if (!this.#ahead.has(i)) this.#ahead.set(i, this.#begin(i))
    const made = this.#ahead.get(index)!
    this.#ahead.delete(index)
    const { images, mixture } = await made
    const labels = this.#labels(0, this.#items(index))
    return { images, labels, targets: this.#targets(labels, mixture), batch: labels.length }
  }

  #targets(labels: Int32Array, mixture: Mixture | null): Float32Array | null {
    return mixture && mixTargets(labels, this.sets[0].classes.length, mixture)
  }

  #labels(set: 0 | 1, items: Int32Array): Int32Array {
    return items.map((item) => this.sets[set].labels[item])
  }

  #items(index: number): Int32Array {
    const { batch, seed } = this.options
    return Int32Array.from({ length: batch }, (_, row) => shuffledItem(this.sets[0], index * batch + row, seed))
  }

  #begin(index: number): Promise<MadeBatch> {
    const { augmentation, seed, batch } = this.options
    const training = { augmentation, seed, position: index * batch }
    const made = this.maker.make({ set: 0, items: this.#items(index), training })
    // Whoever asks for the batch gets the fault; nobody may.
    made.catch(() => {})
    return made
  }

  /** Every held-out image once and in order, prepared for evaluation; the last batch may be smaller. */
  async *heldOut(limit = Number.POSITIVE_INFINITY): AsyncGenerator<ImageBatch> {
    const { items } = this.sets[1]
    const count = Math.min(items.length, limit)
    const { batch } = this.options
    const rowsOf = (first: number) => items.subarray(first, Math.min(first + batch, count))
    const begun: Promise<MadeBatch>[] = []
    for (let first = 0, next = 0; first < count; first += batch) {
      for (; next < count && begun.length <= this.maker.parallel; next += batch) {
        const made = this.maker.make({ set: 1, items: rowsOf(next) })
        made.catch(() => {})
        begun.push(made)
      }
      const { images } = await begun.shift()!
      const labels = this.#labels(1, rowsOf(first))
      yield { images, labels, targets: null, batch: labels.length }
    }
  }

  close(): Promise<void> {
    return this.maker.close()
  }
}
