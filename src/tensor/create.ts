// Tensors from host values: numbers, typed arrays, bytes, and constant fills.

import { launch } from '../backend/kernels.js'
import { type Backend, bytesPerElement, type Dtype } from '../backend/types.js'
import { ShapeError } from '../errors.js'
import { defaultBackend } from './device.js'
import { elementCount, type Shape } from './shape.js'
import { empty, Storage, Tensor } from './tensor.js'

/** Numbers, nested as the shape is, or a flat typed array. */
export type TensorData = number | readonly TensorData[] | Float32Array | Int32Array | Uint8Array | Int8Array

export interface TensorOptions {
  /** Default: that of the typed array, float32 for plain numbers. */
  dtype?: Dtype
  /** Default: the shape of the nesting; flat for typed arrays. */
  shape?: Shape
  /** Default: the default device. */
  backend?: Backend
}

const arrayOf = {
  float32: Float32Array,
  int32: Int32Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
} as const

function shapeOfNesting(data: TensorData): number[] {
  if (typeof data === 'number') return []
  if (!Array.isArray(data)) return [(data as ArrayLike<number>).length]
  return data.length === 0 ? [0] : [data.length, ...shapeOfNesting(data[0])]
}

function flatten(data: TensorData, shape: Shape, out: number[], depth = 0): void {
  if (typeof data === 'number') {
    if (depth !== shape.length) throw new ShapeError('tensor', [shape], 'expected rows of equal length')
    out.push(data)
    return
  }
  if (depth >= shape.length || data.length !== shape[depth])
    throw new ShapeError(
      'tensor',
      [shape],
      `expected ${shape[depth] ?? 0} elements on axis ${depth}, got ${data.length}`,
    )
  for (const item of data as readonly TensorData[]) flatten(item, shape, out, depth + 1)
}

/** Makes a tensor from host values. float16 and bfloat16 are rounded on the device. */
export function tensor(data: TensorData, options: TensorOptions = {}): Tensor {
  const backend = options.backend ?? defaultBackend()
  const typed = ArrayBuffer.isView(data)
  const natural: Dtype =
    data instanceof Int32Array
      ? 'int32'
      : data instanceof Uint8Array
        ? 'uint8'
        : data instanceof Int8Array
          ? 'int8'
          : 'float32'
  const dtype = options.dtype ?? (typed ? natural : 'float32')
  const shape = options.shape ?? shapeOfNesting(data)
  const values = typed ? (data as Float32Array) : nestedValues(data, options.shape)
  if (values.length !== elementCount(shape))
    throw new ShapeError('tensor', [shape], `expected ${elementCount(shape)} values, got ${values.length}`)
  const wide = dtype === 'float16' || dtype === 'bfloat16' ? 'float32' : dtype
  const host = typed && natural === wide ? (data as Float32Array) : arrayOf[wide].from(values as ArrayLike<number>)
  const result = empty(backend, shape, wide)
  backend.upload(result.buffer, 0, new Uint8Array(host.buffer, host.byteOffset, host.byteLength))
  if (wide === dtype) return result
  const rounded = empty(backend, shape, dtype)
  launch(backend, 'copy', { input: result, out: rounded }, {})
  result.dispose()
  return rounded
}

function nestedValues(data: TensorData, shape?: Shape): number[] {
  const out: number[] = []
  const nesting = shapeOfNesting(data)
  if (shape && nesting.length === 1) return [...(data as readonly number[])]
  flatten(data, nesting, out)
  return out
}

/** Makes a tensor from bytes that already have the layout of `dtype`, little-endian and row-major. */
export function tensorFromBytes(bytes: Uint8Array, shape: Shape, dtype: Dtype, backend = defaultBackend()): Tensor {
  const needed = elementCount(shape) * bytesPerElement[dtype]
  if (bytes.byteLength !== needed)
    throw new ShapeError('tensorFromBytes', [shape], `expected ${needed} bytes of ${dtype}, got ${bytes.byteLength}`)
  const storage = new Storage(backend, backend.allocate(needed))
  backend.upload(storage.buffer, 0, bytes)
  return new Tensor(storage, dtype, shape)
}

/** A tensor of one value everywhere. */
export function full(shape: Shape, value: number, options: Omit<TensorOptions, 'shape'> = {}): Tensor {
  const result = empty(options.backend ?? defaultBackend(), shape, options.dtype)
  launch(result.backend, 'fill', { out: result }, { value })
  return result
}

export function zeros(shape: Shape, options: Omit<TensorOptions, 'shape'> = {}): Tensor {
  return full(shape, 0, options)
}

export function ones(shape: Shape, options: Omit<TensorOptions, 'shape'> = {}): Tensor {
  return full(shape, 1, options)
}
