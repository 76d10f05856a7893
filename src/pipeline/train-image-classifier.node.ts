// Training an image classifier on the user's images, from nothing or from a checkpoint. Node only.
import { existsSync } from 'node:fs'
import type { Backend } from '../backend/types.js'
import { DataError } from '../data/bytes.js'
import {
  type ImageAugmentation,
  photoAugmentation,
  smallImageAugmentation,
  strongAugmentation,
} from '../data/images/augmentation.js'
import { openImages } from '../data/images/image-files.node.js'
import type { ImageBatch } from '../data/images/image-loader.js'
import { type ImageSet, type ImageSplit, underClasses } from '../data/images/image-set.js'
import { openImageLoader } from '../data/images/image-workers.node.js'
import { type ImagePreprocessing, statistics } from '../data/images/preprocessing.js'
import { type ImageDataSet, imageDataSets, isImageDataSet } from '../data/images/registered.js'
import type { Interpolation } from '../data/images/resize.js'
import { MambakitError } from '../errors.js'
import type { CheckpointReader } from '../hub/checkpoint.js'
import { loadModule } from '../hub/module-state.js'
import { openCheckpoint } from '../hub/open.node.js'
import type { ImageModelSettings } from '../models/image-catalogue.js'
import type { ImageClassifier } from '../models/image-classifier.js'
import { type Distillation, ImageClassification } from '../tasks/image-classification.js'
import { sameShape } from '../tensor/shape.js'
import {
  type ImageModel,
  imageModelEntry,
  imageModelType,
  parseImageConfig,
  toImageConfigJson,
  underModelNames,
} from './image-model.js'
import { locateConfig, locateModel, readConfig } from './load.node.js'
import { loadImageModel } from './load-image.node.js'
import type { CommonTraining, TrainingSetup } from './training-run.node.js'

export const augmentationNames = ['none', 'small', 'photo', 'strong'] as const
export type AugmentationName = (typeof augmentationNames)[number]

export interface ImageClassifierTraining extends CommonTraining {
  /** A folder, a zip archive or a CSV list of images, or the name of a registered data set: see `openImages`. */
  data: string
  /** Images to measure on, in the same forms. Default: the part that the data has for it, else a tenth of the images. */
  heldOut?: string
  /** Where registered data sets are. */
  dataRoot?: string
  /** A name of the catalogue, or a config.json with `model` and `settings`. Default: that of `from`, else 'vit-mini'. */
  model?: string
  /** Settings of the model in place of the catalogue's, under the names of its official constructor. */
  settings?: ImageModelSettings
  /** A trained model, or a file of weights, to start from. Other classes get a head of their own. */
  from?: string
  /** Images a batch. Default 64. */
  batch?: number
  /** Height and width of what the model sees. Default: that of `from`, of small images, or the model's usual one. */
  size?: number
  /** 1 for grey. Default: that of `from` or of the data. */
  channels?: 1 | 3
  /** Default 0.875 above 64 pixels, else 1. */
  cropRatio?: number
  /** Default 'bicubic'. */
  interpolation?: Interpolation
  /** By name or in full. Default 'photo' above 64 pixels, else 'small'. */
  augmentation?: AugmentationName | ImageAugmentation
  /** Probability of a horizontal flip, in place of that of a named augmentation. */
  flip?: number
  /** Default 0.1. */
  labelSmoothing?: number
  /** A trained model of the same labels and preprocessing whose answers are learned too. */
  teacher?: string
  /** Default 'hard'. */
  distillation?: Distillation['kind']
  /** Weight of the teacher's answers. Default 0.5. */
  alpha?: number
  /** Of soft distillation. Default 3. */
  temperature?: number
  /** Compute blocks again in the backward instead of keeping what is inside: less memory, a third more time. Default false. */
  recompute?: boolean
  /** Threads that prepare images; the batches are the same for any number. Default: one core in four. */
  workers?: number
  /** Held-out images to measure on at most. Default: all. */
  evaluationImages?: number
}

/** What a run starts from. */
interface Start {
  readonly model: string
  readonly settings: ImageModelSettings
  readonly labels: readonly string[] | null
  readonly preprocessing: ImagePreprocessing | null
}

