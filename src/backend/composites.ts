// Kernels that are sequences of others: what a backend without a form of its own enqueues in their place.
import { binaryFunctions, launch, type NumbersOf, type OperandsOf, signatures } from './kernels.js'
import type { Backend, DeviceBuffer, Operand, Operation } from './types.js'

type Composite = 'mambaStepIn' | 'mambaStepScan'

/** A float32 tensor that lives until the sequence is enqueued. */
type Scratch = (shape: readonly number[]) => Operand

const sequences: { readonly [K in Composite]: (b: Backend, o: OperandsOf<K>, n: NumbersOf<K>, s: Scratch) => void } = {
  mambaStepIn(backend, operands, { eps }, scratch) {
    const { stream, normWeight, weight, bias, convWeight, convBias, convState, xWeight, out, projected } = operands
    const [parts, batch, d] = stream.shape
    const channels = convState.shape[2]
    const whole = member(stream, 0)
    for (let s = 1; s < parts; s++)
      launch(backend, 'binary', { a: whole, b: member(stream, s), out: whole }, { function: add })
    const normalized = scratch([1, batch, d])
    launch(backend, 'rmsNorm', { input: whole, weight: normWeight, out: member(normalized, 0) }, { eps })
    const xz = scratch([1, batch, 2 * channels])
    launch(backend, 'gemm', { a: normalized, b: layer(weight), bias, out: xz }, product)
    const x = scratch([batch, 1, channels])
    const state = { initialState: convState, finalState: convState }
    const half = (of: Operand, part: 0 | 1) => columns(of, part * channels, channels)
    launch(
      backend,
      'causalConv1d',
      { input: half(member(xz, 0), 0), weight: convWeight, bias: convBias, ...state, out: x },
      { silu: 1, reverse: 0 },
    )
    launch(backend, 'copy', { input: x, out: half(out, 0) }, {})
    launch(backend, 'copy', { input: half(member(xz, 0), 1), out: half(out, 1) }, {})
    const [blocks] = projected.shape
    const blocked = (rows: Operand, row: number, count: number): Operand => ({
      ...rows,
      shape: [blocks, count, channels / blocks],
      strides: [channels / blocks, row, 1],
    })
    const [a, b] = [blocked(x, channels, batch), blocked(xWeight, xWeight.strides[0], xWeight.shape[0])]
    launch(backend, 'gemm', { a, b, out: projected }, product)
  },

  mambaStepScan(backend, { xz, projected, dtWeight, dtBias, A, D, state, out }, _numbers, scratch) {
    const [batch, channels, N] = state.shape
    const rank = dtWeight.shape[1]
    /** The same values as float32. */
    const single = (operand: Operand): Operand => {
      if (operand.dtype === 'float32') return operand
      const copy = scratch(operand.shape)
      launch(backend, 'copy', { input: operand, out: copy }, {})
      return copy
    }
    const [parts] = projected.shape
    const maps = parts === 1 ? member(projected, 0) : scratch(projected.shape.slice(1))
    if (parts > 1) {
      launch(backend, 'copy', { input: member(projected, 0), out: maps }, {})
      for (let p = 1; p < parts; p++)
        launch(backend, 'binary', { a: maps, b: member(projected, p), out: maps }, { function: add })
    }
    const halves = single(xz)
    const delta = scratch([1, batch, channels])
    const dt: Operand = { ...maps, shape: [1, batch, rank], strides: [0, maps.strides[0], 1] }
    launch(backend, 'gemm', { a: dt, b: layer(dtWeight), out: delta }, product)
    const map = (part: 0 | 1): Operand => {
      const { shape, strides, ...rest } = columns(maps, rank + part * N, N)
      return { ...rest, shape: [batch, 1, 1, N], strides: [strides[0], strides[1], N, 1] }
    }
    const y = out.dtype === 'float32' ? columns(out, 0, channels) : scratch([batch, 1, channels])
    const inputs = {
      u: columns(halves, 0, channels),
      delta: columns(member(delta, 0), 0, channels),
      A,
      B: map(0),
      C: map(1),
    }
    const rest = {
      D,
      z: columns(halves, channels, channels),
      deltaBias: dtBias,
      initialState: state,
      finalState: state,
    }
    launch(
      backend,
      'selectiveScan',
      { ...inputs, ...rest, out: y },
      { softplus: 1, reverse: 0, chunk: 1, window: 0, byStep: 0 },
    )
    if (out.dtype !== 'float32') launch(backend, 'copy', { input: y, out: columns(out, 0, channels) }, {})
  },
}

const add = binaryFunctions.indexOf('add')
const product = { transposeA: 0, transposeB: 1, alpha: 1, accumulate: 0, activation: 0 }
/** A matrix as a batch of one. */
const layer = (operand: Operand): Operand => ({
  ...operand,
  shape: [1, ...operand.shape],
  strides: [0, ...operand.strides],
})
/** A member of the outermost axis. */
const member = (operand: Operand, i: number): Operand => ({
  ...operand,
  offset: operand.offset + i * operand.strides[0],
  shape: operand.shape.slice(1),
  strides: operand.strides.slice(1),
})
/** Columns of (B, ...) from `first` on as a sequence of one, (B, 1, n). */
const columns = (operand: Operand, first: number, n: number): Operand => {
  const [batch] = operand.shape
  const [row] = operand.strides
  return { ...operand, offset: operand.offset + first, shape: [batch, 1, n], strides: [row, row, 1] }
}

/** Enqueues the parts of a composite. False where the operation is none. */
export function enqueueParts(backend: Backend, { kernel, operands, numbers }: Operation): boolean {
  if (!(kernel in sequences)) return false
  const { operandNames, numberNames } = signatures[kernel]
  const named = Object.fromEntries(operandNames.map((name, i) => [name, operands[i] ?? null]))
  const values = Object.fromEntries(numberNames.map((name, i) => [name, numbers[i]]))
  const buffers: DeviceBuffer[] = []
  const scratch: Scratch = (shape) => {
    const buffer = backend.allocate(4 * shape.reduce((a, b) => a * b, 1))
    buffers.push(buffer)
    const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1))
    return { buffer, offset: 0, dtype: 'float32', shape, strides }
  }
  const enqueue = sequences[kernel as Composite] as (b: Backend, o: unknown, n: unknown, s: Scratch) => void
  enqueue(backend, named, values, scratch)
  for (const buffer of buffers) backend.release(buffer)
  return true
}
