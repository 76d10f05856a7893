// What the WebAssembly builds import and export (native/wasm.cc), and which build this runtime can use.

/** Addresses are byte offsets as signed 32-bit numbers; take them `>>> 0`. */
export interface KernelExports {
  readonly __stack_pointer: WebAssembly.Global
  readonly __heap_base: WebAssembly.Global
  setup(threads: number): void
  execute(words: number, count: number): void
  kernelCount(): number
  kernelName(opcode: number): number
  errorAddress(): number
  retiredAddress(): number
  takeRetired(): number
}

/** Further exports of the builds with shared memory. */
export interface ThreadExports extends KernelExports {
  work(thread: number): void
  stopWorkers(): void
  reportBroken(): void
}

export const pageBytes = 65536
/** The module's own data and the first stack lie below this. */
export const initialPages = 16
/** 4 GiB, what 32-bit addresses reach. */
export const mostPages = 65536
/** Stack of a thread. */
export const stackBytes = 1 << 18

const preamble = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 0x01, 5, 1, 0x60, 0, 1, 0x7b, 0x03, 2, 1, 0]
const splatZero = [0x41, 0, 0xfd, 0x0f]

/** Whether a function with this body, which returns a vector, is accepted. */
function accepts(body: readonly number[]): boolean {
  const code = [0, ...body, 0x0b]
  return WebAssembly.validate(new Uint8Array([...preamble, 0x0a, code.length + 2, 1, code.length, ...code]))
}

export const hasSimd = (): boolean => accepts(splatZero)
/** f32x4.relaxed_madd, which fuses a multiply and an add where the processor can. */
export const hasRelaxedSimd = (): boolean => accepts([...splatZero, ...splatZero, ...splatZero, 0xfd, 0x85, 0x02])
