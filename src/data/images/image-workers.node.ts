// Worker threads that make batches of images, and the memory that they share. Node only.

import { stat } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { MambakitError } from '../../errors.js'
import { DataError } from '../bytes.js'
import { fileSource } from '../files.node.js'
import { headerBytes, type ImageHeader, readImageHeader } from './header.js'
import { type BatchRequest, type MadeBatch, trainingSides } from './image-batches.js'
import { type BatchMaker, ImageLoader, type ImageLoaderOptions, makeHere } from './image-loader.js'
import type { ImageSet, StoredImages } from './image-set.js'
import { PixelCache, type PixelCacheMemory, pixelCacheMemory } from './pixel-cache.js'
import { shrunkSize } from './pixels.js'
import type { ImagePreprocessing } from './preprocessing.js'

/** Decoded sets of at most this size are kept in memory. */
const mostCached = 1 << 30
/** Sets of more files are not looked through before training begins; their faults show when their turn comes. */
const mostChecked = 50_000

/** What a worker is started with. */
export interface WorkerSource {
  readonly sets: readonly { readonly images: StoredImages; readonly cache: PixelCacheMemory | null }[]
  readonly preprocessing: ImagePreprocessing
}

export type WorkerAnswer =
  | { readonly id: number; readonly batch: MadeBatch }
  | { readonly id: number; readonly fault: { readonly file?: string; readonly message: string } }

/** One core in four makes images, up to four of them. */
export function usualWorkers(): number {
  return Math.min(4, Math.max(1, Math.floor(availableParallelism() / 4)))
}

export interface OpenLoaderOptions extends ImageLoaderOptions {
  /** Threads that make batches; 0 makes them in this thread. Default: usualWorkers(). The batches are the same. */
  readonly workers?: number
}

/**
 * A loader over two sets. The headers of all images are read first, so that a broken file is named before training
 * begins. Throws DataError.
 */
export async function openImageLoader(
  sets: readonly [train: ImageSet, heldOut: ImageSet],
  preprocessing: ImagePreprocessing,
  { workers = usualWorkers(), ...options }: OpenLoaderOptions,
): Promise<ImageLoader> {
  const memories = new Map<StoredImages, PixelCacheMemory | null>()
  for (const { images } of sets)
    if (!memories.has(images)) memories.set(images, await cacheMemoryFor(images, preprocessing))
  const shared = sets.map(({ images }) => ({ images, cache: memories.get(images)! }))
  const maker = workers > 0 ? new WorkerPool({ sets: shared, preprocessing }, workers) : null
  const cached = shared.map(({ images, cache }) => ({ images, cache: cache && new PixelCache(cache) }))
  return new ImageLoader(sets, preprocessing, options, maker ?? makeHere({ sets: cached, preprocessing }))
}

/** Pixels that training keeps of an image. */
function keptPixels({ width, height }: ImageHeader, size: number): number {
  const shrunk = shrunkSize(width, height, trainingSides * size)
  // One more a side, since decoders round the longer side as they like.
  return shrunk ? (shrunk.width + 1) * (shrunk.height + 1) : width * height
}

async function cacheMemoryFor(
  images: StoredImages,
  { channels, size }: ImagePreprocessing,
): Promise<PixelCacheMemory | null> {
  if (images.kind === 'pixels' || images.names.length > mostChecked) return null
  const counts: number[] = []
  if (images.kind === 'encoded')
    images.names.forEach((name, i) => {
      const header = readImageHeader(name, images.data.subarray(images.starts[i], images.starts[i + 1]))
      counts.push(keptPixels(header, size))
    })
  else
    for (let first = 0; first < images.names.length; first += 32)
      for (const header of await Promise.all(images.names.slice(first, first + 32).map(headerOfFile)))
        counts.push(keptPixels(header, size))
  const total = counts.reduce((a, b) => a + b, 0) * channels
  return total <= mostCached ? pixelCacheMemory(counts, channels) : null
}

async function headerOfFile(path: string): Promise<ImageHeader> {
  const { size } = await stat(path).catch((error: NodeJS.ErrnoException) => {
    throw new DataError(path, `cannot be read (${error.code})`)
  })
  const source = fileSource(path, size)
  try {
    return readImageHeader(path, await source.read(0, Math.min(size, headerBytes)))
  } finally {
    await source.close()
  }
}

class WorkerPool implements BatchMaker {
  readonly parallel: number
  readonly #workers: Worker[]
  readonly #idle: Worker[] = []
  readonly #waiting: { id: number; request: BatchRequest }[] = []
  readonly #pending = new Map<number, { resolve(batch: MadeBatch): void; reject(error: Error): void }>()
  #lastId = 0
  #broken: Error | null = null

  constructor(source: WorkerSource, count: number) {
    this.parallel = count
    const file = new URL('./image-worker.node.js', import.meta.url)
    this.#workers = Array.from({ length: count }, () => {
      const worker = new Worker(file, { workerData: source })
      worker.on('message', (answer: WorkerAnswer) => this.#answered(worker, answer))
      worker.on('error', (error) => this.#fail(new MambakitError(`an image worker failed (${error.message})`)))
      // A program may end while batches are made ahead.
      worker.unref()
      return worker
    })
    this.#idle.push(...this.#workers)
  }

  make(request: BatchRequest): Promise<MadeBatch> {
    if (this.#broken) return Promise.reject(this.#broken)
    const id = ++this.#lastId
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject })
      this.#waiting.push({ id, request })
      this.#next()
    })
  }

  #next(): void {
    while (this.#idle.length > 0 && this.#waiting.length > 0) {
      const worker = this.#idle.shift()!
      worker.ref()
      worker.postMessage(this.#waiting.shift())
    }
  }

  #answered(worker: Worker, answer: WorkerAnswer): void {
    const asked = this.#pending.get(answer.id)
    // The pool was closed meanwhile.
    if (!asked) return
    const { resolve, reject } = asked
    this.#pending.delete(answer.id)
    worker.unref()
    this.#idle.push(worker)
    if ('batch' in answer) resolve(answer.batch)
    else {
      const { file, message } = answer.fault
      reject(file === undefined ? new MambakitError(message) : new DataError(file, message))
    }
    this.#next()
  }

  #fail(error: Error): void {
    this.#broken = error
    for (const { reject } of this.#pending.values()) reject(error)
    this.#pending.clear()
  }

  async close(): Promise<void> {
    this.#fail(new MambakitError('the image loader is closed'))
    await Promise.all(this.#workers.map((worker) => worker.terminate()))
  }
}
