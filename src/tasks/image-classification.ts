// Image classification: cross-entropy against labels or mixed targets, distillation from a teacher, and the measures of
// held-out images. Letters: B batch, K classes.
import type { Backend } from '../backend/types.js'
import type { ImageBatch } from '../data/images/image-loader.js'
import { MambakitError } from '../errors.js'
import type { ImageClassifier } from '../models/image-classifier.js'
import {
  add,
  affine,
  argmax,
  crossEntropy,
  exp,
  logSoftmax,
  mean,
  mul,
  neg,
  noGrad,
  scope,
  sub,
  sum,
  type Tensor,
  tensor,
} from '../tensor/index.js'
import type { TrainingTask } from '../train/trainer.js'

/** Learning from another model's answers beside the labels. */
export interface Distillation {
  /** In eval mode; it sees the very images that the student sees. */
  readonly teacher: ImageClassifier
  /** 'hard': the teacher's best class is a second label. 'soft': its distribution is the target. */
  readonly kind: 'hard' | 'soft'
  /** Weight of what the teacher says; the labels have the rest. Usual: 0.5. */
  readonly alpha: number
  /** Of the soft kind: what logits are divided by. Usual: 3. */
  readonly temperature: number
}

export interface ImageClassificationOptions {
  /** Default 0. */
  labelSmoothing?: number
  distillation?: Distillation
  /** Held-out images to measure on at most. Default: all. */
  evaluationImages?: number
}

/** Where batches come from; `ImageLoader` is one. */
export interface ImageBatches {
  /** Training batch `index`, counted over all epochs; the same number gives the same batch. */
  batch(index: number): Promise<ImageBatch>
  /** Every held-out image once, in order; about `limit` at most. */
  heldOut(limit?: number): AsyncIterable<ImageBatch>
  /** Images a training batch. */
  readonly options: { readonly batch: number }
  /** Height and width of the images. */
  readonly preprocessing: { readonly size: number; readonly channels: number }
}

export class ImageClassification implements TrainingTask<ImageBatch> {
  readonly unit = 'images'
  readonly unitsPerBatch: number
  constructor(
    readonly model: ImageClassifier,
    private readonly batches: ImageBatches,
    private readonly options: ImageClassificationOptions = {},
  ) {
    this.unitsPerBatch = batches.options.batch
    const { distillation } = options
    if (distillation && distillation.teacher.numClasses !== model.numClasses)
      throw new MambakitError(
        `distillation: expected a teacher of ${model.numClasses} classes, got one of ${distillation.teacher.numClasses}`,
      )
  }

  batch(index: number): Promise<ImageBatch> {
    return this.batches.batch(index)
  }

  /** Mean loss of a batch, shape (). A model of two heads learns the teacher's answers by the second. */
  loss(batch: ImageBatch): Tensor {
    const { images, targets } = this.#tensors(batch)
    const { labelSmoothing = 0, distillation } = this.options
    // Without a second head the teacher's answers are for the one there is; without a teacher both learn the labels.
    const [logits, second] = this.model.bothLogits?.(images) ?? [this.model.forward(images), null]
    const own = targetLoss(logits, targets, labelSmoothing)
    if (!distillation) return second ? mul(add(own, targetLoss(second, targets, labelSmoothing)), 0.5) : own
    const { teacher, alpha } = distillation
    const said = noGrad(() => scope(() => teacher.forward(images)))
    return add(mul(own, 1 - alpha), mul(distillationLoss(second ?? logits, said, distillation), alpha))
  }

  /** Share of held-out images missed (which decides what is best), top-1 and top-5 accuracy, mean loss. */
  async evaluate(): Promise<Record<string, number>> {
    const { top1, top5, loss } = await measureClassifier(
      this.model,
      this.batches.heldOut(this.options.evaluationImages),
      this.batches.preprocessing,
    )
    return { missed: 1 - top1, 'top-1': top1, 'top-5': top5, loss }
  }

  observe(batch: ImageBatch, visit: (layer: string, output: Tensor) => void): void {
    const { images } = this.#tensors(batch)
    visit('images', images)
    this.model.forward(images, { observe: visit })
  }

  #tensors(batch: ImageBatch): { images: Tensor; targets: Tensor } {
    const backend = backendOf(this.model)
    const targets = batch.targets
      ? tensor(batch.targets, { shape: [batch.batch, this.model.numClasses], backend })
      : tensor(batch.labels, { backend })
    return { images: imagesTensor(batch, this.batches.preprocessing, backend), targets }
  }
}

const backendOf = (model: ImageClassifier): Backend => model.parameters()[0].value.backend

/** (B, size, size, C) on a device. */
function imagesTensor(
  { images, batch }: Pick<ImageBatch, 'images' | 'batch'>,
  { size, channels }: ImageBatches['preprocessing'],
  backend: Backend,
): Tensor {
  return tensor(images, { shape: [batch, size, size, channels], backend })
}

