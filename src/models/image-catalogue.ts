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

/** A published VMamba: stem and mixer of the first or of the final version. */
const vMamba = (
  version: 'first' | 'final',
  dims: number,
  depths: readonly number[],
  parameters: number,
  gflops: number,
  settings: { drop_path_rate: number; ssm_ratio?: number },
): ImageModelEntry => ({
  build: async (shape, chosen) => {
    const { buildVMamba, vanillaVMambaDefaults, vMambaDefaults } = await import('./vmamba.js')
    const defaults = version === 'first' ? vanillaVMambaDefaults : vMambaDefaults
    return buildVMamba({ ...defaults, dims, depths, ...settings }, shape, chosen)
  },
  shape: { classes: 1000, channels: 3, size: 224 },
  parameters,
  flops: gflops * 1e9,
  note: 'MzeroMiko/VMamba, arXiv 2401.10166',
})

/** A row of Vim, which no paper of the catalogue is but several build on. */
const vim = (
  settings: Partial<typeof import('./vim.js').vimDefaults>,
  shape: ImageModelShape,
  parameters: number,
  gflops: number,
  note = 'hustvl/Vim, arXiv 2401.09417',
): ImageModelEntry => ({
  build: async (given, chosen) => {
    const { buildVim, vimDefaults } = await import('./vim.js')
    return buildVim({ ...vimDefaults, ...settings }, given, chosen)
  },
  shape,
  parameters,
  flops: gflops * 1e9,
  note,
})
const imageNet: ImageModelShape = { classes: 1000, channels: 3, size: 224 }

export const sharedImageModels: Readonly<Record<string, ImageModelEntry>> = {
  'vit-mini': {
    build: async (shape, settings) => (await import('./vit.js')).buildViT({ embed_dim: 128 }, shape, settings),
    shape: { classes: 10, channels: 3, size: 32 },
    parameters: 809_098,
    flops: 54.9e6,
    note: 'ViT with patches of 4, 4 blocks, mean pooling: the baseline of small-scale experiments',
  },
  'vim-ti': vim({}, imageNet, 7_148_008, 1.82),
  'vim-s': vim({ embed_dim: 384, drop_path_rate: 0.05 }, imageNet, 25_796_584, 5.9),
  'vim-b': vim({ embed_dim: 768 }, imageNet, 97_598_440, 20.87),
  'vim-mini': vim(
    { patch_size: 4, stride: 4, depth: 4, d_state: 4, embed_dim: 56 },
    { classes: 10, channels: 3, size: 32 },
    106_746,
    0.0084,
    'Vim with patches of 4 and 4 layers: a baseline of small-scale experiments',
  ),
  'vanilla-vmamba-t': vMamba('first', 96, [2, 2, 9, 2], 22_893_448, 5.6, { drop_path_rate: 0.1 }),
  'vanilla-vmamba-s': vMamba('first', 96, [2, 2, 27, 2], 44_417_416, 11.2, { drop_path_rate: 0.3 }),
  'vanilla-vmamba-b': vMamba('first', 128, [2, 2, 27, 2], 76_254_056, 18.0, { drop_path_rate: 0.6 }),
  'vmamba-t-s2l5': vMamba('final', 96, [2, 2, 5, 2], 30_705_832, 4.9, { drop_path_rate: 0.2 }),
  'vmamba-s-s2l15': vMamba('final', 96, [2, 2, 15, 2], 50_147_752, 8.7, { drop_path_rate: 0.3 }),
  'vmamba-b-s2l15': vMamba('final', 128, [2, 2, 15, 2], 88_557_800, 15.4, { drop_path_rate: 0.6 }),
  'vmamba-t-s1l8': vMamba('final', 96, [2, 2, 8, 2], 30_249_064, 4.9, { drop_path_rate: 0.2, ssm_ratio: 1 }),
  'vmamba-s-s1l20': vMamba('final', 96, [2, 2, 20, 2], 49_012_840, 8.6, { drop_path_rate: 0.3, ssm_ratio: 1 }),
  'vmamba-b-s1l20': vMamba('final', 128, [2, 2, 20, 2], 86_614_504, 15.2, { drop_path_rate: 0.5, ssm_ratio: 1 }),
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
