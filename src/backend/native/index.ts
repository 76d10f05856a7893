// The native backend: the Node-API add-on behind the Backend interface. Node only.
import { createRequire } from 'node:module'
import os from 'node:os'
import { fileURLToPath } from 'node:url'
import { DeviceError } from '../../errors.js'
import { CpuBackend, type CpuMemory, type KernelErrorFields } from '../cpu.js'
import type { DeviceBuffer } from '../types.js'

interface AddOn {
  create(threads: number, instructionSet: string): number
  close(engine: number): void
  describe(engine: number): { instructionSet: string; kernels: string[] }
  allocate(bytes: number): number
  free(engine: number, address: number, bytes: number): void
  submit(engine: number, words: Float64Array, count: number): void
  upload(engine: number, address: number, bytes: Uint8Array): void
  download(engine: number, address: number, bytes: number): Promise<{ data: ArrayBuffer; error: KernelErrorFields }>
  mapFile(path: string): [address: number, bytes: number]
  unmapFile(engine: number, address: number, bytes: number): void
  instructionSets(): string[]
}

/** Where `npm run build` puts the add-on. */
const builtAddOn = fileURLToPath(new URL('../../../native/mambakit.node', import.meta.url))

function loadAddOn(): AddOn {
  try {
    return createRequire(import.meta.url)(builtAddOn) as AddOn
  } catch (error) {
    const [reason] = (error as Error).message.split('\n')
    throw new DeviceError(`the native add-on cannot be loaded (${reason}); build it with: npm run build`)
  }
}

export interface NativeOptions {
  /** Default: MAMBAKIT_THREADS, else every core. */
  threads?: number
  /** Default: MAMBAKIT_ISA, else the widest that the processor has. */
  instructionSet?: string
}

export class NativeBackend extends CpuBackend {
  constructor(
    readonly instructionSet: string,
    readonly threads: number,
    cpu: CpuMemory,
    private readonly files: { map(path: string): [number, number]; unmap(address: number, bytes: number): void },
  ) {
    super('native', `${instructionSet}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`, cpu)
  }

  /** A file's bytes as a buffer, read from disk as they are touched; writes never reach the file. */
  mapFile(path: string): DeviceBuffer {
    const [address, bytes] = this.files.map(path)
    return this.adopt(address, bytes, () => this.files.unmap(address, bytes))
  }
}

/** Instruction sets that the add-on holds and this processor has, widest first. Throws DeviceError without the add-on. */
export function nativeInstructionSets(): string[] {
  return loadAddOn().instructionSets()
}

/** Opens the native device. Throws DeviceError where the add-on cannot be loaded or the instruction set is not there. */
export function openNative(options: NativeOptions = {}): NativeBackend {
  const addOn = loadAddOn()
  const threads = options.threads ?? threadCount(process.env.MAMBAKIT_THREADS)
  let engine: number
  try {
    engine = addOn.create(threads, options.instructionSet ?? process.env.MAMBAKIT_ISA ?? '')
  } catch (error) {
    throw new DeviceError(
      `native: ${(error as Error).message}; this processor has ${addOn.instructionSets().join(', ')}`,
    )
  }
  const { instructionSet, kernels } = addOn.describe(engine)
  const memory: CpuMemory = {
    kernelNames: kernels,
    allocate: (bytes) => addOn.allocate(bytes),
    free: (address, bytes) => addOn.free(engine, address, bytes),
    submit: (words) => addOn.submit(engine, words, words.length),
    upload: (address, bytes) => addOn.upload(engine, address, bytes),
    download: (address, bytes) => addOn.download(engine, address, bytes),
    close: async () => {
      await addOn.download(engine, 0, 0)
      addOn.close(engine)
    },
  }
  return new NativeBackend(instructionSet, threads, memory, {
    map: (path) => addOn.mapFile(path),
    unmap: (address, bytes) => addOn.unmapFile(engine, address, bytes),
  })
}

/** Parses MAMBAKIT_THREADS. */
export function threadCount(text: string | undefined): number {
  if (text === undefined || text === '') return os.availableParallelism()
  const threads = Number(text)
  if (Number.isInteger(threads) && threads >= 1 && threads <= 256) return threads
  throw new DeviceError(`MAMBAKIT_THREADS: expected an integer from 1 to 256, got '${text}'`)
}
