// The tensor: a handle with a view on reference-counted device memory. Handles made inside a `scope` end with it.

import { launch } from '../backend/kernels.js'
import { type Backend, bytesPerElement, type DeviceBuffer, type Dtype, type Operand } from '../backend/types.js'
import { MambakitError } from '../errors.js'
import type { Edge } from './autograd.js'
import { register, type Scope, unregister } from './scope.js'
import { contiguousStrides, elementCount } from './shape.js'

/** Host arrays by dtype; half precision is widened before it is read. */
const hostArrays = {
  float32: Float32Array,
  int32: Int32Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
} as const
export type TensorValues = Float32Array | Int32Array | Uint8Array | Int8Array

/** Device memory shared by the views on it; freed when the last handle is disposed. */
export class Storage {
  #references = 1
  /** Bumped by every in-place update, so that a gradient computed from stale values is caught. */
  version = 0
  constructor(
    readonly backend: Backend,
    readonly buffer: DeviceBuffer,
  ) {}
  get references(): number {
    return this.#references
  }
  retain(): this {
    this.#references++
    return this
  }
  release(): void {
    if (--this.#references === 0) this.backend.release(this.buffer)
  }
}

export class Tensor implements Operand, Disposable {
  #disposed = false
  /** Where the gradient of this tensor flows; null for constants and leaves. */
  edge: Edge | null = null
  #requiresGrad = false
  /** Accumulated gradient of a leaf, written by `backward`. */
  grad: Tensor | null = null
  /** The scope that ends this handle; null where its holder does. Scopes alone set it. */
  owner: Scope | null = null

  constructor(
    readonly storage: Storage,
    readonly dtype: Dtype,
    readonly shape: readonly number[],
    readonly strides: readonly number[] = contiguousStrides(shape),
    readonly offset: number = 0,
  ) {
    register(this)
  }

  get backend(): Backend {
    return this.storage.backend
  }
  get buffer(): DeviceBuffer {
    if (this.#disposed)
      throw new MambakitError(
        `a tensor of shape (${this.shape.join(', ')}) was used after it was disposed; return it from the scope that made it, or keep() it`,
      )
    return this.storage.buffer
  }
  get size(): number {
    return elementCount(this.shape)
  }
  get rank(): number {
    return this.shape.length
  }
  get disposed(): boolean {
    return this.#disposed
  }

  /** True where operations on this tensor are recorded for `backward`. */
  get requiresGrad(): boolean {
    return this.#requiresGrad || this.edge !== null
  }
  /** Makes this tensor a leaf whose gradient `backward` accumulates in `.grad`. */
  set requiresGrad(value: boolean) {
    if (value && this.dtype !== 'float32' && this.dtype !== 'float16' && this.dtype !== 'bfloat16')
      throw new MambakitError(`requiresGrad: only floating-point tensors have gradients; this one is ${this.dtype}`)
    this.#requiresGrad = value
  }

  /** True if elements lie in row-major order without gaps. */
  get isContiguous(): boolean {
    let expected = 1
    for (let axis = this.shape.length - 1; axis >= 0; axis--) {
      if (this.shape[axis] !== 1 && this.strides[axis] !== expected) return false
      expected *= this.shape[axis]
    }
    return true
  }

  /** A second handle on the same memory, without gradient history; another shape is dense unless strides are given. */
  view(
    shape = this.shape,
    strides = shape === this.shape ? this.strides : contiguousStrides(shape),
    offset = this.offset,
  ): Tensor {
    void this.buffer
    return new Tensor(this.storage.retain(), this.dtype, shape, strides, offset)
  }

  /**
   * Copies the values to the host, in row-major order, once everything enqueued before is done.
   * float16 and bfloat16 come as float32. Throws the first error that a kernel reported (IndexError).
   */
  async data(): Promise<TensorValues> {
    if (this.dtype === 'float16' || this.dtype === 'bfloat16') {
      const wide = empty(this.backend, this.shape, 'float32')
      launch(this.backend, 'copy', { input: this, out: wide }, {})
      const values = wide.data()
      wide.dispose()
      return values
    }
    const bytes = await this.bytes()
    return new hostArrays[this.dtype](bytes.buffer as ArrayBuffer, bytes.byteOffset, this.size)
  }

  /** Copies the values to the host as the bytes of this tensor's own dtype, little-endian and row-major. */
  async bytes(): Promise<Uint8Array> {
    if (this.size === 0) return new Uint8Array(0)
    const width = bytesPerElement[this.dtype]
    if (this.isContiguous)
      return new Uint8Array(await this.backend.download(this.buffer, this.offset * width, this.size * width))
    const copy = empty(this.backend, this.shape, this.dtype)
    launch(this.backend, 'copy', { input: this, out: copy }, {})
    const bytes = copy.bytes()
    copy.dispose()
    return bytes
  }

  /** The value of a tensor of one element. */
  async item(): Promise<number> {
    if (this.size !== 1) throw new MambakitError(`item(): expected one element, this tensor has ${this.size}`)
    return (await this.data())[0]
  }

  /** Ends this handle. The memory is freed with the last handle on it; gradients already recorded keep what they need. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    unregister(this)
    this.edge?.node.release()
    this.edge = null
    this.grad?.dispose()
    this.grad = null
    this.storage.release()
  }
  [Symbol.dispose](): void {
    this.dispose()
  }

  toString(): string {
    return `Tensor(${this.dtype} (${this.shape.join(', ')}) on ${this.backend.device})`
  }
}

/** A new contiguous tensor whose values are not yet set. */
export function empty(backend: Backend, shape: readonly number[], dtype: Dtype = 'float32'): Tensor {
  const bytes = elementCount(shape) * bytesPerElement[dtype]
  return new Tensor(new Storage(backend, backend.allocate(bytes)), dtype, shape)
}
