// What the experiments of image backbones share: small models trained on CIFAR-10 by one recipe, scored image by image, and
// timed side by side.
import { smallImageAugmentation } from '../data/images/augmentation.js'
import { ImageLoader, makeHere } from '../data/images/image-loader.js'
import {
  firstOfEachClass,
  type ImageSplit,
  type StoredImages,
  splitByHash,
  storedCount,
} from '../data/images/image-set.js'
import { PixelCache, pixelCacheMemory } from '../data/images/pixel-cache.js'
import { imageDataSets, openImageDataSet } from '../data/images/registered.js'
import { countCost } from '../models/cost.js'
import type { ImageClassifier } from '../models/image-classifier.js'
import type { Segmenter } from '../models/segmentation.js'
import { type Distillation, ImageClassification, measureClassifier, targetLoss } from '../tasks/image-classification.js'
import { backward, empty, noGrad, normal, RandomStream, randomIntegers, scope, withBackend } from '../tensor/index.js'
import type { Measured, Part, PlotSpec, Settings, UnitContext } from './experiment.js'

/** Of a part that trains by this recipe. At sweep scale a tenth of the training images is what settings are chosen by. */
export const imageSizes = {
  quick: { steps: 12, batch: 16, trainPerClass: 30, testPerClass: 5, tuning: 0 },
  default: { steps: 1500, batch: 64, trainPerClass: 1000, testPerClass: 200, tuning: 0 },
  full: { steps: 1500, batch: 64, trainPerClass: 1000, testPerClass: 200, tuning: 0 },
  sweep: { steps: 500, batch: 64, trainPerClass: 1000, testPerClass: 200, tuning: 1 },
} as const satisfies Record<string, Settings>

/** What every method tries. */
export const imageGrid: readonly Settings[] = [{ learningRate: 1e-3 }, { learningRate: 2e-3 }, { learningRate: 4e-3 }]

export const imageShape = { classes: 10, channels: 3, size: imageDataSets.cifar10.size } as const

/** Chooses settings by images that no criterion uses. */
export const imageTuneBy = { number: 'tuning accuracy', better: 'higher' } as const

/** A criterion on test images told right, in points of accuracy. */
export const accuracyPoints = { metric: 'correct', better: 'higher', factor: 100, unit: 'points', digits: 1 } as const

/** A criterion on the times of two methods, round by round. */
export const timesFaster = { better: 'higher', statistic: 'median', unit: 'times', digits: 2 } as const

export const accuracyPlot: PlotSpec = {
  name: 'accuracy',
  title: 'Test accuracy during training',
  series: 'accuracy',
  x: { label: 'step' },
  y: { label: 'top-1 accuracy' },
  marks: [{ y: 0.1, label: 'chance' }],
}

/** What parts that time training steps side by side have in common. */
export const trainingSpeed = {
  name: 'speed',
  title: 'Time of a training step',
  version: 1,
  timed: true,
  seeds: 1,
  sizes: {
    quick: { batch: 8, rounds: 3 },
    default: { batch: 64, rounds: 30 },
    full: { batch: 64, rounds: 30 },
  },
  plots: [],
} as const satisfies Partial<Part>

/** Images of every method and seed: the first of each class by name. */
async function openCifar({ data, sizes }: UnitContext): Promise<ImageSplit> {
  const { train, heldOut } = await openImageDataSet('cifar10', await data('cifar10'))
  const used = firstOfEachClass(train, sizes.trainPerClass)
  return sizes.tuning ? splitByHash(used, 0.1) : { train: used, heldOut: firstOfEachClass(heldOut, sizes.testPerClass) }
}

/**
 * Reading one image of `side` x `side`: operations in millions, as the papers count them, and most memory held at once in MB.
 * The model must get new values afterwards.
 */
export function costOf(model: ImageClassifier | Segmenter, side: number): { megaflops: number; megabytes: number } {
  const { publishedFlops, peakBytes } = countCost((backend) => {
    model.initialize({ backend }).eval()
    const image = () => empty(backend, [1, side, side, imageShape.channels])
    withBackend(backend, () => noGrad(() => scope(() => void model.forward(image()))))
  })
  model.train()
  return { megaflops: publishedFlops / 1e6, megabytes: peakBytes / 1e6 }
}

/** How every network of images trains: AdamW, weight decay 0.05, 10 % warm-up, cosine to 0, clipped at 5. */
export const trainingRecipe = (steps: number, { learningRate }: Settings, seed: number) =>
  ({
    steps,
    schedule: 'cosine',
    learningRate,
    warmup: Math.floor(steps / 10),
    weightDecay: 0.05,
    clipNorm: 5,
    seed,
  }) as const

/** Room for the pixels of every image, so that each is decoded once. */
function cacheFor(images: StoredImages): PixelCache {
  const { size, channels } = imageShape
  return new PixelCache(pixelCacheMemory(new Array(storedCount(images)).fill(size * size), channels))
}

/**
 * Trains a classifier on CIFAR-10 by the recipe: labels smoothed by 0.1, padded crops
 * and flips, the same batches for every method of a seed. `correct` says of each test image whether it was told right.
 */
