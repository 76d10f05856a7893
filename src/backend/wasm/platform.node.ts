// The WebAssembly backend's surroundings in Node: files and worker threads.
import { readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { threadCount } from '../threads.js'
import type { Platform } from './platform.js'

export const platform: Platform = {
  async readBytes(url) {
    return new Uint8Array(await readFile(url))
  },

  defaultThreads: () => threadCount(process.env.MAMBAKIT_THREADS) ?? availableParallelism(),

  hasSharedMemory: () => true,

  startThread(start) {
    return new Promise((resolve, reject) => {
      const worker = new Worker(new URL('./thread.node.js', import.meta.url), { workerData: start, execArgv: [] })
      worker.once('error', reject)
      worker.once('message', () => {
        // A waiting thread must not keep the process alive.
        worker.unref()
        resolve({
          async stop() {
            await worker.terminate()
          },
        })
      })
    })
  },
}
