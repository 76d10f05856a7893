// A WebAssembly instance as memory with an executor: commands run at once, in the calling thread and its helpers. Growing
// the memory ends every view of it, so no view outlives a call.
import { DeviceError } from '../../errors.js'
import type { CpuMemory, KernelErrorFields } from '../cpu.js'
import { FreeList } from './freeList.js'
import { initialPages, type KernelExports, mostPages, pageBytes, stackBytes, type ThreadExports } from './module.js'
import type { Platform, Thread } from './platform.js'

/** Pages that the memory grows by at least. */
const growthPages = 16

export class WasmMemory implements CpuMemory {
  readonly kernelNames: readonly string[]
  readonly #memory: WebAssembly.Memory
  readonly #exports: KernelExports
  readonly #free = new FreeList()
  #threads: Thread[] = []
  #words = { address: 0, capacity: 0 }
  /** Why nothing can run any more. */
  #failure: DeviceError | null = null

  constructor(
    private readonly module: WebAssembly.Module,
    readonly shared: boolean,
  ) {
    this.#memory = createMemory(shared)
    const imports = { env: { memory: this.#memory } }
    this.#exports = new WebAssembly.Instance(module, imports).exports as unknown as KernelExports
    const heap = align((this.#exports.__heap_base.value as number) >>> 0)
    this.#free.give(heap, initialPages * pageBytes - heap)
    this.#exports.setup(1)
    this.kernelNames = Array.from({ length: this.#exports.kernelCount() }, (_, opcode) =>
      this.#text(this.#exports.kernelName(opcode) >>> 0),
    )
  }

  /** Adds threads, so that there are `count` with the calling one. */
  async startThreads(platform: Platform, count: number): Promise<void> {
    const starts = Array.from({ length: count - 1 }, (_, i) => {
      const stack = this.allocate(stackBytes)
      if (stack === 0) throw new DeviceError('wasm: no memory for the threads')
      return { module: this.module, memory: this.#memory, thread: i + 1, stackTop: stack + stackBytes }
    })
    this.#threads = await Promise.all(starts.map((start) => platform.startThread(start)))
    this.#exports.setup(count)
  }

  /** Memory is scarce, and free regions merge only once they are back in the list. */
  mostSpare(): number {
    return 2 ** 26
  }

  allocate(bytes: number): number {
    const size = align(Math.max(bytes, 64))
    const address = this.#free.take(size)
    if (address !== null) return address
    const end = this.#memory.buffer.byteLength
    const missing = Math.ceil((size - this.#free.freeBefore(end)) / pageBytes)
    const room = mostPages - end / pageBytes
    if (missing > room) return 0
    const pages = Math.min(room, Math.max(missing, growthPages))
    try {
      const first = this.#memory.grow(pages)
      this.#free.give(first * pageBytes, pages * pageBytes)
    } catch {
      return 0
    }
    return this.#free.take(size) ?? 0
  }

  free(address: number, bytes: number): void {
    this.#free.give(address, align(Math.max(bytes, 64)))
  }

  submit(words: Float64Array): void {
    if (this.#failure) return
    try {
      this.#stage(words)
      this.#exports.execute(this.#words.address, words.length)
      this.#takeRetired()
    } catch (error) {
      this.#failure =
        error instanceof DeviceError
          ? error
          : new DeviceError(
              `wasm: a kernel failed (${(error as Error).message}), most likely for want of memory: ${this.#use()}; use smaller batches or another device`,
            )
    }
  }

  upload(address: number, bytes: Uint8Array): void {
    new Uint8Array(this.#memory.buffer).set(bytes, address)
  }

  async download(address: number, bytes: number): Promise<{ data: ArrayBuffer; error: KernelErrorFields }> {
    if (this.#failure) throw this.#failure
    const data = new Uint8Array(this.#memory.buffer).slice(address, address + bytes).buffer as ArrayBuffer
    return { data, error: this.#takeError() }
  }

  async close(): Promise<void> {
    if (this.#threads.length === 0) return
    ;(this.#exports as ThreadExports).stopWorkers()
    await Promise.all(this.#threads.map((thread) => thread.stop()))
    this.#threads = []
  }

  /** Copies the words to where the executor reads them. */
  #stage(words: Float64Array): void {
    if (words.length > this.#words.capacity) {
      if (this.#words.capacity > 0) this.free(this.#words.address, this.#words.capacity * 8)
      const capacity = 2 * words.length
      const address = this.allocate(capacity * 8)
      if (address === 0) {
        this.#words = { address: 0, capacity: 0 }
        throw new DeviceError(`wasm: no memory for ${words.length} command words: ${this.#use()}`)
      }
      this.#words = { address, capacity }
    }
    new Float64Array(this.#memory.buffer, this.#words.address, words.length).set(words)
  }

  /** Scratch memory that kernels replaced by more of it is ours to use. */
  #takeRetired(): void {
    const count = this.#exports.takeRetired()
    if (count === 0) return
    const regions = new Uint32Array(this.#memory.buffer, this.#exports.retiredAddress() >>> 0, 2 * count).slice()
    for (let i = 0; i < count; i++) this.#free.give(regions[2 * i], regions[2 * i + 1])
  }

  #takeError(): KernelErrorFields {
    const address = this.#exports.errorAddress() >>> 0
    const view = new DataView(this.#memory.buffer, address, 24)
    const code = view.getInt32(0, true)
    if (code === 0) return [0, 0, 0, 0]
    const fields = [code, view.getInt32(4, true), Number(view.getBigInt64(8, true)), Number(view.getBigInt64(16, true))]
    view.setInt32(0, 0, true)
    return fields as unknown as KernelErrorFields
  }

  #use(): string {
    const mebibytes = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`
    const { byteLength } = this.#memory.buffer
    return `${mebibytes(byteLength)} taken of ${mebibytes(mostPages * pageBytes)}, ${mebibytes(this.#free.freeBytes)} free in pieces`
  }

  #text(address: number): string {
    const bytes = new Uint8Array(this.#memory.buffer)
    return String.fromCharCode(...bytes.slice(address, bytes.indexOf(0, address)))
  }
}

const align = (bytes: number): number => Math.ceil(bytes / 64) * 64

/** Some runtimes refuse to set the whole address space aside; then the largest part that they give is taken. */
function createMemory(shared: boolean): WebAssembly.Memory {
  for (let maximum = mostPages; ; maximum /= 2) {
    try {
      return new WebAssembly.Memory({ initial: initialPages, maximum, shared })
    } catch (error) {
      if (maximum <= 4 * initialPages) throw new DeviceError(`wasm: no memory: ${(error as Error).message}`)
    }
  }
}