/**
 * Mean cross-entropy of logits (B, K) against labels (B) int32, or against distributions (B, K), whose smoothing mixes them
 * with the uniform one. mirrors: torch.nn.CrossEntropyLoss(label_smoothing)
 */
export function targetLoss(logits: Tensor, targets: Tensor, labelSmoothing = 0): Tensor {
  if (targets.dtype === 'int32') return crossEntropy(logits, targets, { labelSmoothing })
  const smoothed = labelSmoothing > 0 ? affine(targets, 1 - labelSmoothing, labelSmoothing / logits.shape[1]) : targets
  return neg(mean(sum(mul(logSoftmax(logits), smoothed), { axis: -1 })))
}

/** What the student's logits (B, K) lack of the teacher's. mirrors: DistillationLoss of DeiT */
export function distillationLoss(
  logits: Tensor,
  teacher: Tensor,
  { kind, temperature }: Pick<Distillation, 'kind' | 'temperature'>,
): Tensor {
  if (kind === 'hard') return crossEntropy(logits, argmax(teacher))
  const wanted = noGrad(() => scope(() => logSoftmax(affine(teacher, 1 / temperature))))
  const had = logSoftmax(affine(logits, 1 / temperature))
  // KL(teacher || student), over the number of elements.
  return mul(sum(mul(exp(wanted), sub(wanted, had))), temperature ** 2 / logits.size)
}

/** What a classifier did on some images. */
export interface ClassificationReport {
  readonly images: number
  /** Shares of images whose class was the first, or among the first five. */
  readonly top1: number
  readonly top5: number
  /** Mean cross-entropy, nats. */
  readonly loss: number
  /** For each class: how many images it has, and the share of them that was told right. NaN where it has none. */
  readonly perClass: readonly { readonly images: number; readonly top1: number }[]
  /** confusion[label][told]: images. */
  readonly confusion: readonly (readonly number[])[]
  /** 1 for each image that was told right, else 0, in order: what a paired comparison of models takes as its items. */
  readonly correct: readonly number[]
}

/** Logits of a batch, in eval mode, as host values (B, K). The mode is left as it was. */
export async function classify(
  model: ImageClassifier,
  batch: Pick<ImageBatch, 'images' | 'batch'>,
  preprocessing: ImageBatches['preprocessing'],
): Promise<Float32Array> {
  const { training } = model
  if (training) model.eval()
  const logits = noGrad(() => scope(() => model.forward(imagesTensor(batch, preprocessing, backendOf(model)))))
  if (training) model.train()
  const values = (await logits.data()) as Float32Array
  logits.dispose()
  return values
}

/** Measures a model on labelled batches. Throws MambakitError where there are none. */
export async function measureClassifier(
  model: ImageClassifier,
  batches: AsyncIterable<ImageBatch>,
  preprocessing: ImageBatches['preprocessing'],
): Promise<ClassificationReport> {
  const classes = model.numClasses
  const confusion = Array.from({ length: classes }, () => new Array<number>(classes).fill(0))
  const correct: number[] = []
  let amongFive = 0
  let nats = 0
  for await (const batch of batches) {
    const logits = await classify(model, batch, preprocessing)
    for (let row = 0; row < batch.batch; row++) {
      const values = logits.subarray(row * classes, (row + 1) * classes)
      const label = batch.labels[row]
      const { told, rank } = standing(values, label)
      confusion[label][told]++
      correct.push(told === label ? 1 : 0)
      if (rank < 5) amongFive++
      nats -= logProbability(values, label)
    }
  }
  const images = correct.length
  if (images === 0) throw new MambakitError('expected images to measure on, got none')
  const perClass = confusion.map((told, label) => {
    const count = told.reduce((a, b) => a + b, 0)
    return { images: count, top1: count === 0 ? Number.NaN : told[label] / count }
  })
  const right = correct.reduce((a, b) => a + b, 0)
  return { images, top1: right / images, top5: amongFive / images, loss: nats / images, perClass, confusion, correct }
}

/** The class with the largest logit (the first of equals), and how many stand before the label. NaN counts as smallest. */
function standing(logits: Float32Array, label: number): { told: number; rank: number } {
  const value = (k: number) => (Number.isNaN(logits[k]) ? Number.NEGATIVE_INFINITY : logits[k])
  let told = 0
  let rank = 0
  for (let k = 0; k < logits.length; k++) {
    if (value(k) > value(told)) told = k
    if (k !== label && (value(k) > value(label) || (value(k) === value(label) && k < label))) rank++
  }
  return { told, rank }
}

function logProbability(logits: Float32Array, label: number): number {
  const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
  let total = 0
  for (const logit of logits) total += Math.exp(logit - largest)
  return logits[label] - largest - Math.log(total)
}

/** Probabilities (K) of logits (K). */
export function probabilities(logits: Float32Array): Float64Array {
  const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
  const scaled = Float64Array.from(logits, (logit) => Math.exp(logit - largest))
  const total = scaled.reduce((a, b) => a + b, 0)
  return scaled.map((value) => value / total)
}
