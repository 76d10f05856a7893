// The WebAssembly backend's surroundings in a page or a worker: fetch and module workers. Shared memory needs a page that
// is cross-origin isolated.
import { DeviceError } from '../../errors.js'
import type { Platform } from './platform.js'

export const platform: Platform = {
  async readBytes(url) {
    const response = await fetch(url)
    if (!response.ok) throw new DeviceError(`wasm: ${url} answered ${response.status} ${response.statusText}`)
    return new Uint8Array(await response.arrayBuffer())
  },

  defaultThreads: () => Math.min(64, navigator.hardwareConcurrency || 1),

  hasSharedMemory: () => globalThis.crossOriginIsolated === true,

  startThread(start) {
    return new Promise((resolve, reject) => {
      const worker = new Worker(new URL('./thread.browser.js', import.meta.url), { type: 'module' })
      worker.onerror = ({ message }) => reject(new DeviceError(`wasm: a thread did not start: ${message}`))
      worker.onmessage = () => resolve({ stop: async () => worker.terminate() })
      worker.postMessage(start)
    })
  },
}
