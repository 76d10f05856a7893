// Image models by name. A row builds the model of a published size for the classes, channels and input size at hand.
//
// How a paper adds its sizes: its index.ts exports `imageModels`, a table of this form, and its line in
// src/papers/index.ts names the rows (`imageModels: ['plainmamba-l1', ...]`). src/papers/image-models.ts finds all by
// name. Here are those that belong to no paper of the catalogue.
import { MambakitError } from '../errors.js'
import type { ImageClassifier } from './image-classifier.js'

/** What a model is built for. */
export interface ImageModelShape {
  readonly classes: number
  /** 3, or 1 for grey images. */
  readonly channels: number
  /** Height and width of the images that it is trained on. */
  readonly size: number
}

/** Settings under the names of the official constructor, in place of the row's. */
export type ImageModelSettings = Readonly<Record<string, unknown>>

export interface ImageModelEntry {
  /** Imports the model and builds it, without values. Throws MambakitError for settings that it does not have. */
  readonly build: (shape: ImageModelShape, settings?: ImageModelSettings) => Promise<ImageClassifier>
  /** What the published model was built for, or what this one is meant for. */
  readonly shape: ImageModelShape
  /** Trainable values at `shape`, shared ones once; a test builds every row and counts. */
  readonly parameters: number
  /** Of one image of `shape`, as `Cost.publishedFlops` counts; the paper's own figure, or its specification's. A test compares. */
  readonly flops: number
  /** Where the numbers come from, or what the model is for. */
  readonly note: string
}

export const sharedImageModels: Readonly<Record<string, ImageModelEntry>> = {
  'vit-mini': {
    build: async (shape, settings) => (await import('./vit.js')).buildViT({ embed_dim: 128 }, shape, settings),
    shape: { classes: 10, channels: 3, size: 32 },
    parameters: 809_098,
    flops: 54.9e6,
    note: 'ViT with patches of 4, 4 blocks, mean pooling: the baseline of small-scale experiments',
  },
}

/**
 * A row's settings with those that the user gives instead. Throws MambakitError for a name that `known` lacks or a value
 * of another type.
 */
export function withSettings<T extends object>(model: string, known: T, settings: ImageModelSettings = {}): T {
  const names = Object.keys(known)
  for (const [name, value] of Object.entries(settings)) {
    if (!names.includes(name))
      throw new MambakitError(`${model}: has no setting '${name}'; expected one of ${names.join(', ')}`)
    const expected = known[name as keyof T]
    const sameKind = typeof value === typeof expected && Array.isArray(value) === Array.isArray(expected)
    if (!sameKind || (typeof value === 'number' && !Number.isFinite(value)))
      throw new MambakitError(
        `${model}: ${name}: expected a value like ${JSON.stringify(expected)}, got ${JSON.stringify(value)}`,
      )
  }
  return { ...known, ...settings }
}
