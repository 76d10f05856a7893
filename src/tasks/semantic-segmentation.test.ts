// Segmentation: the loss of labelled pixels, windows that are put together, and counts by hand.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { openNative } from '../backend/native/index.js'
import type { Pixels } from '../data/images/pixels.js'
import { SegmentationCrops, unlabelled } from '../data/images/segmentation-set.js'
import { GatedCnnMini } from '../models/gated-cnn.js'
import type { ImageSegmenter } from '../models/segmentation.js'
import { JoinedMapsHead, Segmenter, SummedMapsHead } from '../models/segmentation.js'
import { Conv2d, Module } from '../nn/index.js'
import {
  add,
  backward,
  mean,
  normal,
  RandomStream,
  scope,
  setDefaultBackend,
  sub,
  type Tensor,
  tensor,
} from '../tensor/index.js'
import { Trainer } from '../train/trainer.js'
import { addConfusions, classIous, confusionOf, meanIou, pixelAccuracy } from './confusion.js'
import {
  classesOf,
  measureSegmenter,
  pixelLoss,
  SemanticSegmentation,
  slidingLogits,
  windowStarts,
} from './semantic-segmentation.js'

const backend = openNative({ threads: 2 })
setDefaultBackend(backend)
after(() => backend.close())

const statistics = { mean: [0, 0, 0], std: [1, 1, 1] }
const pixels = (width: number, height: number): Pixels => ({
  width,
  height,
  channels: 3,
  data: Uint8Array.from({ length: 3 * width * height }, (_, i) => (37 * i + (i >> 4)) % 256),
})
const asTensor = ({ width, height, data }: Pixels) =>
  tensor(
    Float32Array.from(data, (value) => Math.fround(value / 255)),
    { shape: [1, height, width, 3] },
  )

/** One convolution. */
class Single extends Module implements ImageSegmenter {
  readonly numClasses = 4
  readonly conv: Conv2d
  constructor(kernel: number) {
    super()
    this.conv = this.child('conv', new Conv2d(3, 4, kernel, { padding: kernel >> 1 }))
  }
  forward(images: Tensor): Tensor {
    return this.conv.forward(images)
  }
}

test('windows cover an extent, the last one moved back inside', () => {
  assert.deepEqual(windowStarts(9, { size: 4, stride: 2 }), [0, 2, 4, 5])
  assert.deepEqual(windowStarts(8, { size: 4, stride: 4 }), [0, 4])
  assert.deepEqual(windowStarts(4, { size: 4, stride: 2 }), [0])
  assert.deepEqual(windowStarts(3, { size: 4, stride: 2 }), [0])
})

test('an image that is one window gives the logits of a plain forward, also where it is smaller', async () => {
  const model = new Single(3).initialize({ seed: 1 }).eval()
  for (const image of [pixels(8, 8), pixels(7, 5)]) {
    const whole = (await model.forward(asTensor(image)).data()) as Float32Array
    assert.deepEqual(await slidingLogits(model, image, { size: 8, stride: 4, statistics }), whole)
  }
  assert.equal(model.training, false)
})

test('where every pixel stands for itself, any windows give the logits of a plain forward', async () => {
  const model = new Single(1).initialize({ seed: 2 })
  const image = pixels(23, 14)
  const whole = (await model.forward(asTensor(image)).data()) as Float32Array
  const stitched = await slidingLogits(model, image, { size: 6, stride: 4, statistics })
  stitched.forEach((value, i) => {
    assert.ok(Math.abs(value - whole[i]) < 1e-5)
  })
  assert.equal(model.training, true)
})

test('pixels that several windows see get the mean of their logits', async () => {
  /** Everywhere the mean of the window. */
  class WindowMean extends Single {
    override forward(images: Tensor): Tensor {
      const own = this.conv.forward(images)
      return add(sub(own, own), mean(own, { axis: [1, 2], keepDims: true }))
    }
  }
  const model = new WindowMean(1).initialize({ seed: 3 })
  const image = pixels(6, 4)
  const stitched = await slidingLogits(model, image, { size: 4, stride: 2, statistics })
  const at = (x: number) => [...stitched.subarray(4 * x, 4 * x + 4)]
  const [left, middle, right] = [at(0), at(2), at(5)]
  assert.notDeepEqual(left, right)
  assert.deepEqual(at(1), left)
  assert.deepEqual(at(3), middle)
  assert.deepEqual(at(4), right)
  middle.forEach((value, k) => {
    assert.ok(Math.abs(value - (left[k] + right[k]) / 2) < 1e-6)
  })
})

