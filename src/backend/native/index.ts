// The native backend: the Node-API add-on behind the Backend interface. Node only.
import os from 'node:os'
import { DeviceError } from '../../errors.js'
import { CpuBackend, type CpuMemory } from '../cpu.js'
import { threadCount } from '../threads.js'
import type { DeviceBuffer, FileRange, FileRead, Operand } from '../types.js'
import { type Addon, type Handle, loadAddon } from './addon.js'

export interface NativeOptions {
  /** Default: MAMBAKIT_THREADS, else every core. */
  threads?: number
  /** Default: MAMBAKIT_ISA, else the widest that the processor has. */
  instructionSet?: string
  /** Path of another add-on than the one that `npm run build` made. */
  addon?: string
}

/** The loops of native/limits.h: they show what the machine can do. */
export type LimitLoop = 'benchGemmPeak' | 'benchScanLimit' | 'benchScanShort' | 'benchMemoryRead'

/** What one kernel took in a profile. */
export interface KernelTime {
  readonly kernel: string
  readonly seconds: number
  readonly calls: number
}

export class NativeBackend extends CpuBackend {
  constructor(
    readonly instructionSet: string,
    readonly threads: number,
    private readonly memoryOfDevice: NativeMemory,
  ) {
    super('native', `${instructionSet}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`, memoryOfDevice)
  }

  /** A file's bytes as a buffer, read from disk as they are touched; writes never reach the file. */
  mapFile(path: string): DeviceBuffer {
    const [address, bytes] = this.memoryOfDevice.mapFile(path)
    return this.adopt(address, bytes, () => this.memoryOfDevice.free(address, 0))
  }

  mapRanges(path: string, ranges: readonly FileRange[]): DeviceBuffer[] {
    const [address, size] = this.memoryOfDevice.mapFile(path)
    const unmap = () => this.memoryOfDevice.free(address, 0)
    const outside = ranges.find(({ begin, bytes }) => begin + bytes > size)
    if (outside) {
      unmap()
      throw new DeviceError(
        `${path}: expected ${outside.begin + outside.bytes} bytes, but the file now ends at ${size}`,
      )
    }
    let inUse = ranges.length
    const release = () => {
      if (--inUse === 0) unmap()
    }
    return ranges.map(({ begin, bytes }) => this.adopt(address + begin, bytes, release))
  }

  async readFile(descriptor: number, reads: readonly FileRead[]): Promise<number> {
    this.flush()
    const words = reads.flatMap(({ buffer, offset, begin, bytes }) => [
      begin,
      this.address(buffer, offset, bytes),
      bytes,
    ])
    return this.memoryOfDevice.readFile(descriptor, Float64Array.from(words))
  }

  /** Enqueues a loop that measures the machine; operands and numbers as the loop's comment says. */
  enqueueLimit(loop: LimitLoop, operands: readonly Operand[], numbers: readonly number[]): void {
    this.enqueueNative({ kernel: loop, operands, numbers })
  }

  /** Times each operation that `run` enqueues, and sums by kernel. Kernels run as they always do, with a clock between them. */
  async profile(run: () => void | Promise<void>): Promise<KernelTime[]> {
    this.flush()
    this.memoryOfDevice.profile(true)
    try {
      await run()
    } finally {
      this.flush()
      this.memoryOfDevice.profile(false)
    }
    return this.memoryOfDevice.profiled()
  }
}

class NativeMemory implements CpuMemory {
  readonly kernelNames: readonly string[]

  constructor(
    private readonly addon: Addon,
    private readonly device: Handle,
  ) {
    this.kernelNames = addon.kernelNames(device)
  }

  /** What one step used, the next will: memory from the system is slow when it is touched first (measured: 50 times a write). */
  mostSpare(inUse: number, peak: number): number {
    return Math.max(2 ** 30, 1.125 * peak - inUse)
  }

  allocate(bytes: number): number {
    return this.addon.allocate(this.device, bytes)
  }

  free(address: number, bytes: number): void {
    this.addon.free(this.device, address, bytes)
  }

  submit(words: Float64Array): void {
    this.addon.submit(this.device, words, words.length)
  }

  upload(address: number, bytes: Uint8Array): void {
    this.addon.upload(this.device, address, bytes)
  }

  async download(address: number, bytes: number) {
    const { buffer, error } = await this.addon.download(this.device, address, bytes)
    return { data: buffer, error: [error.code, error.opcode, error.index, error.size] as const }
  }

  mapFile(path: string): [address: number, bytes: number] {
    try {
      return this.addon.mapFile(this.device, path)
    } catch (error) {
      throw new DeviceError(`${path}: cannot be mapped into memory (${(error as Error).message})`)
    }
  }

  readFile(descriptor: number, reads: Float64Array): Promise<number> {
    return this.addon.readFile(this.device, descriptor, reads)
  }

  profile(on: boolean): void {
    this.addon.profile(this.device, on ? 1 : 0)
  }

  /** What the last profile found, once everything queued is done. */
  async profiled(): Promise<KernelTime[]> {
    await this.addon.download(this.device, 0, 0)
    const numbers = this.addon.profiled(this.device)
    return this.kernelNames
      .map((kernel, opcode) => ({ kernel, seconds: numbers[2 * opcode], calls: numbers[2 * opcode + 1] }))
      .filter(({ calls }) => calls > 0)
  }

  async close(): Promise<void> {
    // A read-back of nothing waits for the queue.
    await this.addon.download(this.device, 0, 0)
    this.addon.close(this.device)
  }
}

/** Why the add-on cannot be loaded, in one line; null where it can. */
export function nativeFault(): string | null {
  try {
    loadAddon()
    return null
  } catch (error) {
    return (error as Error).message
  }
}

/** Instruction sets that the add-on holds and this processor has, widest first. Throws DeviceError without the add-on. */
export function nativeInstructionSets(): string[] {
  return loadAddon().instructionSets()
}

/** Opens the native device. Throws DeviceError where the add-on cannot be loaded or the instruction set is not there. */
export function openNative(options: NativeOptions = {}): NativeBackend {
  const addon = loadAddon(options.addon)
  const threads = options.threads ?? threadCount(process.env.MAMBAKIT_THREADS) ?? os.availableParallelism()
  let device: Handle
  try {
    device = addon.create(threads, options.instructionSet ?? process.env.MAMBAKIT_ISA ?? '')
  } catch (error) {
    throw new DeviceError(`native: ${(error as Error).message}; it has ${addon.instructionSets().join(', ')}`)
  }
  return new NativeBackend(addon.instructionSet(device), threads, new NativeMemory(addon, device))
}
