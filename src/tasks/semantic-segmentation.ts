// Semantic segmentation: cross-entropy over the labelled pixels of crops, and the measures of whole images, which are seen
// through overlapping windows. Letters: B batch, H, W sides, K classes.

import { crop, type Pixels } from '../data/images/pixels.js'
import { type ImagePreprocessing, normalizerOf } from '../data/images/preprocessing.js'
import type { LabelledImage, SegmentationBatch, SegmentationCrops } from '../data/images/segmentation-set.js'
import { unlabelled } from '../data/images/segmentation-set.js'
import type { ImageSegmenter } from '../models/segmentation.js'
import { crossEntropy, noGrad, scope, type Tensor, tensor } from '../tensor/index.js'
import type { TrainingTask } from '../train/trainer.js'
import { type Confusion, confusionOf, meanIou, pixelAccuracy } from './confusion.js'

/** Windows over an image, at least `stride` apart from one another; pixels that several see get their mean logits. */
export interface SlidingWindows {
  readonly size: number
  readonly stride: number
}

export interface SegmentationMeasuring extends SlidingWindows {
  readonly statistics: Pick<ImagePreprocessing, 'mean' | 'std'>
}

export class SemanticSegmentation implements TrainingTask<SegmentationBatch> {
  readonly unit = 'images'
  readonly unitsPerBatch: number
  /** `heldOut`: decoded images to measure on. */
  constructor(
    readonly model: ImageSegmenter,
    private readonly crops: SegmentationCrops,
    private readonly heldOut: readonly LabelledImage[],
    private readonly windows: SlidingWindows,
  ) {
    this.unitsPerBatch = crops.options.batch
  }

  async batch(index: number): Promise<SegmentationBatch> {
    return this.crops.batch(index)
  }

  /** Mean cross-entropy of the labelled pixels of a batch, shape (). */
  loss(batch: SegmentationBatch): Tensor {
    return pixelLoss(this.model.forward(this.#images(batch)), this.#labels(batch))
  }

  /** 1 - mIoU (which decides what is best), mIoU and the share of labelled pixels told right. */
  async evaluate(): Promise<Record<string, number>> {
    const { statistics } = this.crops
    const counts = await measureSegmenter(this.model, this.heldOut, { ...this.windows, statistics })
    const iou = meanIou(counts)
    return { missed: 1 - iou, mIoU: iou, 'pixel accuracy': pixelAccuracy(counts) }
  }

  observe(batch: SegmentationBatch, visit: (layer: string, output: Tensor) => void): void {
    const images = this.#images(batch)
    visit('images', images)
    this.model.forward(images, { observe: visit })
  }

  #images({ images, batch }: SegmentationBatch): Tensor {
    const { size } = this.crops.options
    return tensor(images, { shape: [batch, size, size, 3], backend: backendOf(this.model) })
  }
  #labels({ labels, batch }: SegmentationBatch): Tensor {
    const { size } = this.crops.options
    return tensor(labels, { shape: [batch, size, size], backend: backendOf(this.model) })
  }
}

const backendOf = (model: ImageSegmenter) => model.parameters()[0].value.backend

/** Mean cross-entropy of logits (B, H, W, K) over the pixels whose label (B, H, W) is a class. */
export function pixelLoss(logits: Tensor, labels: Tensor): Tensor {
  return crossEntropy(logits, labels, { ignoreIndex: unlabelled })
}

/** Where windows begin along an extent: a grid, the last one moved back inside. mirrors: slide_inference of mmsegmentation */
export function windowStarts(extent: number, { size, stride }: SlidingWindows): number[] {
  const count = Math.max(Math.ceil((extent - size) / stride), 0) + 1
  return Array.from({ length: count }, (_, i) => Math.max(0, Math.min(i * stride, extent - size)))
}

/** Windows that a model sees at once. */
const windowsAtOnce = 4

/**
 * Logits (H, W, K) of an image of any size, in eval mode; an image smaller than a window is one smaller window. The mode is
 * left as it was.
 */
export async function slidingLogits(
  model: ImageSegmenter,
  image: Pixels,
  { statistics, ...windows }: SegmentationMeasuring,
): Promise<Float32Array> {
  const { width, height, channels } = image
  const [rows, columns] = [Math.min(windows.size, height), Math.min(windows.size, width)]
  const normalize = normalizerOf({ ...statistics, channels })
  const places = windowStarts(height, windows).flatMap((top) =>
    windowStarts(width, windows).map((left) => ({ top, left })),
  )
  const classes = model.numClasses
  const sums = new Float32Array(height * width * classes)
  const seen = new Uint16Array(height * width)
  const { training } = model
  if (training) model.eval()
  for (let first = 0; first < places.length; first += windowsAtOnce) {
    const chosen = places.slice(first, first + windowsAtOnce)
    const values = new Float32Array(chosen.length * rows * columns * channels)
    const each = rows * columns * channels
    chosen.forEach(({ top, left }, i) => {
      normalize(crop(image, left, top, columns, rows), values.subarray(i * each, (i + 1) * each))
    })
    const shape = [chosen.length, rows, columns, channels]
    const logits = noGrad(() => scope(() => model.forward(tensor(values, { shape, backend: backendOf(model) }))))
    const told = (await logits.data()) as Float32Array
    logits.dispose()
    chosen.forEach(({ top, left }, i) => {
      for (let y = 0; y < rows; y++) {
        const from = (i * rows + y) * columns * classes
        const pixel = (top + y) * width + left
        for (let k = 0; k < columns * classes; k++) sums[pixel * classes + k] += told[from + k]
        for (let x = 0; x < columns; x++) seen[pixel + x]++
      }
    })
  }
  if (training) model.train()
  for (let pixel = 0; pixel < seen.length; pixel++)
    for (let k = 0; k < classes; k++) sums[pixel * classes + k] /= seen[pixel]
  return sums
}

/** The class of the largest of each pixel's K logits, the first of equals. */
export function classesOf(logits: Float32Array, classes: number): Uint8Array {
  const told = new Uint8Array(logits.length / classes)
  for (let i = 0; i < told.length; i++)
    for (let k = 1; k < classes; k++) if (logits[i * classes + k] > logits[i * classes + told[i]]) told[i] = k
  return told
}

/** The confusion counts of each image. `onImage` is told how many are done. */
export async function measureSegmenter(
  model: ImageSegmenter,
  images: readonly LabelledImage[],
  measuring: SegmentationMeasuring,
  onImage?: (done: number) => void,
): Promise<Confusion[]> {
  const counts: Confusion[] = []
  for (const { image, labels } of images) {
    const told = classesOf(await slidingLogits(model, image, measuring), model.numClasses)
    counts.push(confusionOf(told, labels.data, model.numClasses))
    onImage?.(counts.length)
  }
  return counts
}