test('unlabelled pixels count for nothing, in the loss and in its gradient', async () => {
  const logits = normal([1, 2, 3, 4], 0, 1, { stream: new RandomStream(5) })
  logits.requiresGrad = true
  const labels = Int32Array.of(0, unlabelled, 2, 3, unlabelled, 1)
  const loss = scope(() => {
    const value = pixelLoss(logits, tensor(labels, { shape: [1, 2, 3] }))
    backward(value)
    return value
  })
  const values = (await logits.data()) as Float32Array
  const nats = [...labels].flatMap((label, p) => {
    if (label === unlabelled) return []
    const row = values.subarray(4 * p, 4 * p + 4)
    return [Math.log(row.reduce((sum, value) => sum + Math.exp(value), 0)) - row[label]]
  })
  assert.ok(Math.abs((await loss.item()) - nats.reduce((a, b) => a + b) / 4) < 1e-6)
  const gradient = (await logits.grad!.data()) as Float32Array
  for (const p of [1, 4]) assert.deepEqual([...gradient.subarray(4 * p, 4 * p + 4)], [0, 0, 0, 0])
  assert.ok(gradient.subarray(0, 4).every((value) => value !== 0))
})

test('IoU divides what all images count; classes that do not occur are left out', () => {
  const labels = [0, 0, 1, 1, unlabelled, 0]
  const told = [0, 1, 1, 0, 2, 0]
  const one = confusionOf(told, labels, 3)
  assert.deepEqual(one, [2, 1, 0, 1, 1, 0, 0, 0, 0])
  // Of class 0: 2 right, 3 told, 3 labelled; of class 1: 1 of 2 and 2; class 2 was told for an unlabelled pixel only.
  assert.deepEqual(classIous(one), [2 / 4, 1 / 3, Number.NaN])
  assert.equal(meanIou([one]), (1 / 2 + 1 / 3) / 2)
  assert.equal(pixelAccuracy([one]), 3 / 5)
  const other = confusionOf([1, 1, 1, 2], [1, 1, 1, 1], 3)
  assert.deepEqual(addConfusions([one, other]), [2, 1, 0, 1, 4, 1, 0, 0, 0])
  // Not the mean of the images' own: class 2 was told now, and class 1 has 4 right of 5 told and 6 labelled.
  const together = (2 / 4 + 4 / 7 + 0) / 3
  assert.ok(Math.abs(meanIou([one, other]) - together) < 1e-15)
  assert.notEqual(together, (meanIou([one]) + meanIou([other])) / 2)
  assert.equal(meanIou([confusionOf([1, 0], [1, 0], 2)]), 1)
})

test('the largest logit names the class, the first of equals', () => {
  assert.deepEqual([...classesOf(Float32Array.of(1, 2, 0, 3, 3, 1, -1, -2, -1), 3)], [1, 0, 0])
})

test('heads bring maps of all strides to the finest grid, and a segmenter its logits to the image', () => {
  const widths = [8, 12, 16]
  const images = normal([2, 32, 48, 3])
  const summed = new Segmenter(new GatedCnnMini(widths), new SummedMapsHead(widths, 6, 5)).initialize()
  assert.deepEqual(summed.forward(images).shape, [2, 32, 48, 5])
  assert.deepEqual(summed.head.forward(summed.backbone.features(images)).shape, [2, 16, 24, 5])
  assert.equal(summed.parameterCount() - summed.trainedCount(), 16 * 10 + 10)
  const joined = new Segmenter(new GatedCnnMini(widths), new JoinedMapsHead(widths, 5)).initialize()
  assert.deepEqual(joined.forward(images).shape, [2, 32, 48, 5])
  const shown: string[] = []
  summed.forward(images, { observe: (layer) => shown.push(layer) })
  assert.deepEqual(shown, ['backbone, map 0', 'backbone, map 1', 'backbone, map 2', 'decode_head'])
})

test('a small segmenter learns which half of an image is bright', async () => {
  const image: Pixels = { width: 24, height: 24, channels: 3, data: new Uint8Array(3 * 576) }
  const labels = { width: 24, height: 24, channels: 1 as const, data: new Uint8Array(576) }
  for (let p = 0; p < 576; p++) {
    const bright = p % 24 < 12
    image.data.fill(bright ? 200 : 40, 3 * p, 3 * p + 3)
    labels.data[p] = p < 24 ? unlabelled : bright ? 1 : 0
  }
  const scene = { name: 'scene', image, labels }
  const shown = { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] }
  const crops = new SegmentationCrops([scene], shown, { size: 16, flip: 0.5, verticalFlip: 0.5, batch: 2, seed: 4 })
  const widths = [8, 8, 8]
  const model = new Segmenter(new GatedCnnMini(widths), new SummedMapsHead(widths, 8, 2)).initialize({ seed: 4 })
  const task = new SemanticSegmentation(model, crops, [scene], { size: 16, stride: 8 })
  const trainer = new Trainer(task, { steps: 60, learningRate: 5e-3, seed: 4 })
  for await (const _ of trainer.run());
  const { mIoU, missed, 'pixel accuracy': accuracy } = await task.evaluate()
  assert.ok(mIoU > 0.8, `${mIoU}`)
  assert.equal(missed, 1 - mIoU)
  assert.ok(accuracy > 0.9)
  const counts = await measureSegmenter(model, [scene, scene], { size: 16, stride: 8, statistics: shown })
  assert.equal(counts.length, 2)
  assert.equal(
    counts[0].reduce((a, b) => a + b),
    576 - 24,
  )
  trainer.dispose()
})
