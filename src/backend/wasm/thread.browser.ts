// Entry of a worker in a page.
import type { ThreadStart } from './platform.js'
import { runThread } from './thread.js'

const worker = globalThis as unknown as {
  onmessage: ((event: MessageEvent<ThreadStart>) => void) | null
  postMessage(message: string): void
}

worker.onmessage = ({ data }) => runThread(data, () => worker.postMessage('ready'))
