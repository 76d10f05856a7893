// Image classifiers from the address of a folder: for pages.
import { buildImageModel, type ImageModel, type LoadImageModelOptions } from './image-model.js'
import { openModelFolder } from './load.web.js'

/** Loads an image classifier from the address of a folder that holds config.json and the weights. */
export async function loadImageModel(address: string, options: LoadImageModelOptions = {}): Promise<ImageModel> {
  const { json, configName, open } = await openModelFolder(address)
  const weights = await open()
  try {
    return await buildImageModel(json, configName, weights, options)
  } finally {
    await weights.close()
  }
}
