// An image classifier with its labels and preprocessing: images in, labels with scores out. Also its config.json.
import { decodeImage, readImageFile } from '#images'
import type { Backend } from '../backend/types.js'
import type { Pixels } from '../data/images/pixels.js'
import {
  evaluationCrop,
  type ImagePreprocessing,
  normalizerOf,
  parsePreprocessing,
} from '../data/images/preprocessing.js'
import { MambakitError } from '../errors.js'
import type { CheckpointReader } from '../hub/checkpoint.js'
import { loadModule } from '../hub/module-state.js'
import { renamed } from '../hub/renamed.js'
import type { ImageModelEntry, ImageModelSettings } from '../models/image-catalogue.js'
import type { ImageClassifier } from '../models/image-classifier.js'
import { findImageModel, imageModelNames } from '../papers/image-models.js'
import { classify, probabilities } from '../tasks/image-classification.js'
import { defaultBackend } from '../tensor/index.js'
import type { Json } from './load.js'

/** What config.json says of an image classifier. */
export interface ImageModelConfig {
  /** A name of the catalogue. */
  readonly model: string
  /** In place of the catalogue's, under the names of the official constructor. */
  readonly settings: ImageModelSettings
  readonly labels: readonly string[]
  readonly preprocessing: ImagePreprocessing
}

/** Marks config.json as that of an image classifier. */
export const imageModelType = 'image-classification'

export function toImageConfigJson({
  model,
  settings,
  labels,
  preprocessing,
}: ImageModelConfig): Record<string, unknown> {
  return { model_type: imageModelType, model, settings, labels, preprocessing }
}

/** Reads a config.json that training wrote. Throws MambakitError that names the file and the field. */
export function parseImageConfig(json: Json, file: string): ImageModelConfig {
  const fail = (field: string, expected: string, got: unknown) =>
    new MambakitError(`${file}: ${field}: expected ${expected}, got ${JSON.stringify(got) ?? 'nothing'}`)
  const { model_type, model, settings = {}, labels } = json
  if (model_type !== imageModelType)
    throw fail('model_type', `'${imageModelType}', a model that classifies images`, model_type)
  if (typeof model !== 'string') throw fail('model', 'the name of an image model', model)
  if (settings === null || typeof settings !== 'object' || Array.isArray(settings))
    throw fail('settings', 'an object', settings)
  if (!Array.isArray(labels) || labels.length === 0 || !labels.every((label) => typeof label === 'string'))
    throw fail('labels', 'a list of names', labels)
  return {
    model,
    settings: settings as ImageModelSettings,
    labels,
    preprocessing: parsePreprocessing(file, json.preprocessing),
  }
}

/** The entry of a name. Throws MambakitError that lists the names. */
export async function imageModelEntry(name: string): Promise<ImageModelEntry> {
  const entry = await findImageModel(name)
  if (!entry)
    throw new MambakitError(
      `no image model is called '${name}'; give a config.json, a trained model, or one of ${imageModelNames().join(', ')}`,
    )
  return entry
}

/** Builds the model of a config.json, without values. */
export async function modelOfConfig({
  model,
  settings,
  labels,
  preprocessing,
}: ImageModelConfig): Promise<ImageClassifier> {
  const { channels, size } = preprocessing
  return (await imageModelEntry(model)).build({ classes: labels.length, channels, size }, settings)
}

/** A checkpoint under the names of the model: without the prefix of a wrapped one, and without names that are out of use. */
export const underModelNames = (model: ImageClassifier, reader: CheckpointReader): CheckpointReader =>
  renamed(reader, (stored) => {
    const name = stored.replace(/^(module\.)+/, '')
    return model.checkpointName?.(name) ?? name
  })

export interface LoadImageModelOptions {
  /** Default: the default device. */
  backend?: Backend
  /** Told of tensors that had to be narrowed, and of files that are fetched. */
  announce?: (message: string) => void
}

/** Builds the model that `json` (named `file` in errors) describes and loads its weights strictly. */
export async function buildImageModel(
  json: Json,
  file: string,
  weights: CheckpointReader,
  { backend = defaultBackend(), announce }: LoadImageModelOptions,
): Promise<ImageModel> {
  const config = parseImageConfig(json, file)
  const model = await modelOfConfig(config)
  try {
    await loadModule(model, underModelNames(model, weights), { backend, announce })
  } catch (error) {
    model.dispose()
    throw error
  }
  return new ImageModel(model, config)
}

/** An image: a path (in Node), the bytes of a file, a Blob, or pixels. */
export type ImageInput = string | Uint8Array | Blob | Pixels

export interface LabelScore {
  readonly label: string
  /** Probability. */
  readonly score: number
}

export interface ClassifyOptions {
  /** How many labels, best first. Default 5. */
  topK?: number
  /** Images computed at once. Default 16. */
  batch?: number
}

export class ImageModel {
  readonly labels: readonly string[]
  readonly preprocessing: ImagePreprocessing
  constructor(
    readonly model: ImageClassifier,
    readonly config: ImageModelConfig,
  ) {
    model.eval()
    this.labels = config.labels
    this.preprocessing = config.preprocessing
  }

  /** The best labels of each image, in the order of the images. Throws DataError that names an image that cannot be read. */
  async classify(images: readonly ImageInput[], options: ClassifyOptions = {}): Promise<LabelScore[][]> {
    const { topK = 5, batch = 16 } = options
    if (!(Number.isInteger(topK) && topK >= 1))
      throw new MambakitError(`classify: topK: expected a positive integer, got ${topK}`)
    const results: LabelScore[][] = []
    for (let first = 0; first < images.length; first += batch)
      results.push(...(await this.#classifyBatch(images.slice(first, first + batch), topK)))
    return results
  }

  async #classifyBatch(inputs: readonly ImageInput[], topK: number): Promise<LabelScore[][]> {
    const { size, channels } = this.preprocessing
    const values = size * size * channels
    const images = new Float32Array(inputs.length * values)
    const pixels = await Promise.all(inputs.map(readInput))
    const normalize = normalizerOf(this.preprocessing)
    pixels.forEach((image, row) => {
      const out = images.subarray(row * values, (row + 1) * values)
      normalize(evaluationCrop(image, this.preprocessing), out)
    })
    const logits = await classify(this.model, { images, batch: inputs.length }, this.preprocessing)
    const classes = this.labels.length
    return inputs.map((_, row) => {
      const scores = probabilities(logits.subarray(row * classes, (row + 1) * classes))
      const order = Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a] || a - b)
      return order.slice(0, topK).map((k) => ({ label: this.labels[k], score: scores[k] }))
    })
  }

  dispose(): void {
    this.model.dispose()
  }
}

async function readInput(input: ImageInput, place: number): Promise<Pixels> {
  if (typeof input === 'string') return decodeImage(input, await readImageFile(input))
  const name = `image ${place + 1}`
  if (input instanceof Uint8Array) return decodeImage(name, input)
  if (input instanceof Blob) return decodeImage(name, new Uint8Array(await input.arrayBuffer()))
  return input
}
