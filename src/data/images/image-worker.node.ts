// A worker thread that makes batches of images; image-workers.node.ts starts it.
import { parentPort, workerData } from 'node:worker_threads'
import { DataError } from '../bytes.js'
import { type BatchRequest, makeBatch } from './image-batches.js'
import type { WorkerAnswer, WorkerSource } from './image-workers.node.js'
import { PixelCache } from './pixel-cache.js'

const { sets, preprocessing } = workerData as WorkerSource
const source = {
  sets: sets.map(({ images, cache }) => ({ images, cache: cache && new PixelCache(cache) })),
  preprocessing,
}

parentPort!.on('message', async ({ id, request }: { id: number; request: BatchRequest }) => {
  try {
    const batch = await makeBatch(source, request)
    const answer: WorkerAnswer = { id, batch }
    parentPort!.postMessage(answer, [batch.images.buffer as ArrayBuffer])
  } catch (error) {
    const { message } = error as Error
    // The file comes first in the message of a DataError, which the other side puts there again.
    const fault =
      error instanceof DataError ? { file: error.file, message: message.slice(error.file.length + 2) } : { message }
    parentPort!.postMessage({ id, fault } satisfies WorkerAnswer)
  }
})
