// What the native and the WebAssembly backend share: pooled buffers at addresses, command streams, captures. A memory
// says how to get bytes, run words and copy; everything else is here.
import { DeviceError, IndexError, MambakitError } from '../errors.js'
import { CommandStream, type NativeCall } from './commands.js'
import { enqueueParts } from './composites.js'
import { BufferPool, sizeClass } from './pool.js'
import {
  type Backend,
  bytesPerElement,
  type Capture,
  type DeviceBuffer,
  type DeviceName,
  type MemoryUse,
  type Operand,
  type Operation,
} from './types.js'

/** [code, opcode, index, size] of native/kernel.h's KernelError. */
export type KernelErrorFields = readonly [code: number, opcode: number, index: number, size: number]

/** One address space with an executor that runs what it is given in order. */
export interface CpuMemory {
  readonly kernelNames: readonly string[]
  /** Spare bytes that the pool keeps at most, where tensors hold `inUse` bytes and have held `peak`. */
  mostSpare(inUse: number, peak: number): number
  /** 64-byte aligned; 0 where there is no memory left. */
  allocate(bytes: number): number
  free(address: number, bytes: number): void
  submit(words: Float64Array): void
  upload(address: number, bytes: Uint8Array): void
  download(address: number, bytes: number): Promise<{ data: ArrayBuffer; error: KernelErrorFields }>
  close(): Promise<void>
}

class CpuBuffer implements DeviceBuffer {
  released = false
  constructor(
    readonly bytes: number,
    readonly capacity: number,
    readonly address: number,
    /** The capture that owns it, which gets it back when it is released. */
    readonly owner: Recording | null,
    /** False for memory that is not ours to pool (a mapped file). */
    readonly free: (() => void) | null = null,
  ) {}
}

/** A capture under way: its words, and a pool of its own that plans its memory by reuse. */
interface Recording {
  readonly stream: CommandStream
  readonly pool: BufferPool<CpuBuffer>
  readonly all: CpuBuffer[]
  operations: number
  ended: boolean
}

/** Words after which a batch of operations is handed over without waiting for more. */
const batchWords = 4096

export class CpuBackend implements Backend {
  #operationCount = 0
  #inUse = 0
  #peak = 0
  #reserved = 0
  #flushScheduled = false
  #recording: Recording | null = null
  readonly #stream: CommandStream
  readonly #pool: BufferPool<CpuBuffer>

  constructor(
    readonly device: DeviceName,
    readonly description: string,
    protected readonly cpu: CpuMemory,
  ) {
    this.#stream = this.#newStream()
    this.#pool = new BufferPool(
      (buffer) => this.#giveBack(buffer),
      () => cpu.mostSpare(this.#inUse, this.#peak),
    )
  }

