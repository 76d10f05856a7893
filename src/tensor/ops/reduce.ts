// Reductions over axes, softmax, and their gradients.
import { launch } from '../../backend/kernels.js'
import { differentiable } from '../autograd.js'
import { normalizeAxis, type Shape } from '../shape.js'
import { empty, type Tensor } from '../tensor.js'
import { affine, cast, div, equal, mul, requireFloat } from './elementwise.js'
import { asRows, expanded, reduceAxes } from './raw.js'
import { reshape, transpose } from './shape.js'

export interface ReduceOptions {
  /** Axes to reduce; default all. */
  axis?: number | readonly number[]
  /** Keep reduced axes with extent 1. Default false. */
  keepDims?: boolean
}

function axesOf(operation: string, input: Tensor, axis: ReduceOptions['axis']): number[] {
  if (axis === undefined) return input.shape.map((_, i) => i)
  return [axis].flat().map((a) => normalizeAxis(operation, a as number, input.rank))
}

/** Values of a reduced shape, repeated over the reduced axes again. */
function spreadBack(reduced: Tensor, shape: Shape, axes: readonly number[]): Tensor {
  const kept = shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent))
  return expanded(reshape(reduced, kept), shape)
}

/** Sum over axes. */
export function sum(input: Tensor, options: ReduceOptions = {}): Tensor {
  const axes = axesOf('sum', input, options.axis)
  return differentiable({
    name: 'sum',
    inputs: [input],
    forward: () => reduceAxes('sum', input, axes, options.keepDims),
    backward: ([gradOut]) => [spreadBack(gradOut!, input.shape, axes)],
  })
}

/** Mean over axes. */
export function mean(input: Tensor, options: ReduceOptions = {}): Tensor {
  const count = axesOf('mean', input, options.axis).reduce((n, axis) => n * input.shape[axis], 1)
  return affine(sum(input, options), 1 / count)
}

/** Sum of the squares of all elements, of shape (). Not recorded. */
export function sumSquares(input: Tensor): Tensor {
  return reduceAxes('sumSquares', input, axesOf('sumSquares', input, undefined))
}

function extreme(kind: 'max' | 'min', input: Tensor, options: ReduceOptions): Tensor {
  const axes = axesOf(kind, input, options.axis)
  return differentiable({
    name: kind,
    inputs: [input],
    forward: () => reduceAxes(kind, input, axes, options.keepDims),
    save: (out) => [input, out],
    // Equal extremes share the gradient evenly (as PyTorch's amax does).
    backward: ([gradOut], [x, out]) => {
      const hit = cast(equal(x, spreadBack(out, x.shape, axes)), x.dtype)
      return [div(mul(hit, spreadBack(gradOut!, x.shape, axes)), sum(hit, { axis: axes, keepDims: true }))]
    },
  })
}

/** Largest value over axes; NaN if any is NaN. */
export const max = (input: Tensor, options: ReduceOptions = {}): Tensor => extreme('max', input, options)
/** Smallest value over axes; NaN if any is NaN. */
export const min = (input: Tensor, options: ReduceOptions = {}): Tensor => extreme('min', input, options)

/** Index of the first largest value along an axis, int32. */
export function argmax(input: Tensor, axis = -1): Tensor {
  return reduceAxes('argmax', input, [normalizeAxis('argmax', axis, input.rank)])
}

function softmaxLike(name: 'softmax' | 'logSoftmax', input: Tensor, axis: number): Tensor {
  requireFloat(name, input)
  const at = normalizeAxis(name, axis, input.rank)
  if (at !== input.rank - 1) return transpose(softmaxLike(name, transpose(input, at, -1), -1), at, -1)
  const numbers = { log: name === 'logSoftmax' ? 1 : 0 }
  return differentiable({
    name,
    inputs: [input],
    forward: () => {
      const out = empty(input.backend, input.shape, input.dtype)
      launch(input.backend, 'softmax', { input: asRows(input), out: asRows(out) }, numbers)
      return out
    },
    save: (out) => [out],
    backward: ([gradOut], [out]) => {
      const gradIn = empty(out.backend, out.shape, out.dtype)
      const operands = { output: asRows(out), gradOut: asRows(gradOut!), gradIn: asRows(gradIn) }
      launch(out.backend, 'softmaxGrad', operands, numbers)
      return [gradIn]
    },
  })
}

/** exp(x) / sum exp(x) along an axis. */
export const softmax = (input: Tensor, axis = -1): Tensor => softmaxLike('softmax', input, axis)
/** log softmax along an axis, without overflow. */
export const logSoftmax = (input: Tensor, axis = -1): Tensor => softmaxLike('logSoftmax', input, axis)
