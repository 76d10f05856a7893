// Views and rearrangements: reshape, slices, splits, permutations, concatenation. All but copies share memory.
import { launch } from '../../backend/kernels.js'
import { MambakitError, ShapeError } from '../../errors.js'
import { differentiable } from '../autograd.js'
import { zeros } from '../create.js'
import { contiguousStrides, elementCount, normalizeAxis, type Shape, sameShape, viewStrides } from '../shape.js'
import { empty, type Tensor } from '../tensor.js'
import { dense, expanded, hasDenseLast, sumTo } from './raw.js'

/** Copies values into a view of equal shape. */
function copyInto(target: Tensor, source: Tensor): void {
  launch(target.backend, 'copy', { input: source, out: target }, {})
}

/** The same values in row-major order without gaps; the input itself where it already is. */
export function contiguous(input: Tensor): Tensor {
  if (input.isContiguous) return input
  return differentiable({
    name: 'contiguous',
    inputs: [input],
    forward: () => dense(input),
    backward: ([gradOut]) => [gradOut],
  })
}

/** The input with a dense last axis, as kernels want it; copied only where it is not. */
export function denseLast(input: Tensor): Tensor {
  return hasDenseLast(input) ? input : contiguous(input)
}

/** The same values in another shape; one extent may be -1. A view where strides allow, else a copy. */
export function reshape(input: Tensor, shape: Shape): Tensor {
  const known = shape.reduce((n, extent) => (extent === -1 ? n : n * extent), 1)
  const resolved = shape.map((extent) => (extent === -1 ? input.size / known : extent))
  if (elementCount(resolved) !== input.size || resolved.some((extent) => !Number.isInteger(extent) || extent < 0))
    throw new ShapeError('reshape', [input.shape, shape], 'expected shapes of equally many elements')
  if (sameShape(resolved, input.shape)) return input
  return differentiable({
    name: 'reshape',
    inputs: [input],
    forward: () => {
      const strides = input.size > 0 && hasDenseLast(input) ? viewStrides(input.shape, input.strides, resolved) : null
      const source = strides ? input : dense(input)
      return source.view(resolved, strides ?? contiguousStrides(resolved), source.offset)
    },
    backward: ([gradOut]) => [reshape(gradOut!, input.shape)],
  })
}

/** Repeats axes of extent 1 (and new leading axes) up to `shape`, without copying. */
export function expand(input: Tensor, shape: Shape): Tensor {
  if (sameShape(input.shape, shape)) return input
  const lead = shape.length - input.rank
  if (lead < 0 || input.shape.some((extent, axis) => extent !== 1 && extent !== shape[axis + lead]))
    throw new ShapeError('expand', [input.shape, shape], 'expected every extent to be 1 or equal to the target')
  return differentiable({
    name: 'expand',
    inputs: [input],
    forward: () => expanded(input, shape),
    backward: ([gradOut]) => [sumTo(gradOut!, input.shape)],
  })
}

/** Elements [start, end) along an axis, as a view. */
export function slice(input: Tensor, axis: number, start: number, end: number = input.shape[axis]): Tensor {
  const at = normalizeAxis('slice', axis, input.rank)
  if (!(0 <= start && start <= end && end <= input.shape[at]))
    throw new MambakitError(`slice: expected 0 <= start <= end <= ${input.shape[at]}, got ${start} and ${end}`)
  const shape = input.shape.map((extent, i) => (i === at ? end - start : extent))
  return differentiable({
    name: 'slice',
    inputs: [input],
    forward: () => input.view(shape, input.strides, input.offset + start * input.strides[at]),
    backward: ([gradOut]) => {
      const whole = zeros(input.shape, { dtype: gradOut!.dtype, backend: gradOut!.backend })
      copyInto(whole.view(shape, whole.strides, start * whole.strides[at]), gradOut!)
      return [whole]
    },
  })
}

/** Position `index` of an axis, which disappears; a view. */
export function select(input: Tensor, axis: number, index: number): Tensor {
  const at = normalizeAxis('select', axis, input.rank)
  const shape = input.shape.filter((_, i) => i !== at)
  return reshapeView(slice(input, at, index, index + 1), shape, at)
}

