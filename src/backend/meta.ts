// The backend without memory: operations run their shape checks and are shown to an observer, nothing is computed. It
// counts what a model does before any weight is loaded.
import { MambakitError } from '../errors.js'
import type { Backend, Capture, DeviceBuffer, MemoryUse, Operation } from './types.js'

class MetaBuffer implements DeviceBuffer {
  constructor(readonly bytes: number) {}
}

export class MetaBackend implements Backend {
  readonly device = 'meta'
  readonly description = 'shapes only'
  #operationCount = 0
  #inUse = 0
  #peak = 0

  constructor(private readonly observe: (operation: Operation) => void = () => {}) {}

  get operationCount(): number {
    return this.#operationCount
  }
  /** Most bytes that tensors would have held at once. */
  get peakBytes(): number {
    return this.#peak
  }
  allocate(bytes: number): DeviceBuffer {
    this.#inUse += bytes
    this.#peak = Math.max(this.#peak, this.#inUse)
    return new MetaBuffer(bytes)
  }
  release(buffer: DeviceBuffer): void {
    this.#inUse -= buffer.bytes
  }
  enqueue(operation: Operation): void {
    this.#operationCount++
    this.observe(operation)
  }
  upload(): void {}
  async download(): Promise<ArrayBuffer> {
    throw new MambakitError('tensors on the meta device have no values')
  }
  flush(): void {}
  beginCapture(): void {}
  endCapture(): Capture {
    return { replay() {}, dispose() {} }
  }
  memory(): MemoryUse {
    return { inUse: this.#inUse, reserved: this.#peak }
  }
  async close(): Promise<void> {}
}
