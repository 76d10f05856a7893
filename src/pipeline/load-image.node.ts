// Image classifiers from folders, run folders and files. Node only.
import { openCheckpoint } from '../hub/open.node.js'
import { buildImageModel, type ImageModel, type LoadImageModelOptions } from './image-model.js'
import { locateModel, readConfig } from './load.node.js'

/** Loads an image classifier: a folder with config.json and weights, a run folder, or a file of weights. */
export async function loadImageModel(path: string, options: LoadImageModelOptions = {}): Promise<ImageModel> {
  const files = await locateModel(path)
  const json = await readConfig(files.config)
  const reader = await openCheckpoint(files.weights)
  try {
    return await buildImageModel(json, files.config, reader, options)
  } finally {
    await reader.close()
  }
}
