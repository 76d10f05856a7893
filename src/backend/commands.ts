// The command stream of the CPU backends: operations as float64 words (an address fits exactly), which native/table.cc
// decodes. Many operations cross into native code in one call, and a captured stream can be handed over again.
import { MissingKernelError } from '../errors.js'
import { dtypeCode, type Operation } from './types.js'

/** An operation by the name of its native function, which need not be a kernel of tensors. */
export type NativeCall = Omit<Operation, 'kernel'> & { readonly kernel: string }

export class CommandStream {
  #words = new Float64Array(1 << 14)
  #length = 0
  readonly #opcodes: ReadonlyMap<string, number>

  /** `kernelNames` in the order of the native table. `addressOf` gives where a buffer lies. */
  constructor(
    kernelNames: readonly string[],
    private readonly device: string,
    private readonly addressOf: (buffer: Operation['operands'][number] & object) => number,
  ) {
    this.#opcodes = new Map(kernelNames.map((name, opcode) => [name, opcode]))
  }

  get length(): number {
    return this.#length
  }
  get words(): Float64Array {
    return this.#words.subarray(0, this.#length)
  }
  kernelName(opcode: number): string {
    for (const [name, code] of this.#opcodes) if (code === opcode) return name
    return `kernel ${opcode}`
  }
  clear(): void {
    this.#length = 0
  }

  /** Appends an operation: opcode, words, operand count, number count, operands, numbers. */
  push({ kernel, operands, numbers }: NativeCall): void {
    const opcode = this.#opcodes.get(kernel)
    if (opcode === undefined) throw new MissingKernelError(kernel, this.device)
    const start = this.#length
    // 0, or address, dtype, rank and up to 6 dims and strides.
    const most = 4 + operands.length * 15 + numbers.length
    if (start + most > this.#words.length) {
      const grown = new Float64Array(Math.max(2 * this.#words.length, start + most))
      grown.set(this.words)
      this.#words = grown
    }
    const words = this.#words
    let at = start
    words[at] = opcode
    words[at + 2] = operands.length
    words[at + 3] = numbers.length
    at += 4
    for (const operand of operands) {
      if (!operand) {
        words[at++] = 0
        continue
      }
      const { dtype, shape, strides } = operand
      words[at++] = this.addressOf(operand)
      words[at++] = dtypeCode[dtype]
      words[at++] = shape.length
      for (let i = 0; i < shape.length; i++) words[at++] = shape[i]
      for (let i = 0; i < shape.length; i++) words[at++] = strides[i]
    }
    for (const number of numbers) words[at++] = number
    words[start + 1] = at - start
    this.#length = at
  }
}
