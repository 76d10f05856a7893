// Host-side operands for the kernel suite: seeded random contents laid out with offsets, row padding or any strides.
import { fromHost, toHost } from '../hostFormat.js'
import type { KernelName, NumbersOf, OperandsOf } from '../kernels.js'
import { positionsOf } from '../positions.js'
import type { Dtype } from '../types.js'

/** A view of host memory. Two operands that share one `memory` object share memory on the device too. */
export interface HostOperand {
  readonly memory: HostMemory
  readonly dtype: Dtype
  readonly offset: number
  readonly shape: readonly number[]
  readonly strides: readonly number[]
}

/** Contents of a whole buffer, by element, gaps included. */
export interface HostMemory {
  readonly dtype: Dtype
  readonly values: Float64Array
}

export interface Layout {
  /** Default float32. */
  readonly dtype?: Dtype
  /** Elements before the first. Default 0. */
  readonly offset?: number
  /** Unused elements after each row of the last axis. Default 0. */
  readonly pad?: number
  /** Any strides, in place of row-major ones. */
  readonly strides?: readonly number[]
}

/** What unwritten memory holds: exact in every float and integer dtype. */
export const untouched = 77

export const count = (shape: readonly number[]): number => shape.reduce((n, extent) => n * extent, 1)

function rowMajor(shape: readonly number[], pad: number): number[] {
  const strides: number[] = []
  let stride = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride
    stride = axis === shape.length - 1 ? stride * (shape[axis] + pad) : stride * shape[axis]
  }
  return strides
}

/** An operand of `shape` with the given values in row-major order, rounded to the dtype; a few elements follow it. */
export function operandOf(
  shape: readonly number[],
  value: (i: number) => number,
  layout: Layout = {},
  gap: () => number = () => untouched,
): HostOperand {
  const { dtype = 'float32', offset = 0, pad = 0, strides = rowMajor(shape, pad) } = layout
  const view = { dtype, offset, shape, strides }
  const positions = positionsOf(view)
  const values = Float64Array.from({ length: positions.reduce((m, p) => Math.max(m, p), offset) + 4 }, gap)
  positions.forEach((position, i) => {
    values[position] = value(i)
  })
  return { ...view, memory: { dtype, values: fromHost(toHost(values, dtype), dtype) } }
}

/** The part of an operand from `start` along an axis, in the same memory. */
export function narrow(operand: HostOperand, axis: number, start: number, length: number): HostOperand {
  return {
    ...operand,
    offset: operand.offset + start * operand.strides[axis],
    shape: operand.shape.map((extent, i) => (i === axis ? length : extent)),
  }
}

/** An operand's values in row-major order. */
export function valuesOf(operand: HostOperand): Float64Array {
  return Float64Array.from(positionsOf(operand), (position) => operand.memory.values[position])
}

/** A new dense operand with the values of another at the given positions of an axis, in that order. */
export function permuted(operand: HostOperand, axis: number, order: readonly number[]): HostOperand {
  const values = valuesOf(operand)
  const inner = count(operand.shape.slice(axis + 1))
  const extent = operand.shape[axis]
  const at = (i: number) => {
    const column = i % inner
    const row = Math.floor(i / inner)
    return values[(Math.floor(row / order.length) * extent + order[row % order.length]) * inner + column]
  }
  const shape = operand.shape.map((n, i) => (i === axis ? order.length : n))
  return operandOf(shape, at, { dtype: operand.dtype })
}

/** Seeded draws (a 32-bit mix of a counter): the same numbers in every run and on every machine. */
export class Draw {
  #state: number

  constructor(seed: number) {
    this.#state = seed
  }

  /** Uniform in [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0
    let x = this.#state
    x = Math.imul(x ^ (x >>> 16), 0x21f0aaad)
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97)
    return ((x ^ (x >>> 15)) >>> 0) / 2 ** 32
  }

  /** An operand of uniform values in [low, high). */
  floats(shape: readonly number[], low = -1, high = 1, layout: Layout = {}): HostOperand {
    const value = () => low + (high - low) * this.next()
    return operandOf(shape, value, layout, value)
  }

  /** An operand of uniform integers in [low, high). */
  integers(shape: readonly number[], low: number, high: number, layout: Layout = { dtype: 'int32' }): HostOperand {
    const value = () => low + Math.floor((high - low) * this.next())
    return operandOf(shape, value, { dtype: 'int32', ...layout }, value)
  }

