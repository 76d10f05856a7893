// What the experiments of image backbones share on dense prediction: small backbones under a small head, trained on crops of
// aerial images by one recipe, and measured on whole images of a tile that nothing was trained or tuned on.

import { statistics } from '../data/images/preprocessing.js'
import { openSegmentationSet, segmentationDataSets } from '../data/images/registered-segmentation.js'
import {
  type LabelledImage,
  resizeLabelled,
  SegmentationCrops,
  type SegmentationSet,
} from '../data/images/segmentation-set.js'
import type { ImageClassifier } from '../models/image-classifier.js'
import { JoinedMapsHead, Segmenter, SummedMapsHead } from '../models/segmentation.js'
import { addConfusions, classIous, meanIou, pixelAccuracy } from '../tasks/confusion.js'
import { measureSegmenter, SemanticSegmentation } from '../tasks/semantic-segmentation.js'
import type { Tensor } from '../tensor/index.js'
import type { Measured, Part, PlotSpec, UnitContext } from './experiment.js'
import { costOf, trainingRecipe } from './image-recipe.js'

const { classes } = segmentationDataSets['aerial-dubai']

/** Of backbones with several strides. `reduction`: what sides of images are divided by. */
const wholeSizes = { steps: 600, batch: 4, crop: 256, stride: 128, reduction: 1, images: 36, testImages: 9 }
/** Of backbones that keep one resolution. */
const halfSizes = { ...wholeSizes, batch: 8, crop: 128, stride: 64, reduction: 2 }
const quickSizes = { ...wholeSizes, steps: 8, batch: 2, crop: 128, images: 2, testImages: 1 }

const common = {
  title: 'Segmentation of aerial images',
  only: ['quick', 'full'],
  seeds: 2,
  data: ['aerial-dubai'],
} as const satisfies Partial<Part>

const plot: PlotSpec = {
  name: 'miou',
  title: 'mIoU on the validation tile during training',
  series: 'mIoU',
  x: { label: 'step' },
  y: { label: 'mIoU' },
}

/** What parts that train a pyramid by this recipe have in common. */
export const pyramidSegmentation = {
  ...common,
  name: 'segmentation',
  sizes: { quick: quickSizes, default: wholeSizes, full: wholeSizes },
  plots: [plot],
} satisfies Partial<Part>

/** The same for backbones of one resolution. */
export const plainSegmentation = {
  ...pyramidSegmentation,
  sizes: { quick: { ...quickSizes, crop: 64, stride: 64, reduction: 2 }, default: halfSizes, full: halfSizes },
} satisfies Partial<Part>

/** A criterion on the mIoU of the test tile, whose counts add up over images, in points. */
export const miouPoints = {
  metric: 'confusion',
  statistic: 'mIoU',
  better: 'higher',
  factor: 100,
  unit: 'points',
  digits: 1,
} as const

/** For an experiment's notes. */
export const segmentationNote =
  'Segmentation (`--full`): 36 aerial images of Dubai to train on, 9 of one other tile to test on; from scratch, 600 steps by AdamW at 0.001 for every method (not swept), weight decay 0.05, 10 % warm-up. mIoU adds counts up over the images before it divides; its interval resamples the 9 images, which lie side by side in one tile, so it is wide and yet knows nothing of other towns.'

const width = 48

/** A pyramid under the head that sums its stages, of `channels` each. */
export const pyramidSegmenter = (backbone: ImageClassifier, channels: readonly number[]) =>
  new Segmenter(backbone, new SummedMapsHead(channels, width, classes.length))

/** A backbone of one resolution under the head that joins layers, of `channels` each. */
export const plainSegmenter = (
  backbone: ImageClassifier,
  channels: readonly number[],
  { maps, norms }: { maps?: (images: Tensor) => readonly Tensor[]; norms?: boolean },
) => new Segmenter(backbone, new JoinedMapsHead(channels, classes.length, { norms }), maps)

/** Decoded, at the size that the part works on. */
const readImages = (set: SegmentationSet, most: number, reduction: number): Promise<LabelledImage[]> =>
  Promise.all(
    set.files.slice(0, most).map(async (file) => {
      const whole = await file.read()
      const reduced = (extent: number) => Math.round(extent / reduction)
      return reduction === 1 ? whole : resizeLabelled(whole, reduced(whole.image.width), reduced(whole.image.height))
    }),
  )

/**
 * Trains the model of a unit's method by the recipe of image networks: random crops and flips both ways,
 * the same batches for every method of a seed. `confusion` are the counts of each test image, seen through
 * overlapping windows.
 */
export const trainSegmenter =
  (models: Readonly<Record<string, (crop: number) => Segmenter>>) =>
  async ({ backend, method, sizes, settings, seed, data, train, progress }: UnitContext): Promise<Measured> => {
    // The data.
    const { steps, batch, crop, stride, reduction, images, testImages } = sizes
    const split = await openSegmentationSet('aerial-dubai', await data('aerial-dubai'))
    const crops = new SegmentationCrops(await readImages(split.train, images, reduction), statistics.imagenet, {
      ...{ size: crop, flip: 0.5, verticalFlip: 0.5, batch, seed },
    })
    const validation = await readImages(split.validation, testImages, reduction)
    const windows = { size: crop, stride }

    // The training.
    const model = models[method](crop)
    const { megaflops } = costOf(model, crop)
    model.initialize({ seed, backend })
    const curve = await train(new SemanticSegmentation(model, crops, validation, windows), {
      ...trainingRecipe(steps, settings, seed),
      evaluateEvery: Math.ceil(steps / 3),
    })

    // The measurements.
    const test = await readImages(split.test, testImages, reduction)
    const measuring = { ...windows, statistics: statistics.imagenet }
    const confusion = await measureSegmenter(model, test, measuring, (done) =>
      progress(`testing, image ${done} of ${test.length}`, 0.95 + (0.05 * done) / test.length),
    )
    const ious = classIous(addConfusions(confusion)).flatMap((iou, k) =>
      Number.isNaN(iou) ? [] : [[`IoU of ${classes[k]}`, iou] as const],
    )
    const measured = {
      numbers: {
        parameters: model.trainedCount(),
        megaflops,
        mIoU: meanIou(confusion),
        'pixel accuracy': pixelAccuracy(confusion),
        ...Object.fromEntries(ious),
      },
      items: {},
      counts: { confusion },
      series: {
        mIoU: curve.evaluations.map(({ step, measurements }) => [step, measurements.mIoU] as const),
        loss: curve.losses,
      },
    }
    model.dispose()
    return measured
  }
