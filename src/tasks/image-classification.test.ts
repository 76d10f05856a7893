// The losses and measures of image classification against closed forms, and a small model that learns real digits.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openNative } from '../backend/native/index.js'
import { smallImageAugmentation } from '../data/images/augmentation.js'
import { openImages } from '../data/images/image-files.node.js'
import type { ImageBatch } from '../data/images/image-loader.js'
import { openImageLoader } from '../data/images/image-workers.node.js'
import { statistics } from '../data/images/preprocessing.js'
import type { ImageClassifier } from '../models/image-classifier.js'
import { ViT } from '../models/vit.js'
import { Linear, Module } from '../nn/index.js'
import { reshape, setDefaultBackend, type Tensor, tensor } from '../tensor/index.js'
import { Trainer } from '../train/trainer.js'
import {
  distillationLoss,
  type ImageBatches,
  ImageClassification,
  measureClassifier,
  targetLoss,
} from './image-classification.js'

const backend = openNative({ threads: 2 })
setDefaultBackend(backend)
after(() => backend.close())

const close = (actual: number, expected: number, tolerance = 1e-5) =>
  assert.ok(Math.abs(actual - expected) < tolerance, `${actual} for ${expected}`)
const softmax = (row: readonly number[]) => {
  const scaled = row.map(Math.exp)
  const total = scaled.reduce((a, b) => a + b, 0)
  return scaled.map((value) => value / total)
}

const rows = [
  [1, -2, 0.5],
  [0, 3, -1],
]
const logits = () => tensor(rows)

test('mixed targets weigh the losses of their classes, smoothing mixes in all of them', async () => {
  const p = rows.map(softmax)
  const targets = [
    [0.7, 0.3, 0],
    [0, 0.2, 0.8],
  ]
  const loss = (of: readonly (readonly number[])[]) =>
    -of.reduce((sum, row, i) => sum + row.reduce((part, t, k) => part + t * Math.log(p[i][k]), 0), 0) / 2
  close(await targetLoss(logits(), tensor(targets)).item(), loss(targets))
  const smoothed = targets.map((row) => row.map((t) => 0.9 * t + 0.1 / 3))
  close(await targetLoss(logits(), tensor(targets), 0.1).item(), loss(smoothed))
  // Labels are targets of one class.
  const labels = tensor(Int32Array.of(2, 1))
  const same = tensor([
    [0, 0, 1],
    [0, 1, 0],
  ])
  close(await targetLoss(logits(), labels, 0.1).item(), await targetLoss(logits(), same, 0.1).item())
})

test('hard distillation learns the best class of the teacher, soft its distribution', async () => {
  const teacher = [
    [0, 2, 1],
    [5, 0, 0],
  ]
  const p = rows.map(softmax)
  const hard = distillationLoss(logits(), tensor(teacher), { kind: 'hard', temperature: 1 })
  close(await hard.item(), -(Math.log(p[0][1]) + Math.log(p[1][0])) / 2)
  const [t, s] = [teacher, rows].map((all) => all.map((row) => softmax(row.map((x) => x / 2))))
  const divergence = t
    .flatMap((row, i) => row.map((q, k) => q * (Math.log(q) - Math.log(s[i][k]))))
    .reduce((a, b) => a + b, 0)
  const soft = distillationLoss(logits(), tensor(teacher), { kind: 'soft', temperature: 2 })
  close(await soft.item(), (4 * divergence) / 6)
  close(await distillationLoss(logits(), logits(), { kind: 'soft', temperature: 2 }).item(), 0)
})

/** Reads the logits from the image itself: a row of K values. */
class Mirror extends Module implements ImageClassifier {
  readonly inChannels = 1
  readonly heads = ['head']
  recompute = false
  readonly head = this.child('head', new Linear(1, 1))
  constructor(readonly numClasses: number) {
    super()
  }
  forward(images: Tensor): Tensor {
    return reshape(images, [images.shape[0], this.numClasses])
  }
  features(images: Tensor): Tensor[] {
    return [images]
  }
}

async function* batchesOf(values: readonly (readonly number[])[], labels: readonly number[], size: number) {
  for (let first = 0; first < values.length; first += size) {
    const some = values.slice(first, first + size)
    const own = Int32Array.from(labels.slice(first, first + size))
    yield { images: Float32Array.from(some.flat()), labels: own, targets: null, batch: some.length } as ImageBatch
  }
}

