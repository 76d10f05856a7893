// Unrecorded building blocks that operations and their gradients share: dense copies, row views, axis reductions.
import { launch, type Reduction, reductions } from '../../backend/kernels.js'
import type { Operand } from '../../backend/types.js'
import { broadcastStrides, elementCount, mergeLeading, type Shape, sameShape } from '../shape.js'
import { empty, Tensor } from '../tensor.js'

/** The same values, dense and row-major; the input itself where it already is. */
export function dense(input: Tensor): Tensor {
  if (input.isContiguous) return input
  const out = empty(input.backend, input.shape, input.dtype)
  launch(input.backend, 'copy', { input, out }, {})
  return out
}

/** The same values in another dtype; the input itself where it has it already. */
export function converted(input: Tensor, dtype: Tensor['dtype']): Tensor {
  if (input.dtype === dtype) return input
  const out = empty(input.backend, input.shape, dtype)
  launch(input.backend, 'copy', { input, out }, {})
  return out
}

/** An operand of a tensor's memory under another shape. */
export function operand(source: Tensor, shape: Shape, strides: Shape, offset = source.offset): Operand {
  return { buffer: source.buffer, offset, dtype: source.dtype, shape, strides }
}

/** A tensor as rows (R, ...inner trailing axes) for kernels that work on rows; copied only if its strides do not allow a view. */
export function asRows(input: Tensor, inner = 1): Operand {
  const shape = input.shape.slice(input.rank - inner)
  let source = input
  let merged = hasDenseInner(input, inner) ? mergeLeading(input.shape, input.strides, inner) : null
  if (!merged) {
    source = dense(input)
    merged = mergeLeading(source.shape, source.strides, inner)!
  }
  return operand(source, [merged.rows, ...shape], [merged.stride, ...source.strides.slice(input.rank - inner)])
}

function hasDenseInner(input: Tensor, inner: number): boolean {
  let expected = 1
  for (let axis = input.rank - 1; axis >= input.rank - inner; axis--) {
    if (input.shape[axis] !== 1 && input.strides[axis] !== expected) return false
    expected *= input.shape[axis]
  }
  return true
}

/** True if the last axis is dense, as kernels want it. */
export function hasDenseLast(input: Tensor): boolean {
  return input.rank === 0 || input.shape[input.rank - 1] === 1 || input.strides[input.rank - 1] === 1
}

/** A view repeated over `shape` by strides of 0. */
export function expanded(input: Tensor, shape: Shape): Tensor {
  if (sameShape(input.shape, shape)) return input
  return input.view(shape, broadcastStrides(input.shape, input.strides, shape))
}

function reduceAxis(kind: Reduction, input: Tensor, axis: number): Tensor {
  const shape = input.shape.filter((_, i) => i !== axis)
  const out = empty(input.backend, shape, kind === 'argmax' || kind === 'argmin' ? 'int32' : input.dtype)
  const inner = elementCount(input.shape.slice(axis + 1))
  const n = input.shape[axis]
  const rows = elementCount(input.shape.slice(0, axis))
  launch(
    input.backend,
    'reduce',
    {
      input: operand(input, [rows, n, inner], [n * inner, inner, 1]),
      out: operand(out, [rows, inner], [inner, 1]),
    },
    { reduction: reductions.indexOf(kind) },
  )
  return out
}

/** Reduces `axes` away (kept with extent 1 where `keepDims`). Neighbouring axes are reduced as one. */
export function reduceAxes(kind: Reduction, input: Tensor, axes: readonly number[], keepDims = false): Tensor {
  const descending = [...axes].sort((a, b) => b - a)
  let result = dense(input)
  for (let i = 0; i < descending.length; ) {
    const last = descending[i]
    let first = last
    while (++i < descending.length && descending[i] === first - 1) first = descending[i]
    const { shape } = result
    const merged = [...shape.slice(0, first), elementCount(shape.slice(first, last + 1)), ...shape.slice(last + 1)]
    result = reduceAxis(
      kind,
      new Tensor(result.storage.retain(), result.dtype, merged, undefined, result.offset),
      first,
    )
  }
  const shape = input.shape.flatMap((extent, axis) => (!axes.includes(axis) ? [extent] : keepDims ? [1] : []))
  return new Tensor(result.storage.retain(), result.dtype, shape, undefined, result.offset)
}

/** Sums a gradient over the axes that broadcasting repeated. */
export function sumTo(grad: Tensor, shape: Shape): Tensor {
  if (sameShape(grad.shape, shape)) return grad
  const lead = grad.rank - shape.length
  const axes = grad.shape.flatMap((extent, axis) =>
    axis < lead || (shape[axis - lead] === 1 && extent !== 1) ? [axis] : [],
  )
  const reduced = reduceAxes('sum', grad, axes, true)
  return new Tensor(reduced.storage.retain(), reduced.dtype, shape, undefined, reduced.offset)
}