export async function trainOnCifar(
  context: UnitContext,
  model: ImageClassifier,
  options: {
    /** Default: the part's. */
    readonly steps?: number
    readonly distillation?: Distillation
    /** Where the unit trains another model too. */
    readonly name?: string
  } = {},
): Promise<Measured> {
  const { backend, sizes, settings, seed, train, progress } = context
  const { steps = sizes.steps, distillation, name: place } = options

  // The data.
  const split = await openCifar(context)
  const preprocessing = {
    size: imageShape.size,
    channels: imageShape.channels,
    cropRatio: 1,
    interpolation: 'bilinear',
    ...imageDataSets.cifar10.statistics,
  } as const
  const sets = [split.train, split.heldOut] as const
  const loader = new ImageLoader(
    sets,
    preprocessing,
    { batch: sizes.batch, augmentation: smallImageAugmentation, seed },
    makeHere({ sets: sets.map(({ images }) => ({ images, cache: cacheFor(images) })), preprocessing }),
  )

  // The training.
  const { megaflops } = costOf(model, imageShape.size)
  model.initialize({ seed, backend })
  const curve = await train(new ImageClassification(model, loader, { labelSmoothing: 0.1, distillation }), {
    ...trainingRecipe(steps, settings, seed),
    name: place,
    evaluateEvery: Math.ceil(steps / 5),
  })

  // The measurements.
  progress('testing', 0.96)
  const { top1, correct } = await measureClassifier(model, loader.heldOut(), preprocessing)
  const name = sizes.tuning ? 'tuning accuracy' : 'accuracy'
  return {
    numbers: {
      parameters: model.parameterCount(),
      megaflops,
      'largest gradient': Math.max(...curve.gradientNorms.slice(Math.floor(steps / 3))),
      [name]: top1,
    },
    items: { correct },
    series: {
      accuracy: curve.evaluations.map(({ step, measurements }) => [step, measurements['top-1']] as const),
      loss: curve.losses,
    },
  }
}

/** Seconds of a forward and a backward pass of `batch` random images, by model and round. The models take turns, so that what else the machine does falls on all alike. */
export async function timeTraining(
  { backend, seed, progress }: UnitContext,
  models: Readonly<Record<string, ImageClassifier>>,
  { batch, rounds }: { readonly batch: number; readonly rounds: number },
): Promise<Readonly<Record<string, readonly number[]>>> {
  const { size, channels, classes } = imageShape
  const images = normal([batch, size, size, channels], 0, 1, { backend, stream: new RandomStream(seed) })
  const labels = randomIntegers([batch], 0, classes, { backend, stream: new RandomStream(seed) })
  const seconds = Object.fromEntries(Object.keys(models).map((name) => [name, [] as number[]]))
  for (const model of Object.values(models)) model.initialize({ seed, backend }).train()
  // The first round warms up.
  for (let round = -1; round < rounds; round++) {
    progress(`round ${round + 1} of ${rounds}`, (round + 1) / (rounds + 1))
    for (const [name, model] of Object.entries(models)) {
      const started = performance.now()
      const loss = scope(() => {
        const value = targetLoss(model.forward(images), labels)
        backward(value)
        return value
      })
      await loss.data()
      if (round >= 0) seconds[name].push((performance.now() - started) / 1000)
      loss.dispose()
      model.clearGradients()
    }
  }
  for (const model of Object.values(models)) model.dispose()
  images.dispose()
  labels.dispose()
  return seconds
}

/** Item i is a's time over b's in round i. */
export const timeRatios = (a: readonly number[], b: readonly number[]): number[] => a.map((value, i) => value / b[i])

/** Seconds of a forward pass without gradients, by name and round; the models take turns. */
export async function timeForward(
  { backend, seed, progress }: UnitContext,
  runs: Readonly<Record<string, { readonly model: ImageClassifier; readonly size: number }>>,
  rounds: number,
): Promise<Readonly<Record<string, readonly number[]>>> {
  const seconds = Object.fromEntries(Object.keys(runs).map((name) => [name, [] as number[]]))
  const images = Object.fromEntries(
    Object.entries(runs).map(([name, { size }]) => [
      name,
      normal([1, size, size, imageShape.channels], 0, 1, { backend, stream: new RandomStream(seed) }),
    ]),
  )
  for (const { model } of Object.values(runs)) model.initialize({ seed, backend }).eval()
  // The first round warms up.
  for (let round = -1; round < rounds; round++) {
    progress(`round ${round + 1} of ${rounds}`, (round + 1) / (rounds + 1))
    for (const [name, { model }] of Object.entries(runs)) {
      const started = performance.now()
      const logits = noGrad(() => scope(() => model.forward(images[name])))
      await logits.data()
      if (round >= 0) seconds[name].push((performance.now() - started) / 1000)
      logits.dispose()
    }
  }
  for (const { model } of Object.values(runs)) model.dispose()
  for (const image of Object.values(images)) image.dispose()
  return seconds
}

/** Trains the model of a unit's method by the recipe. */
export const trainMethod =
  (models: Readonly<Record<string, () => ImageClassifier>>) =>
  async (context: UnitContext): Promise<Measured> => {
    const model = models[context.method]()
    const measured = await trainOnCifar(context, model)
    model.dispose()
    return measured
  }