test('measures count what was told, per class and among the first five', async () => {
  // Nine classes as images of 3 x 3; the label of image i is labels[i].
  const values = [
    [9, 8, 7, 6, 5, 4, 3, 2, 1],
    [9, 8, 7, 6, 5, 4, 3, 2, 1],
    [1, 2, 3, 4, 5, 6, 7, 8, 9],
    [5, 5, 5, 5, 5, 5, 5, 5, 5],
    [Number.NaN, 0, 0, 0, 0, 0, 0, 0, 1],
  ]
  const labels = [0, 5, 4, 4, 8]
  const model = new Mirror(9).initialize()
  for (const size of [5, 2]) {
    const report = await measureClassifier(model, batchesOf(values, labels, size), { size: 3, channels: 1 })
    // Equal logits are told as the first class, and stand in order.
    assert.deepEqual(report.correct, [1, 0, 0, 0, 1])
    assert.deepEqual([report.images, report.top1, report.top5], [5, 2 / 5, 4 / 5])
    assert.deepEqual(report.confusion[4], [1, 0, 0, 0, 0, 0, 0, 0, 1])
    assert.deepEqual(report.perClass[0], { images: 1, top1: 1 })
    assert.ok(Number.isNaN(report.perClass[7].top1))
  }
  const finite = await measureClassifier(model, batchesOf(values.slice(0, 1), [0], 1), { size: 3, channels: 1 })
  close(finite.loss, -Math.log(softmax(values[0])[0]))
  await assert.rejects(
    measureClassifier(model, batchesOf([], [], 1), { size: 3, channels: 1 }),
    /expected images to measure on/,
  )
})

const digits = {
  img_size: 28,
  patch_size: 7,
  in_chans: 1,
  num_classes: 10,
  embed_dim: 64,
  depth: 2,
  num_heads: 4,
  mlp_ratio: 4,
  drop_path_rate: 0,
}

/** A ViT with a second head. */
class TwoHeads extends ViT {
  readonly second = this.child('second', new Linear(10, 10))
  bothLogits(images: Tensor): [Tensor, Tensor] {
    const first = this.forward(images)
    return [first, this.second.forward(first)]
  }
}

const one: ImageBatches = {
  batch: async () => ({
    images: new Float32Array(2 * 784).map((_, i) => Math.sin(i)),
    labels: Int32Array.of(3, 4),
    targets: null,
    batch: 2,
  }),
  async *heldOut() {},
  options: { batch: 2 },
  preprocessing: { size: 28, channels: 1 },
}

test('a second head learns from the teacher, the first from the labels, by the weight asked for', async () => {
  const model = new TwoHeads(digits).initialize({ seed: 1 })
  const teacher = new ViT(digits).initialize({ seed: 2 }).eval()
  const batch = await one.batch(0)
  const lossOf = (options: ConstructorParameters<typeof ImageClassification>[2]) =>
    new ImageClassification(model, one, options).loss(batch).item()
  const images = tensor(batch.images, { shape: [2, 28, 28, 1] })
  const [first, second] = model.bothLogits(images)
  const labels = tensor(batch.labels)
  const own = await targetLoss(first, labels, 0.1).item()
  const distillation = { teacher, kind: 'hard', alpha: 0.3, temperature: 1 } as const
  const taught = await distillationLoss(second, teacher.forward(images), distillation).item()
  close(await lossOf({ labelSmoothing: 0.1, distillation }), 0.7 * own + 0.3 * taught)
  // Without a teacher both learn the labels.
  close(await lossOf({ labelSmoothing: 0.1 }), 0.5 * (own + (await targetLoss(second, labels, 0.1).item())))
  const wrong = new ViT({ ...digits, num_classes: 4 }).initialize()
  assert.throws(
    () => new ImageClassification(model, one, { distillation: { ...distillation, teacher: wrong } }),
    /expected a teacher of 10 classes, got one of 4/,
  )
})

const mnist = fileURLToPath(new URL('../../../../shared/data/mnist', import.meta.url))
test('a small ViT learns digits, with mixed targets too', {
  skip: existsSync(mnist) ? false : '../shared/data/mnist is absent',
}, async () => {
  const { train, heldOut } = await openImages('mnist')
  const preprocessing = { size: 28, channels: 1, cropRatio: 1, interpolation: 'bicubic', ...statistics.mnist } as const
  const plain = { ...smallImageAugmentation, crop: { kind: 'center' }, flip: 0 } as const
  const accuracy = async (mix: { mixup: number; cutmix: number; probability: number } | null, steps: number) => {
    const loader = await openImageLoader([train, heldOut], preprocessing, {
      batch: 64,
      seed: 1,
      augmentation: { ...plain, mix },
      workers: 1,
    })
    const model = new ViT(digits).initialize({ seed: 1 })
    const task = new ImageClassification(model, loader, { evaluationImages: 1000 })
    const trainer = new Trainer(task, {
      steps,
      learningRate: 0.003,
      warmup: 15,
      averageDecay: mix ? undefined : 0.9,
      seed: 1,
    })
    let measured: Record<string, number> = {}
    for await (const event of trainer.run()) if (event.type === 'evaluation') measured = event.measurements
    trainer.dispose()
    model.dispose()
    await loader.close()
    return measured
  }
  const measured = await accuracy(null, 150)
  assert.ok(measured['top-1'] > 0.5, `${measured['top-1']}`)
  assert.ok(measured['top-5'] > 0.9 && Math.abs(measured.missed + measured['top-1'] - 1) < 1e-12)
  assert.ok((await accuracy({ mixup: 0.8, cutmix: 0, probability: 0.5 }, 60))['top-1'] > 0.2)
})
