// Kernels that are sequences of others: what a backend without a form of its own enqueues in their place.
import { launch, type NumbersOf, type OperandsOf, signatures } from './kernels.js'
import type { Backend, DeviceBuffer, Operand, Operation } from './types.js'

type Composite = 'mambaStepIn' | 'mambaStepScan'

/** A float32 tensor that lives until the sequence is enqueued. */
type Scratch = (shape: readonly number[]) => Operand

const sequences: { readonly [K in Composite]: (b: Backend, o: OperandsOf<K>, n: NumbersOf<K>, s: Scratch) => void } = {
  mambaStepIn(backend, { input, normWeight, weight, bias, convWeight, convBias, convState, out }, { eps }, scratch) {
    const [batch, d] = input.shape
    const channels = convState.shape[2]
    const normalized = scratch([1, batch, d])
    launch(backend, 'rmsNorm', { input, weight: normWeight, out: rows(normalized, [batch, d]) }, { eps })
    const xz = scratch([1, batch, 2 * channels])
    launch(backend, 'gemm', { a: normalized, b: layer(weight), bias, out: xz }, product)
    const half = (of: Operand, row: number, part: 0 | 1) => columns(of, row, part * channels, [batch, 1, channels])
    const outRow = out.strides[0]
    launch(
      backend,
      'causalConv1d',
      {
        input: half(xz, 2 * channels, 0),
        weight: convWeight,
        bias: convBias,
        initialState: convState,
        finalState: convState,
        out: half(out, outRow, 0),
      },
      { silu: 1 },
    )
    launch(backend, 'copy', { input: half(xz, 2 * channels, 1), out: half(out, outRow, 1) }, {})
  },

  mambaStepScan(backend, { xz, projected, dtWeight, dtBias, A, D, state, out }, _numbers, scratch) {
    const [batch, channels, N] = state.shape
    const rank = dtWeight.shape[1]
    const row = projected.strides[0]
    const delta = scratch([1, batch, channels])
    const dt: Operand = { ...projected, shape: [1, batch, rank], strides: [0, row, 1] }
    launch(backend, 'gemm', { a: dt, b: layer(dtWeight), out: delta }, product)
    const half = (part: 0 | 1) => columns(xz, xz.strides[0], part * channels, [batch, 1, channels])
    const map = (part: 0 | 1): Operand => ({
      ...projected,
      offset: projected.offset + rank + part * N,
      shape: [batch, 1, 1, N],
      strides: [row, row, N, 1],
    })
    launch(
      backend,
      'selectiveScan',
      {
        u: half(0),
        delta: columns(delta, channels, 0, [batch, 1, channels]),
        A,
        B: map(0),
        C: map(1),
        D,
        z: half(1),
        deltaBias: dtBias,
        initialState: state,
        finalState: state,
        out: columns(out, out.strides[0], 0, [batch, 1, channels]),
      },
      { softplus: 1, reverse: 0, chunk: 1 },
    )
  },
}

const product = { transposeA: 0, transposeB: 1, alpha: 1, accumulate: 0, activation: 0 }
const rows = (operand: Operand, [count, n]: readonly number[]): Operand => ({
  ...operand,
  shape: [count, n],
  strides: [n, 1],
})
/** A matrix as a batch of one. */
const layer = (operand: Operand): Operand => ({
  ...operand,
  shape: [1, ...operand.shape],
  strides: [0, ...operand.strides],
})
/** Columns from `first` on of rows that lie `row` apart, as (B, 1, n). */
const columns = (operand: Operand, row: number, first: number, shape: readonly number[]): Operand => ({
  ...operand,
  offset: operand.offset + first,
  shape,
  strides: [row, row, 1],
})

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
