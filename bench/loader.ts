// `mambakit bench loader`: whether images are there when a training step wants them: the share of a step that is spent
// waiting, and what preparing an image takes, at 32 x 32 from small files and at 224 x 224 from photographs.
import os from 'node:os'
import sharp from 'sharp'
import {
  type ImageAugmentation,
  photoAugmentation,
  smallImageAugmentation,
  strongAugmentation,
} from '../src/data/images/augmentation.js'
import { encodedImages, type ImageSet, imageSet } from '../src/data/images/image-set.js'
import { openImageLoader, usualWorkers } from '../src/data/images/image-workers.node.js'
import { statistics } from '../src/data/images/preprocessing.js'
import { MambakitError } from '../src/errors.js'
import { findImageModel, imageModelNames } from '../src/papers/image-models.js'
import { type ImageBatches, ImageClassification } from '../src/tasks/image-classification.js'
import { Trainer } from '../src/train/trainer.js'
import { Bench } from './devices.js'
import type { BenchReport, Section } from './report.js'

export interface LoaderBenchOptions {
  /** Few and tiny steps, to see that it works. */
  readonly quick: boolean
  readonly model: string
  readonly workers?: number
  readonly onSection?: (title: string) => void
}

interface Work {
  readonly title: string
  readonly size: number
  /** Of the files. */
  readonly width: number
  readonly height: number
  readonly files: number
  readonly batch: number
  readonly augmentation: ImageAugmentation
}

export async function benchLoader({ quick, model, workers, onSection }: LoaderBenchOptions): Promise<BenchReport> {
  const load = os.loadavg()[0]
  const small = { size: 32, width: 32, height: 32, files: quick ? 32 : 4096, batch: quick ? 8 : 64 }
  const photo = { size: quick ? 64 : 224, width: 500, height: 375, files: quick ? 8 : 256, batch: quick ? 2 : 16 }
  const works: readonly Work[] = [
    { title: '32 x 32, crops and flips', ...small, augmentation: smallImageAugmentation },
    { title: '32 x 32, RandAugment, erasing, mixup', ...small, augmentation: strongAugmentation },
    { title: '224 x 224 from 500 x 375, crops and flips', ...photo, augmentation: photoAugmentation },
    { title: '224 x 224 from 500 x 375, RandAugment, erasing, mixup', ...photo, augmentation: strongAugmentation },
  ]
  const bench = new Bench()
  try {
    const sections: Section[] = []
    for (const work of works) {
      onSection?.(work.title)
      sections.push(await benchWork(bench, work, { model, quick, workers: workers ?? usualWorkers() }))
    }
    const cores = os.availableParallelism()
    const machine = { processor: os.cpus()[0]?.model.trim() ?? 'unknown', cores, load, node: process.version }
    return { command: 'bench loader', quick, device: bench.backend.description, machine, sections }
  } finally {
    await bench.close()
  }
}

/** JPEG files with as much detail as photographs have: waves of several lengths and some noise. */
async function photographs({ width, height, files }: Work): Promise<ImageSet> {
  const contents = new Map<string, Uint8Array>()
  const data = new Uint8Array(width * height * 3)
  for (let file = 0; file < files; file++) {
    for (let y = 0, at = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        for (let c = 0; c < 3; c++, at++) {
          const waves = Math.sin(x / (9 + (file % 7)) + c) * 50 + Math.cos(y / (5 + (file % 5)) + x / 40) * 50
          data[at] = 128 + waves + ((Math.imul(at + file, 2654435761) >>> 28) - 8)
        }
    const jpeg = sharp(data, { raw: { width, height, channels: 3 } }).jpeg({ quality: 90 })
    contents.set(`${file}.jpg`, await jpeg.toBuffer())
  }
  const labels = Int32Array.from({ length: files }, (_, i) => i % 10)
  return imageSet(
    'made files',
    Array.from({ length: 10 }, (_, i) => `${i}`),
    encodedImages(contents),
    labels,
  )
}

async function benchWork(
  { backend }: Bench,
  work: Work,
  { model: name, quick, workers }: { model: string; quick: boolean; workers: number },
): Promise<Section> {
  const { title, size, batch, augmentation } = work
  const entry = await findImageModel(name)
  if (!entry)
    throw new MambakitError(`no image model is called '${name}'; choose one of ${imageModelNames().join(', ')}`)
  const set = await photographs(work)
  const preprocessing = { size, channels: 3, cropRatio: 1, interpolation: 'bicubic', ...statistics.imagenet } as const
  const loader = await openImageLoader([set, set], preprocessing, { batch, seed: 1, augmentation, workers })
  const model = (await entry.build({ classes: 10, channels: 3, size })).initialize({ backend })
  const task = new ImageClassification(model, loader, { evaluationImages: 1 })
  const steps = quick ? 3 : size === 32 ? 40 : 8
  try {
    const { step, waited } = await timeSteps(task, steps)
    // The same training on one batch that is there: what preparing others meanwhile costs.
    const ready = await loader.batch(0)
    const still: ImageBatches = {
      batch: async () => ready,
      heldOut: () => loader.heldOut(1),
      options: { batch },
      preprocessing,
    }
    const alone = await timeSteps(new ImageClassification(model, still), steps)
    return {
      title: `${title} (${name}, batch ${batch}, ${workers} workers)`,
      ratios: [
        { name: 'of a step spent waiting for images', value: waited / step, unit: 'percent', goal: 'at most 5 %' },
        { name: 'a step beside one whose batch is made already', value: step / alone.step, unit: 'times' },
      ],
      measurements: [
        { name: 'training step', value: 1000 * step, unit: 'ms' },
        { name: 'waiting in it', value: 1000 * waited, unit: 'ms' },
      ],
      peers: [],
      remarks: [],
    }
  } finally {
    model.dispose()
    await loader.close()
  }
}

/** Seconds a step, and of these waiting for its batch. The first steps start threads and find nothing made; they do not count. */
async function timeSteps(task: ImageClassification, steps: number): Promise<{ step: number; waited: number }> {
  const warm = Math.ceil(steps / 4)
  const trainer = new Trainer(task, { steps: steps + warm, learningRate: 1e-3 })
  const sum = { step: 0, waited: 0 }
  for await (const event of trainer.run()) {
    if (event.type !== 'step' || event.step <= warm) continue
    sum.waited += event.waited / steps
    sum.step += task.unitsPerBatch / event.unitsPerSecond / steps
  }
  trainer.dispose()
  return sum
}