export async function setUpImageClassifier(
  options: ImageClassifierTraining,
  backend: Backend,
): Promise<TrainingSetup<ImageBatch>> {
  const { batch = 64, seed = 0, labelSmoothing = 0.1, recompute = false, evaluationImages, workers } = options
  const start = await startOf(options)
  const split = await openSplit(options)
  const labels = split.train.classes
  const entry = await imageModelEntry(start.model)
  const preprocessing = preprocessingOf(options, split, start.preprocessing, entry.shape.size)
  const augmentation = augmentationOf(options, preprocessing)
  const { size, channels } = preprocessing
  const model = await entry.build({ classes: labels.length, channels, size }, start.settings)
  model.recompute = recompute
  const loader = await openImageLoader([split.train, split.heldOut], preprocessing, {
    batch,
    seed,
    augmentation,
    workers,
  })
  const teacher = options.teacher === undefined ? null : await loadImageModel(options.teacher, { backend })
  const { distillation: kind = 'hard', alpha = 0.5, temperature = 3 } = options
  if (teacher) checkTeacher(options.teacher!, teacher, labels, preprocessing)
  const distillation = teacher ? { teacher: teacher.model, kind, alpha, temperature } : undefined
  return {
    model,
    config: toImageConfigJson({ model: start.model, settings: start.settings, labels, preprocessing }),
    settings: {
      model: start.model,
      modelSettings: start.settings,
      labels,
      preprocessing,
      augmentation,
      batch,
      labelSmoothing,
      trainingImages: split.train.items.length,
      ...(teacher && { teacher: options.teacher, distillation: kind, alpha, temperature }),
    },
    defaults: { learningRate: 0.001, betas: [0.9, 0.999], weightDecay: 0.05, clipNorm: 5, finalRate: 0.01 },
    training: split.train.items.length,
    heldOut: Math.min(split.heldOut.items.length, evaluationImages ?? Number.POSITIVE_INFINITY),
    load: options.from === undefined ? undefined : () => loadStart(model, options.from!, labels, start.labels, backend),
    begin: async () => new ImageClassification(model, loader, { labelSmoothing, distillation, evaluationImages }),
    async close() {
      teacher?.dispose()
      await loader.close()
    },
  }
}

/** The model that --model and --from name. */
async function startOf({ model, from, settings = {} }: ImageClassifierTraining): Promise<Start> {
  const named = model === undefined ? null : await modelNamed(model)
  const beside = from === undefined ? null : (await locateModel(from)).config
  if (beside === null || !existsSync(beside)) {
    if (beside !== null && !named)
      throw new MambakitError(`${from}: has no config.json beside it; say by the model's name what it is (--model)`)
    const chosen = named ?? { model: 'vit-mini', settings: {} }
    return { ...chosen, settings: { ...chosen.settings, ...settings }, labels: null, preprocessing: null }
  }
  const before = parseImageConfig(await readConfig(beside), beside)
  if (named && named.model !== before.model)
    throw new MambakitError(`${from}: is a ${before.model}; expected a checkpoint of ${named.model}, or no --model`)
  return { ...before, settings: { ...before.settings, ...named?.settings, ...settings } }
}

/**
 * A name of the catalogue, or a config.json that says `model` and `settings`; one that training wrote says labels and
 * preprocessing too.
 */
export async function modelNamed(name: string): Promise<Start> {
  if (!/[/.]/.test(name) && !existsSync(name)) return { model: name, settings: {}, labels: null, preprocessing: null }
  const file = await locateConfig(name)
  const json = await readConfig(file)
  if (json.model_type === imageModelType) return parseImageConfig(json, file)
  const { model, settings = {} } = json
  if (typeof model !== 'string') throw new MambakitError(`${file}: model: expected the name of an image model`)
  if (settings === null || typeof settings !== 'object' || Array.isArray(settings))
    throw new MambakitError(`${file}: settings: expected an object`)
  return { model, settings: settings as ImageModelSettings, labels: null, preprocessing: null }
}

async function openSplit({ data, heldOut, dataRoot }: ImageClassifierTraining): Promise<ImageSplit> {
  const split = await openImages(data, { dataRoot, heldOutFraction: heldOut === undefined ? undefined : 0 })
  const { train } = split
  if (train.classes.length < 2) throw new DataError(data, `expected at least 2 classes, got only '${train.classes[0]}'`)
  const measured: ImageSet =
    heldOut === undefined ? split.heldOut : (await openImages(heldOut, { dataRoot, heldOutFraction: 0 })).train
  if (measured.items.length === 0)
    throw new DataError(data, 'holds too few images to keep some for measuring; give those by --held-out')
  return { train, heldOut: underClasses(measured, train.classes) }
}

