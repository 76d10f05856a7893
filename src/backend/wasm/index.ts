// The WebAssembly backend: the CPU kernels where there is no native add-on, in Node and in pages. Commands run in the
// calling thread, helped by threads where memory can be shared.
import { platform } from '#wasm-platform'
import { DeviceError } from '../../errors.js'
import { CpuBackend } from '../cpu.js'
import { WasmMemory } from './memory.js'
import { hasRelaxedSimd, hasSimd } from './module.js'

type Build = 'simd-unshared' | 'simd-shared' | 'relaxed-unshared' | 'relaxed-shared'

export interface WasmOptions {
  /** Default: MAMBAKIT_THREADS in Node, else what the machine offers; 1 where memory cannot be shared. */
  readonly threads?: number
  /** Use relaxed SIMD; default: where the runtime has it. */
  readonly relaxed?: boolean
  /** Folder of the .wasm files, ending with a slash; default: where the build put them. */
  readonly files?: URL
}

// Spelled out one by one, so that bundlers find and copy the files.
const builtFiles: Readonly<Record<Build, () => URL>> = {
  'simd-unshared': () => new URL('../../../wasm/simd-unshared.wasm', import.meta.url),
  'simd-shared': () => new URL('../../../wasm/simd-shared.wasm', import.meta.url),
  'relaxed-unshared': () => new URL('../../../wasm/relaxed-unshared.wasm', import.meta.url),
  'relaxed-shared': () => new URL('../../../wasm/relaxed-shared.wasm', import.meta.url),
}

/** Opens the WebAssembly device. Throws DeviceError where the runtime lacks SIMD or the build is missing. */
export async function openWasm(options: WasmOptions = {}): Promise<CpuBackend> {
  if (!hasSimd()) throw new DeviceError('wasm: this runtime has no WebAssembly SIMD; use a newer one')
  const relaxed = options.relaxed ?? hasRelaxedSimd()
  if (relaxed && !hasRelaxedSimd()) throw new DeviceError('wasm: this runtime has no relaxed SIMD')
  const wanted = options.threads ?? platform.defaultThreads()
  if (options.threads !== undefined && options.threads > 1 && !platform.hasSharedMemory()) {
    throw new DeviceError('wasm: threads need shared memory; serve the page cross-origin isolated, or use 1 thread')
  }
  const threads = platform.hasSharedMemory() ? wanted : 1
  const build: Build = `${relaxed ? 'relaxed' : 'simd'}-${threads > 1 ? 'shared' : 'unshared'}`
  const url = options.files ? new URL(`${build}.wasm`, options.files) : builtFiles[build]()
  let module: WebAssembly.Module
  try {
    module = await WebAssembly.compile(await platform.readBytes(url))
  } catch (error) {
    throw new DeviceError(`wasm: ${build}.wasm cannot be loaded (${(error as Error).message}); run: npm run build`)
  }
  const memory = new WasmMemory(module, threads > 1)
  if (threads > 1) await memory.startThreads(platform, threads)
  const simd = relaxed ? 'relaxed SIMD' : 'SIMD'
  return new CpuBackend('wasm', `${simd}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`, memory)
}
