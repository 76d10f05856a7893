// Memory of the reference backend and what its kernels see of it. A buffer is raw bytes until a kernel touches it as
// some dtype; from then on it holds one float64 an element, so that floats keep full precision from kernel to kernel
// whatever their dtype says.
import { fromHost, toHost } from '../hostFormat.js'
import type { KernelName, NumbersOf, OperandsOf } from '../kernels.js'
import { positionsOf } from '../positions.js'
import { bytesPerElement, type DeviceBuffer, type Dtype, type Operand } from '../types.js'

export class ReferenceBuffer implements DeviceBuffer {
  #content: { dtype: Dtype; values: Float64Array } | { dtype: null; raw: Uint8Array }
  /** Released memory must not be used any more. */
  released = false

  constructor(readonly bytes: number) {
    this.#content = { dtype: null, raw: new Uint8Array(bytes) }
  }

  /** The buffer's elements as `dtype`. Touching it as another dtype than before reinterprets its bytes. */
  as(dtype: Dtype): Float64Array {
    if (this.#content.dtype !== dtype) this.#content = { dtype, values: fromHost(this.#raw(), dtype) }
    return (this.#content as { values: Float64Array }).values
  }

  write(byteOffset: number, bytes: Uint8Array): void {
    const content = this.#content
    if (content.dtype && byteOffset % bytesPerElement[content.dtype] === 0) {
      content.values.set(fromHost(bytes, content.dtype), byteOffset / bytesPerElement[content.dtype])
    } else {
      const raw = this.#raw()
      raw.set(bytes, byteOffset)
      this.#content = { dtype: null, raw }
    }
  }

  read(byteOffset: number, byteLength: number): Uint8Array {
    return this.#raw().slice(byteOffset, byteOffset + byteLength)
  }

  #raw(): Uint8Array {
    const content = this.#content
    if (content.dtype === null) return content.raw
    const raw = new Uint8Array(this.bytes)
    raw.set(toHost(content.values, content.dtype))
    return raw
  }
}

/** An operand as kernels use it: elements by index, missing trailing indices being 0. */
export class View {
  readonly #data: Float64Array
  readonly #operand: Operand
  // The first five strides as fields of their own: this is the inner loop of everything.
  readonly #s0: number
  readonly #s1: number
  readonly #s2: number
  readonly #s3: number
  readonly #s4: number
  readonly #offset: number
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly rank: number

  constructor(operand: Operand) {
    this.#data = (operand.buffer as ReferenceBuffer).as(operand.dtype)
    this.#operand = operand
    const [s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0] = operand.strides
    this.#s0 = s0
    this.#s1 = s1
    this.#s2 = s2
    this.#s3 = s3
    this.#s4 = s4
    this.#offset = operand.offset
    this.dtype = operand.dtype
    this.shape = operand.shape
    this.rank = operand.shape.length
  }

  #position(i: number, j: number, k: number, l: number, m: number): number {
    return this.#offset + i * this.#s0 + j * this.#s1 + k * this.#s2 + l * this.#s3 + m * this.#s4
  }

  at(i = 0, j = 0, k = 0, l = 0, m = 0): number {
    return this.#data[this.#position(i, j, k, l, m)]
  }

  /** Stores a value as the dtype has it: integers truncate, bool is != 0, floats stay as they are. */
  put(value: number, i = 0, j = 0, k = 0, l = 0, m = 0): void {
    this.#data[this.#position(i, j, k, l, m)] = stored(value, this.dtype)
  }

  add(value: number, i = 0, j = 0, k = 0, l = 0, m = 0): void {
    this.#data[this.#position(i, j, k, l, m)] += value
  }

  /** The same memory with an axis from its end. */
  backwards(axis: number): View {
    const { offset, shape, strides } = this.#operand
    return new View({
      ...this.#operand,
      offset: offset + Math.max(0, shape[axis] - 1) * strides[axis],
      strides: strides.map((stride, i) => (i === axis ? -stride : stride)),
    })
  }

  /** A copy of every element in row-major order. */
  values(): Float64Array {
    return Float64Array.from(positionsOf(this.#operand), (position) => this.#data[position])
  }

  /** Stores values in row-major order. */
  assign(values: ArrayLike<number>): void {
    positionsOf(this.#operand).forEach((position, i) => {
      this.#data[position] = stored(values[i], this.dtype)
    })
  }

  fill(value: number): void {
    for (const position of positionsOf(this.#operand)) this.#data[position] = stored(value, this.dtype)
  }
}

function stored(value: number, dtype: Dtype): number {
  if (dtype === 'float32' || dtype === 'float16' || dtype === 'bfloat16') return value
  if (dtype === 'bool') return value !== 0 ? 1 : 0
  return Number.isNaN(value) ? 0 : Math.trunc(value)
}

export type ViewsOf<K extends KernelName> = {
  [O in keyof OperandsOf<K>]-?: undefined extends OperandsOf<K>[O] ? View | null : View
}

/** Tells the backend of an index outside its table. */
export type ReportIndex = (index: number, size: number) => void

export type ReferenceKernel<K extends KernelName> = (
  views: ViewsOf<K>,
  numbers: NumbersOf<K>,
  reportIndex: ReportIndex,
) => void