/** The registered set that `data` names; null where it is a file or folder. */
function registeredSet(data: string): ImageDataSet | null {
  return isImageDataSet(data) && !existsSync(data) ? imageDataSets[data] : null
}

function preprocessingOf(
  options: ImageClassifierTraining,
  { train: { images } }: ImageSplit,
  before: ImagePreprocessing | null,
  usualSize: number,
): ImagePreprocessing {
  const known = registeredSet(options.data)
  const own =
    images.kind === 'pixels' ? { size: Math.max(images.width, images.height), channels: images.channels } : null
  const size = options.size ?? before?.size ?? known?.size ?? own?.size ?? usualSize
  const channels = options.channels ?? before?.channels ?? known?.channels ?? own?.channels ?? 3
  const fallback = channels === 3 ? statistics.imagenet : statistics.grey
  const { mean, std } =
    before?.channels === channels ? before : known?.channels === channels ? known.statistics : fallback
  return {
    size,
    channels,
    mean,
    std,
    cropRatio: options.cropRatio ?? before?.cropRatio ?? (size > 64 ? 0.875 : 1),
    interpolation: options.interpolation ?? before?.interpolation ?? 'bicubic',
  }
}

function augmentationOf(options: ImageClassifierTraining, { size }: ImagePreprocessing): ImageAugmentation {
  const { augmentation = size > 64 ? 'photo' : 'small', flip, data } = options
  if (typeof augmentation !== 'string') return augmentation
  const named: Readonly<Record<AugmentationName, ImageAugmentation>> = {
    none: { ...smallImageAugmentation, crop: { kind: 'center' }, flip: 0 },
    small: { ...smallImageAugmentation, crop: { kind: 'padded', padding: Math.round(size / 8) } },
    photo: photoAugmentation,
    strong: strongAugmentation,
  }
  if (!Object.hasOwn(named, augmentation))
    throw new MambakitError(`augmentation: expected one of ${augmentationNames.join(', ')}, got '${augmentation}'`)
  const chosen = named[augmentation]
  const flips = registeredSet(data)?.flips ?? true
  return { ...chosen, flip: flip ?? (flips ? chosen.flip : 0) }
}

function checkTeacher(
  path: string,
  { labels: its, preprocessing: seen }: ImageModel,
  labels: readonly string[],
  preprocessing: ImagePreprocessing,
): void {
  if (JSON.stringify(its) !== JSON.stringify(labels))
    throw new MambakitError(`${path}: expected a teacher of the labels of the data (${labels.length}), in their order`)
  for (const field of ['size', 'channels', 'mean', 'std'] as const)
    if (JSON.stringify(seen[field]) !== JSON.stringify(preprocessing[field]))
      throw new MambakitError(
        `${path}: expected a teacher of images with ${field} ${JSON.stringify(preprocessing[field])}, got ${JSON.stringify(seen[field])}`,
      )
}

/** Loads what the run starts from, but for heads of other classes; yields what became of them. */
async function* loadStart(
  model: ImageClassifier,
  from: string,
  labels: readonly string[],
  before: readonly string[] | null,
  backend: Backend,
): AsyncGenerator<string> {
  const files = await locateModel(from)
  const reader = underModelNames(model, await openCheckpoint(files.weights))
  try {
    const kept = headsFit(model, reader) && (before === null || JSON.stringify(before) === JSON.stringify(labels))
    await loadModule(model, reader, { backend, keep: kept ? [] : model.heads })
    yield kept
      ? `started from ${files.weights}, head included`
      : `started from ${files.weights}; ${model.heads.join(' and ')} made anew for ${labels.length} classes${before ? ` (it had ${before.length})` : ''}`
  } finally {
    await reader.close()
  }
}

function headsFit(model: ImageClassifier, reader: CheckpointReader): boolean {
  return [...model.namedParameters()]
    .filter(([name]) => model.heads.some((head) => name.startsWith(`${head}.`)))
    .every(([name, { shape }]) => {
      const stored = reader.tensors.get(name)
      return stored !== undefined && sameShape(stored.shape, shape)
    })
}
