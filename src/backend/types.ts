// What every backend agrees on: element types, operands, the operation record, and the queue that runs records in
// order. A backend knows nothing of autograd, modules or models.
import type { KernelName } from './kernels.js'

/** Element types, in the order that kernels number them. */
export const dtypes = ['float32', 'float16', 'bfloat16', 'int8', 'int32', 'uint8', 'bool'] as const
export type Dtype = (typeof dtypes)[number]

export const bytesPerElement: Readonly<Record<Dtype, number>> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int8: 1,
  int32: 4,
  uint8: 1,
  bool: 1,
}

export const dtypeCode = Object.fromEntries(dtypes.map((name, code) => [name, code])) as Readonly<Record<Dtype, number>>

export type DeviceName = 'native' | 'wasm' | 'webgpu' | 'reference' | 'meta'

/** A piece of device memory. `release` returns it to the queue's pool: memory is ordered by the queue, so later operations may reuse it at once. */
export interface DeviceBuffer {
  readonly bytes: number
}

/** A tensor as a kernel sees it. Offset and strides count elements; a stride of 0 repeats the axis. */
export interface Operand {
  readonly buffer: DeviceBuffer
  readonly offset: number
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly strides: readonly number[]
}

/** The operation record: the kernel, its operands in the order of its table entry (absent ones null), its numbers. */
export interface Operation {
  readonly kernel: KernelName
  readonly operands: readonly (Operand | null)[]
  readonly numbers: readonly number[]
}

/** A recorded sequence of operations with memory of its own. */
export interface Capture {
  /** Enqueues the recorded operations again, on the same buffers. */
  replay(): void
  dispose(): void
}

export interface MemoryUse {
  /** Bytes that live tensors hold. */
  readonly inUse: number
  /** Bytes taken from the system, the pool's spare buffers included. */
  readonly reserved: number
}

/** Bytes of a file. */
export interface FileRange {
  readonly begin: number
  readonly bytes: number
}

/** Bytes of a file and where they go in a buffer. */
export interface FileRead extends FileRange {
  readonly buffer: DeviceBuffer
  readonly offset: number
}

/** An in-order queue of operations over one device's memory. */
export interface Backend {
  readonly device: DeviceName
  /** Instruction set, thread count or adapter, for people to read. */
  readonly description: string
  /** Operations enqueued since the backend was opened. */
  readonly operationCount: number
  allocate(bytes: number): DeviceBuffer
  release(buffer: DeviceBuffer): void
  enqueue(operation: Operation): void
  /**
   * Where the device can: ranges of a file as buffers, which share the system's copy of the file; writes never reach it.
   * Throws DeviceError where the file cannot be mapped or has become shorter.
   */
  mapRanges?(path: string, ranges: readonly FileRange[]): DeviceBuffer[]
  /**
   * Where the device can: fills buffers from an open file, in queue order, without a copy in the host's memory between.
   * The file must stay open until the promise is kept. Gives the index of a read that came short, or -1.
   */
  readFile?(descriptor: number, reads: readonly FileRead[]): Promise<number>
  /** Copies host bytes into a buffer, in queue order. `bytes` is read before the call returns. */
  upload(buffer: DeviceBuffer, byteOffset: number, bytes: Uint8Array): void
  /** Copies device bytes to the host once everything enqueued before is done. Throws the first error that a kernel reported. */
  download(buffer: DeviceBuffer, byteOffset: number, byteLength: number): Promise<ArrayBuffer>
  /** Hands pending operations to the device without waiting. */
  flush(): void
  /** Starts recording; every buffer allocated until `endCapture` belongs to the capture. */
  beginCapture(): void
  endCapture(): Capture
  memory(): MemoryUse
  /** Waits for the queue, then releases the device. */
  close(): Promise<void>
}
