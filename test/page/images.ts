// What the browser test of images runs inside a page: decoding by the platform, batches for training, and a classifier
// from an address.
import { decodeImage } from '#images'
import { strongAugmentation } from '../../src/data/images/augmentation.js'
import { ImageLoader, makeHere } from '../../src/data/images/image-loader.js'
import { encodedImages, imageSet } from '../../src/data/images/image-set.js'
import type { ImagePreprocessing } from '../../src/data/images/preprocessing.js'
import { pipeline, useDevice } from '../../src/index.js'

export interface DecodedInPage {
  readonly name: string
  /** Or why it was refused. */
  readonly fault?: string
  readonly width?: number
  readonly height?: number
  readonly data?: readonly number[]
}

const bytesOf = async (name: string) => new Uint8Array(await (await fetch(`images/${name}`)).arrayBuffer())

async function decodeAll(names: readonly string[]): Promise<DecodedInPage[]> {
  return Promise.all(
    names.map(async (name) => {
      try {
        const { width, height, data } = await decodeImage(name, await bytesOf(name))
        return { name, width, height, data: [...data] }
      } catch (error) {
        return { name, fault: `${(error as Error).name}: ${(error as Error).message}` }
      }
    }),
  )
}

/** The first training batch of some files, as in Node. */
async function firstBatch(names: readonly string[], preprocessing: ImagePreprocessing): Promise<number[]> {
  const files = new Map<string, Uint8Array>()
  for (const name of names) files.set(name, await bytesOf(name))
  const set = imageSet(
    'page',
    ['one', 'two'],
    encodedImages(files),
    Int32Array.from(names, (_, i) => i % 2),
  )
  const source = { sets: [{ images: set.images, cache: null }], preprocessing }
  const options = { batch: names.length, augmentation: strongAugmentation, seed: 4 }
  const { images } = await new ImageLoader([set, set], preprocessing, options, makeHere(source)).batch(0)
  return [...images]
}

async function classifyAll(names: readonly string[]): Promise<unknown> {
  await useDevice('wasm', { announce: () => {} })
  const classify = await pipeline('image-classification', 'model/')
  const blobs = await Promise.all(names.map(async (name) => new Blob([(await bytesOf(name)) as BlobPart])))
  const results = await classify(blobs, { topK: 3 })
  classify.dispose()
  return results
}

Object.assign(globalThis, { decodeAll, firstBatch, classifyAll })
