// Measures an image classifier on the user's images. Node only.
import { photoAugmentation } from '../data/images/augmentation.js'
import { openImages } from '../data/images/image-files.node.js'
import { underClasses } from '../data/images/image-set.js'
import { openImageLoader } from '../data/images/image-workers.node.js'
import { MambakitError } from '../errors.js'
import { type ClassificationReport, measureClassifier } from '../tasks/image-classification.js'
import type { ImageModel } from './image-model.js'

export interface EvaluateImagesOptions {
  /** Where registered data sets are. */
  readonly dataRoot?: string
  /** Images computed at once. Default 64. */
  readonly batch?: number
  /** Threads that prepare images. Default: one core in four. */
  readonly workers?: number
}

/**
 * Measures on the held-out part of the data where it has one of its own (val/, test/, t10k), else on all of it; its classes
 * must be among the model's labels.
 */
export async function evaluateImages(
  { model, labels, preprocessing }: ImageModel,
  data: readonly string[],
  { dataRoot, batch = 64, workers }: EvaluateImagesOptions = {},
): Promise<ClassificationReport> {
  if (data.length !== 1)
    throw new MambakitError(`--data: expected one folder, archive, list or set of images, got ${data.length}`)
  const { train, heldOut } = await openImages(data[0], { dataRoot, heldOutFraction: 0 })
  const set = underClasses(heldOut.items.length > 0 ? heldOut : train, labels)
  const options = { batch, workers, seed: 0, augmentation: { ...photoAugmentation, mix: null } }
  const loader = await openImageLoader([set, set], preprocessing, options)
  try {
    return await measureClassifier(model, loader.heldOut(), preprocessing)
  } finally {
    await loader.close()
  }
}
