// What training, measuring, predicting and experiments ask of an image classifier, whatever its layers are.
import { ShapeError } from '../errors.js'
import { type Module, runBlock } from '../nn/index.js'
import { scope, type Tensor } from '../tensor/index.js'

export interface ImageForwardOptions {
  /** Is shown each layer's output, in the order in which they are computed. */
  readonly observe?: (layer: string, output: Tensor) => void
}

export interface ImageClassifier extends Module {
  readonly numClasses: number
  /** C of the images: 3, or 1 for grey ones. */
  readonly inChannels: number
  /** Names of the modules that map features to classes ('head'): fine-tuning with other classes gives them new values. */
  readonly heads: readonly string[]
  /** Whether the backward computes each block again instead of keeping what is inside (see `throughBlocks`). */
  recompute: boolean
  /** images (B, H, W, C) float32 -> logits (B, K). Throws ShapeError for sizes that the model does not take. */
  forward(images: Tensor, options?: ImageForwardOptions): Tensor
  /** The maps (B, h, w, C) of the stages, finest first. */
  features(images: Tensor): Tensor[]
  /** The present name of a tensor of an official checkpoint, for models whose names have changed. */
  checkpointName?(stored: string): string
  /** For models with a second head for distillation: the logits of both, each (B, K); `forward` gives their mean. */
  bothLogits?(images: Tensor): readonly [logits: Tensor, distilled: Tensor]
}

/** Throws ShapeError unless images are (B, H, W, channels) with sides that `multiple` divides. */
export function checkImages(name: string, images: Tensor, channels: number, multiple = 1): void {
  const [, height, width, found] = images.shape
  if (images.rank !== 4 || found !== channels)
    throw new ShapeError(name, [images.shape], `expected images (B, H, W, ${channels})`)
  if (height % multiple || width % multiple || height === 0 || width === 0)
    throw new ShapeError(name, [images.shape], `expected a height and a width that ${multiple} divides`)
}

/**
 * What comes out of blocks that run one after another; `observe` is shown each as '<name>.<i>'. Beside what gradients
 * need only the last output is kept.
 */
export function throughBlocks(
  name: string,
  blocks: readonly (Module & { forward(input: Tensor): Tensor })[],
  input: Tensor,
  recompute: boolean,
  observe?: ImageForwardOptions['observe'],
): Tensor {
  return blocks.reduce((before, block, i) => {
    const after = scope(() => runBlock(block, before, recompute))
    if (i > 0) before.dispose()
    observe?.(`${name}.${i}`, after)
    return after
  }, input)
}