/** Drops an axis of extent 1 without copying. */
function reshapeView(input: Tensor, shape: Shape, dropped: number): Tensor {
  const strides = input.strides.filter((_, i) => i !== dropped)
  return differentiable({
    name: 'select',
    inputs: [input],
    forward: () => input.view(shape, strides, input.offset),
    backward: ([gradOut]) => [reshape(gradOut!, input.shape)],
  })
}

/** Consecutive views of the given sizes along an axis; their gradients are joined into one tensor. */
export function split(input: Tensor, sizes: readonly number[], axis = -1): Tensor[] {
  const at = normalizeAxis('split', axis, input.rank)
  if (sizes.reduce((a, b) => a + b, 0) !== input.shape[at])
    throw new MambakitError(`split: expected sizes that add up to ${input.shape[at]}, got ${sizes.join(' + ')}`)
  const starts = sizes.map((_, i) => sizes.slice(0, i).reduce((a, b) => a + b, 0))
  const part = (tensor: Tensor, i: number) =>
    tensor.view(
      tensor.shape.map((extent, j) => (j === at ? sizes[i] : extent)),
      tensor.strides,
      tensor.offset + starts[i] * tensor.strides[at],
    )
  return differentiable({
    name: 'split',
    inputs: [input],
    forward: () => sizes.map((_, i) => part(input, i)),
    backward: (gradOuts) => {
      const whole = empty(input.backend, input.shape, input.dtype)
      gradOuts.forEach((grad, i) => {
        if (grad) copyInto(part(whole, i), grad)
        else launch(whole.backend, 'fill', { out: part(whole, i) }, { value: 0 })
      })
      return [whole]
    },
  })
}

/** Reorders axes: axis i of the result is axis order[i] of the input. A copy, since the last axis must stay dense. */
export function permute(input: Tensor, order: readonly number[]): Tensor {
  if ([...order].sort((a, b) => a - b).some((axis, i) => axis !== i) || order.length !== input.rank)
    throw new MambakitError(`permute: expected each axis of rank ${input.rank} once, got (${order.join(', ')})`)
  if (order.every((axis, i) => axis === i)) return input
  return differentiable({
    name: 'permute',
    inputs: [input],
    forward: () =>
      dense(
        input.view(
          order.map((axis) => input.shape[axis]),
          order.map((axis) => input.strides[axis]),
          input.offset,
        ),
      ),
    backward: ([gradOut]) => [
      permute(
        gradOut!,
        order.map((_, axis) => order.indexOf(axis)),
      ),
    ],
  })
}

/** Exchanges two axes. */
export function transpose(input: Tensor, a = -2, b = -1): Tensor {
  const [i, j] = [normalizeAxis('transpose', a, input.rank), normalizeAxis('transpose', b, input.rank)]
  return permute(
    input,
    input.shape.map((_, axis) => (axis === i ? j : axis === j ? i : axis)),
  )
}

/** Joins tensors along an axis. */
export function concat(inputs: readonly Tensor[], axis = 0): Tensor {
  const [first] = inputs
  if (!first) throw new MambakitError('concat: expected at least one tensor')
  const at = normalizeAxis('concat', axis, first.rank)
  for (const input of inputs)
    if (input.rank !== first.rank || input.shape.some((extent, i) => i !== at && extent !== first.shape[i]))
      throw new ShapeError('concat', [first.shape, input.shape], `expected equal shapes but for axis ${at}`)
  const extents = inputs.map((input) => input.shape[at])
  const starts = extents.map((_, i) => extents.slice(0, i).reduce((a, b) => a + b, 0))
  const shape = first.shape.map((extent, i) => (i === at ? extents.reduce((a, b) => a + b, 0) : extent))
  return differentiable({
    name: 'concat',
    inputs,
    forward: () => {
      const out = empty(first.backend, shape, first.dtype)
      inputs.forEach((input, i) => {
        copyInto(out.view(input.shape, out.strides, starts[i] * out.strides[at]), input)
      })
      return out
    },
    backward: ([gradOut]) =>
      inputs.map((input, i) =>
        gradOut!.view(input.shape, gradOut!.strides, gradOut!.offset + starts[i] * gradOut!.strides[at]),
      ),
  })
}
