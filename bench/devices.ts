// The native devices that the benches run on, one thread and all, and vectors on them.
import { launch } from '../src/backend/kernels.js'
import { type LimitLoop, type NativeBackend, openNative } from '../src/backend/native/index.js'
import { bytesPerElement, type DeviceBuffer, type Dtype, type Operand } from '../src/backend/types.js'
import { type Contender, timeOn } from './measure.js'

export interface Devices {
  readonly one: Bench
  readonly all: Bench
}

/** A device with its buffers, which end together. */
export class Bench {
  readonly backend: NativeBackend
  readonly #buffers: DeviceBuffer[] = []
  readonly #probe: DeviceBuffer
  #stream = 0

  constructor(threads?: number) {
    this.backend = openNative({ threads })
    this.#probe = this.backend.allocate(64 * 4)
    this.#buffers.push(this.#probe)
  }

  /** Uninitialised, contiguous. */
  empty(shape: readonly number[], dtype: Dtype = 'float32'): Operand {
    const count = shape.reduce((a, b) => a * b, 1)
    const buffer = this.backend.allocate(Math.max(1, count) * bytesPerElement[dtype])
    this.#buffers.push(buffer)
    const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1))
    return { buffer, offset: 0, dtype, shape, strides }
  }

  /** Uniform in [low, high). */
  uniform(shape: readonly number[], low = -1, high = 1): Operand {
    const out = this.empty(shape)
    const distribution = { distribution: 0, alpha: low, beta: high, seed: 7, stream: this.#stream++, offset: 0 }
    launch(this.backend, 'random', { out }, distribution)
    return out
  }

  /** Takes part by calling `enqueue` several times a turn. */
  contender(name: string, calls: number, enqueue: () => void): Contender {
    return { name, run: () => timeOn(this.backend, this.#probe, calls, enqueue) }
  }

  /** A loop of native/limits.h as a contender. Its time is that of `work`, which every thread does. */
  limit(name: string, loop: LimitLoop, work: number): Contender {
    const out = { buffer: this.#probe, offset: 0, dtype: 'float32', shape: [64], strides: [1] } as const
    return this.contender(name, 1, () => this.backend.enqueueLimit(loop, [out], [work]))
  }

  /** Releases everything but the device. */
  clear(): void {
    for (const buffer of this.#buffers.splice(1)) this.backend.release(buffer)
  }

  close(): Promise<void> {
    return this.backend.close()
  }
}
