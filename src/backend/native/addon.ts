// The functions of the native add-on (native/addon.cc), and where it is loaded from.
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { DeviceError } from '../../errors.js'

/** A device of the add-on; only the add-on can look inside. */
export interface Handle {
  readonly device: unique symbol
}

/** What a kernel reported (KernelError in native/kernel.h). */
interface Report {
  readonly code: number
  readonly opcode: number
  readonly index: number
  readonly size: number
}

/** Addresses are numbers. Whatever touches memory happens in queue order. */
export interface Addon {
  /** An empty name takes the widest instruction set that the processor has. */
  create(threads: number, instructionSet: string): Handle
  /** Leaves what is still queued undone. */
  close(device: Handle): void
  /** 0 where the system has no memory. */
  allocate(device: Handle, bytes: number): number
  free(device: Handle, address: number, bytes: number): void
  mapFile(device: Handle, path: string): [address: number, bytes: number]
  submit(device: Handle, words: Float64Array, length: number): void
  upload(device: Handle, address: number, bytes: Uint8Array): void
  download(device: Handle, address: number, bytes: number): Promise<{ buffer: ArrayBuffer; error: Report }>
  /** Reads an open file: [position, address, bytes] for each read. Gives the index of one that came short, or -1. */
  readFile(device: Handle, descriptor: number, reads: Float64Array): Promise<number>
  /** From here on in the queue, times every operation anew (1), or no longer (0). */
  profile(device: Handle, on: number): void
  /** Seconds and calls, alternating, by opcode. */
  profiled(device: Handle): number[]
  kernelNames(device: Handle): string[]
  instructionSet(device: Handle): string
  /** Names of the instruction sets that the add-on holds and the processor has, widest first. */
  instructionSets(): string[]
}

/** Where `npm run build` puts the add-on: beside the compiled TypeScript. */
const builtAddon = fileURLToPath(new URL('../../../native/mambakit.node', import.meta.url))
/** The optional package that brings a built one. */
const packageName = `@mambakit/${process.platform}-${process.arch}`

/** Loads the add-on from a path, or where a build or an installed package has put it. Throws DeviceError with the reason. */
export function loadAddon(path?: string): Addon {
  const require = createRequire(import.meta.url)
  const places = path ? [path] : [builtAddon, packageName]
  for (const place of places) {
    try {
      return require(place) as Addon
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      if (code === 'MODULE_NOT_FOUND') continue
      throw new DeviceError(`the native add-on ${place} cannot be loaded (${message.split('\n')[0]})`)
    }
  }
  throw new DeviceError(
    `there is no native add-on at ${places.join(' or ')}; build it in a clone with: npm run build, or install: npm install ${packageName}`,
  )
}