  /** An operand of ones with a probability, and zeros. */
  flags(shape: readonly number[], probability: number, layout: Layout = {}): HostOperand {
    return operandOf(shape, () => (this.next() < probability ? 1 : 0), { dtype: 'uint8', ...layout })
  }

  /** A random order of 0 .. n-1. */
  order(n: number): number[] {
    const order = Array.from({ length: n }, (_, i) => i)
    for (let i = n - 1; i > 0; i--) {
      const j = Math.floor(this.next() * (i + 1))
      const kept = order[i]
      order[i] = order[j]
      order[j] = kept
    }
    return order
  }
}

/** An operand to be written, holding `untouched` before. */
export function output(shape: readonly number[], layout: Layout = {}): HostOperand {
  return operandOf(shape, () => untouched, layout)
}

export interface Tolerance {
  /** Allowed error as a part of the operand's largest expected value. */
  readonly scale: number
  /** Allowed error as a part of each expected value. */
  readonly relative: number
  /** Allowed error of any value. Default 0. */
  readonly absolute?: number
}

export type HostOperandsOf<K extends KernelName> = {
  [O in keyof OperandsOf<K>]: undefined extends OperandsOf<K>[O] ? HostOperand | null | undefined : HostOperand
}

export type HostOperands = Readonly<Record<string, HostOperand | null | undefined>>

/** One launch whose written operands are compared with the reference's. */
export interface KernelCase {
  readonly kernel: KernelName
  readonly name: string
  /** What a gradient needs of the forward launch (states, statistics) comes from the reference. */
  readonly operands: (reference: Launcher) => HostOperands | Promise<HostOperands>
  readonly numbers: Readonly<Record<string, number>>
  readonly tolerance?: Tolerance
  /** The index error that the launch must report. */
  readonly indexError?: { readonly index: number; readonly size: number }
  /** Runs only where long cases are asked for. */
  readonly long?: boolean
}

export function kernelCase<K extends KernelName>(
  kernel: K,
  name: string,
  operands: HostOperandsOf<K> | ((reference: Launcher) => Promise<HostOperandsOf<K>>),
  numbers: NumbersOf<K>,
  extra: Pick<KernelCase, 'tolerance' | 'indexError' | 'long'> = {},
): KernelCase {
  const made = typeof operands === 'function' ? operands : () => operands
  return { kernel, name, operands: made as KernelCase['operands'], numbers, ...extra }
}

/** Values to be equal within a tolerance. */
export interface Comparison {
  readonly operand: string
  readonly got: ArrayLike<number>
  readonly expected: ArrayLike<number>
  readonly tolerance?: Tolerance
}

/** Launches a kernel on the backend under test and returns its written operands in row-major order. */
export type Launcher = <K extends KernelName>(
  kernel: K,
  operands: HostOperandsOf<K>,
  numbers: NumbersOf<K>,
) => Promise<Record<string, Float64Array>>

/** A law that several launches on one backend obey together. */
export interface PropertyCase {
  readonly kernel: KernelName
  readonly name: string
  readonly long?: boolean
  run(launch: Launcher): Promise<Comparison[]>
}

/** Several operands' values joined along an axis, in row-major order. */
export function joined(parts: readonly HostOperand[], axis: number): Float64Array {
  const outer = count(parts[0].shape.slice(0, axis))
  const blocks = parts.map((part) => ({ values: valuesOf(part), length: count(part.shape.slice(axis)) }))
  const all: number[] = []
  for (let row = 0; row < outer; row++)
    for (const { values, length } of blocks) all.push(...values.subarray(row * length, (row + 1) * length))
  return Float64Array.from(all)
}

/** The sum of several operands' values, in row-major order. */
export function summed(parts: readonly HostOperand[]): Float64Array {
  return parts.map(valuesOf).reduce((total, values) => total.map((value, i) => value + values[i]))
}

/** One comparison an output, by name. */
export function compareAll(
  got: Readonly<Record<string, Float64Array>>,
  expected: Readonly<Record<string, Float64Array>>,
  tolerance?: Tolerance,
): Comparison[] {
  return Object.keys(expected).map((operand) => ({
    operand,
    got: got[operand] ?? [],
    expected: expected[operand],
    tolerance,
  }))
}