  #newStream(): CommandStream {
    return new CommandStream(
      this.cpu.kernelNames,
      this.device,
      ({ buffer, offset, dtype }: Operand) => this.#live(buffer).address + offset * bytesPerElement[dtype],
    )
  }

  /** The buffer as ours. Throws DeviceError where it is another device's or was released. */
  #live(buffer: DeviceBuffer): CpuBuffer {
    if (!(buffer instanceof CpuBuffer))
      throw new DeviceError(`${this.device}: this buffer belongs to another device; move the tensor here first`)
    if (buffer.released) throw new DeviceError(`a buffer of ${buffer.bytes} bytes was used after its release`)
    return buffer
  }

  /** Address of a range of bytes, which must lie in the buffer. */
  protected address(buffer: DeviceBuffer, byteOffset: number, byteLength: number): number {
    const { address, bytes } = this.#live(buffer)
    if (byteOffset < 0 || byteLength < 0 || byteOffset + byteLength > bytes)
      throw new DeviceError(
        `expected a range within a buffer of ${bytes} bytes, got ${byteLength} bytes at ${byteOffset}`,
      )
    return address + byteOffset
  }

  get operationCount(): number {
    return this.#operationCount
  }

  allocate(bytes: number): CpuBuffer {
    const capacity = sizeClass(bytes)
    const recording = this.#recording
    const spare = (recording?.pool ?? this.#pool).take(capacity)
    const address = spare?.address ?? this.#reserve(capacity)
    const buffer = new CpuBuffer(bytes, capacity, address, recording)
    recording?.all.push(buffer)
    this.#inUse += bytes
    this.#peak = Math.max(this.#peak, this.#inUse)
    return buffer
  }

  #reserve(capacity: number): number {
    let address = this.cpu.allocate(capacity)
    if (address === 0) {
      this.flush()
      this.#pool.drain()
      address = this.cpu.allocate(capacity)
    }
    if (address === 0)
      throw new DeviceError(
        `${this.device}: no memory for ${mebibytes(capacity)} more (${mebibytes(this.#reserved)} in use); use a smaller batch or model`,
      )
    this.#reserved += capacity
    return address
  }

  #giveBack(buffer: CpuBuffer): void {
    // The queue still holds operations on it.
    this.flush()
    this.cpu.free(buffer.address, buffer.capacity)
    this.#reserved -= buffer.capacity
  }

  release(buffer: DeviceBuffer): void {
    const own = buffer as CpuBuffer
    if (own.released) throw new DeviceError(`a buffer of ${own.bytes} bytes was released twice`)
    own.released = true
    this.#inUse -= own.bytes
    if (own.free) {
      this.flush()
      own.free()
    } else if (!own.owner) this.#pool.give(own)
    else if (!own.owner.ended) own.owner.pool.give(own)
  }

  /** Memory of the caller's as a buffer; `free` runs, in queue order, when it is released. */
  adopt(address: number, bytes: number, free: () => void): DeviceBuffer {
    return new CpuBuffer(bytes, bytes, address, null, free)
  }

  enqueue(operation: Operation): void {
    if (!enqueueParts(this, operation)) this.enqueueNative(operation)
  }

  /** As enqueue, for any function of the native table. */
  protected enqueueNative(operation: NativeCall): void {
    this.#operationCount++
    this.#stream.push(operation)
    if (this.#recording) {
      this.#recording.stream.push(operation)
      this.#recording.operations++
    }
    if (this.#stream.length >= batchWords) this.flush()
    else this.#scheduleFlush()
  }

  /** Lets work start while the caller goes on, one batch a turn of the event loop. */
  #scheduleFlush(): void {
    if (this.#flushScheduled) return
    this.#flushScheduled = true
    queueMicrotask(() => {
      this.#flushScheduled = false
      this.flush()
    })
  }

  flush(): void {
    if (this.#stream.length === 0) return
    this.cpu.submit(this.#stream.words)
    this.#stream.clear()
  }

  upload(buffer: DeviceBuffer, byteOffset: number, bytes: Uint8Array): void {
    if (this.#recording) throw new DeviceError('a capture records operations only; upload before it begins')
    this.flush()
    this.cpu.upload(this.address(buffer, byteOffset, bytes.length), bytes)
  }

  async download(buffer: DeviceBuffer, byteOffset: number, byteLength: number): Promise<ArrayBuffer> {
    const address = this.address(buffer, byteOffset, byteLength)
    this.flush()
    const { data, error } = await this.cpu.download(address, byteLength)
    this.#check(error)
    return data
  }

  #check([code, opcode, index, size]: KernelErrorFields): void {
    if (code === 0) return
    const kernel = this.#stream.kernelName(opcode)
    if (code === 1) throw new IndexError(kernel, index, size)
    throw new MambakitError(`${kernel}: operand ${index} has a dtype or shape that this kernel does not take`)
  }

  beginCapture(): void {
    if (this.#recording) throw new DeviceError('a capture is already being recorded; end it first')
    const pool = new BufferPool<CpuBuffer>(
      () => {},
      () => Number.POSITIVE_INFINITY,
    )
    this.#recording = { stream: this.#newStream(), pool, all: [], operations: 0, ended: false }
  }

  endCapture(): Capture {
    const recording = this.#recording
    if (!recording) throw new DeviceError('no capture is being recorded; begin one first')
    this.#recording = null
    recording.ended = true
    const words = recording.stream.words.slice()
    let disposed = false
    return {
      replay: () => {
        if (disposed) throw new DeviceError('a capture was replayed after it was disposed')
        this.flush()
        this.#operationCount += recording.operations
        this.cpu.submit(words)
      },
      dispose: () => {
        if (disposed) return
        disposed = true
        // Several buffers of a capture may have lain at one address, one after another.
        const regions = new Map(recording.all.map((buffer) => [buffer.address, buffer]))
        for (const buffer of regions.values()) this.#pool.give(new CpuBuffer(0, buffer.capacity, buffer.address, null))
      },
    }
  }

  memory(): MemoryUse {
    return { inUse: this.#inUse, reserved: this.#reserved }
  }

  async close(): Promise<void> {
    this.flush()
    await this.cpu.close()
  }
}

const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`
