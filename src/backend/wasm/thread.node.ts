// Entry of a worker thread in Node.
import { parentPort, workerData } from 'node:worker_threads'
import type { ThreadStart } from './platform.js'
import { runThread } from './thread.js'

runThread(workerData as ThreadStart, () => parentPort!.postMessage('ready'))
