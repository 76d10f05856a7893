// Element-wise operations with NumPy broadcasting, and their gradients.
import {
  type BinaryFunction,
  binaryFunctions,
  launch,
  type UnaryFunction,
  unaryFunctions,
} from '../../backend/kernels.js'
import type { Dtype } from '../../backend/types.js'
import { DtypeError } from '../../errors.js'
import { autocastDtype } from '../autocast.js'
import { differentiable } from '../autograd.js'
import { full } from '../create.js'
import { broadcastShapes, broadcastStrides } from '../shape.js'
import { empty, type Tensor } from '../tensor.js'
import { sumTo } from './raw.js'

export function isFloat(dtype: Dtype): boolean {
  return dtype === 'float32' || dtype === 'float16' || dtype === 'bfloat16'
}

export function requireFloat(operation: string, ...tensors: readonly (Tensor | null | undefined)[]): void {
  for (const tensor of tensors)
    if (tensor && !isFloat(tensor.dtype))
      throw new DtypeError(operation, [tensor.dtype], 'expected a floating-point tensor; cast() it first')
}

function unary(name: UnaryFunction, input: Tensor, alpha = 0, beta = 0): Tensor {
  if (name !== 'not') requireFloat(name, input)
  const numbers = { function: unaryFunctions.indexOf(name), alpha, beta }
  return differentiable({
    name,
    inputs: [input],
    forward: () => {
      const out = empty(input.backend, input.shape, name === 'not' ? 'bool' : input.dtype)
      launch(input.backend, 'unary', { input, out }, numbers)
      return out
    },
    save: () => [input],
    backward: ([gradOut], [saved]) => {
      const gradIn = empty(saved.backend, saved.shape, saved.dtype)
      launch(saved.backend, 'unaryGrad', { input: saved, gradOut: gradOut!, gradIn }, numbers)
      return [gradIn]
    },
  })
}

export const neg = (x: Tensor): Tensor => unary('neg', x)
export const abs = (x: Tensor): Tensor => unary('abs', x)
export const exp = (x: Tensor): Tensor => unary('exp', x)
export const log = (x: Tensor): Tensor => unary('log', x)
export const sqrt = (x: Tensor): Tensor => unary('sqrt', x)
export const rsqrt = (x: Tensor): Tensor => unary('rsqrt', x)
export const square = (x: Tensor): Tensor => unary('square', x)
export const reciprocal = (x: Tensor): Tensor => unary('reciprocal', x)
export const sin = (x: Tensor): Tensor => unary('sin', x)
export const cos = (x: Tensor): Tensor => unary('cos', x)
export const tanh = (x: Tensor): Tensor => unary('tanh', x)
export const sigmoid = (x: Tensor): Tensor => unary('sigmoid', x)
/** x * sigmoid(x). */
export const silu = (x: Tensor): Tensor => unary('silu', x)
export const relu = (x: Tensor): Tensor => unary('relu', x)
export const relu6 = (x: Tensor): Tensor => unary('relu6', x)
/** x * Phi(x), by the error function, or by PyTorch's tanh approximation. */
export const gelu = (x: Tensor, approximate: 'none' | 'tanh' = 'none'): Tensor =>
  unary(approximate === 'tanh' ? 'geluTanh' : 'gelu', x)
/** log(1 + e^x), x itself above 20. */
export const softplus = (x: Tensor): Tensor => unary('softplus', x)
export const elu = (x: Tensor, alpha = 1): Tensor => unary('elu', x, alpha)
export const leakyRelu = (x: Tensor, negativeSlope = 0.01): Tensor => unary('leakyRelu', x, negativeSlope)
export const hardsigmoid = (x: Tensor): Tensor => unary('hardsigmoid', x)
export const hardswish = (x: Tensor): Tensor => unary('hardswish', x)
export const mish = (x: Tensor): Tensor => unary('mish', x)
export const logSigmoid = (x: Tensor): Tensor => unary('logSigmoid', x)
export const expm1 = (x: Tensor): Tensor => unary('expm1', x)
export const log1p = (x: Tensor): Tensor => unary('log1p', x)
export const erf = (x: Tensor): Tensor => unary('erf', x)
export const sign = (x: Tensor): Tensor => unary('sign', x)
export const floor = (x: Tensor): Tensor => unary('floor', x)
/** scale * x + shift. */
export const affine = (x: Tensor, scale: number, shift = 0): Tensor => unary('affine', x, scale, shift)
/** x limited to [low, high]; the gradient is 0 outside. */
export const clamp = (x: Tensor, low: number, high: number): Tensor => unary('clamp', x, low, high)
/** Logical not of a bool tensor. */
export const not = (x: Tensor): Tensor => unary('not', x)

const comparisons: readonly BinaryFunction[] = [
  'equal',
  'notEqual',
  'less',
  'lessEqual',
  'greater',
  'greaterEqual',
  'and',
  'or',
]

/** A tensor, or a number that takes the other operand's dtype. */
export type Scalar = Tensor | number

function asTensor(value: Scalar, other: Tensor): Tensor {
  return typeof value === 'number' ? full([], value, { dtype: other.dtype, backend: other.backend }) : value
}

type BinaryBackward = (gradOut: Tensor, a: Tensor, b: Tensor, out: Tensor) => [() => Tensor, () => Tensor]

/** Both operands in one dtype: as they are, or inside `autocast`, where floats of two widths meet, in float32. */
function oneDtype(name: string, a: Tensor, b: Tensor): [Tensor, Tensor] {
  if (a.dtype === b.dtype) return [a, b]
  if (autocastDtype() && isFloat(a.dtype) && isFloat(b.dtype)) return [cast(a, 'float32'), cast(b, 'float32')]
  throw new DtypeError(name, [a.dtype, b.dtype], 'expected one dtype on both sides; cast() one')
}

function binary(name: BinaryFunction, left: Scalar, right: Scalar, gradients?: BinaryBackward): Tensor {
  const known = (typeof left === 'number' ? right : left) as Tensor
  const [a, b] = oneDtype(name, asTensor(left, known), asTensor(right, known))
  const shape = broadcastShapes(name, a.shape, b.shape)
  const compare = comparisons.includes(name)
  const forward = () => {
    const out = empty(a.backend, shape, compare ? 'bool' : a.dtype)
    const spread = (t: Tensor) => ({
      buffer: t.buffer,
      offset: t.offset,
      dtype: t.dtype,
      shape,
      strides: broadcastStrides(t.shape, t.strides, shape),
    })
    launch(a.backend, 'binary', { a: spread(a), b: spread(b), out }, { function: binaryFunctions.indexOf(name) })
    return out
  }
  if (compare || !gradients) return forward()
  return differentiable({
    name,
    inputs: [a, b],
    forward,
    save: (out) => [a, b, out],
    backward: ([gradOut], [x, y, out], needed) => {
      const [gradA, gradB] = gradients(gradOut!, x, y, out)
      return [needed[0] ? sumTo(gradA(), x.shape) : null, needed[1] ? sumTo(gradB(), y.shape) : null]
    },
  })
}

export const add = (a: Scalar, b: Scalar): Tensor => binary('add', a, b, (g) => [() => g, () => g])
export const sub = (a: Scalar, b: Scalar): Tensor => binary('sub', a, b, (g) => [() => g, () => neg(g)])
export const mul = (a: Scalar, b: Scalar): Tensor =>
  typeof b === 'number' && typeof a !== 'number'
    ? affine(a, b)
    : binary('mul', a, b, (g, x, y) => [() => mul(g, y), () => mul(g, x)])
export const div = (a: Scalar, b: Scalar): Tensor =>
  binary('div', a, b, (g, _x, y, out) => [() => div(g, y), () => neg(div(mul(g, out), y))])
/** The larger value; where both are equal each takes half the gradient (as PyTorch does). */
export const maximum = (a: Scalar, b: Scalar): Tensor =>
  binary('max', a, b, (g, x, y) => [() => mul(g, preference(x, y)), () => mul(g, preference(y, x))])
/** The smaller value; where both are equal each takes half the gradient (as PyTorch does). */
export const minimum = (a: Scalar, b: Scalar): Tensor =>
  binary('min', a, b, (g, x, y) => [() => mul(g, preference(y, x)), () => mul(g, preference(x, y))])
/** a to the power b. */
export const pow = (a: Scalar, b: Scalar): Tensor =>
  typeof b === 'number' && typeof a !== 'number'
    ? unary('pow', a, b)
    : binary('pow', a, b, (g, x, y, out) => [() => mul(g, mul(y, pow(x, sub(y, 1)))), () => mul(g, mul(out, log(x)))])

export const equal = (a: Scalar, b: Scalar): Tensor => binary('equal', a, b)
export const notEqual = (a: Scalar, b: Scalar): Tensor => binary('notEqual', a, b)
export const less = (a: Scalar, b: Scalar): Tensor => binary('less', a, b)
export const lessEqual = (a: Scalar, b: Scalar): Tensor => binary('lessEqual', a, b)
export const greater = (a: Scalar, b: Scalar): Tensor => binary('greater', a, b)
export const greaterEqual = (a: Scalar, b: Scalar): Tensor => binary('greaterEqual', a, b)
export const and = (a: Tensor, b: Tensor): Tensor => binary('and', a, b)
export const or = (a: Tensor, b: Tensor): Tensor => binary('or', a, b)

/** 1 where x > y, 1/2 where they are equal, 0 elsewhere. */
function preference(x: Tensor, y: Tensor): Tensor {
  return affine(add(cast(greater(x, y), x.dtype), cast(greaterEqual(x, y), x.dtype)), 0.5)
}

/** The same values in another dtype. Gradients are cast back. */
export function cast(input: Tensor, dtype: Dtype): Tensor {
  if (input.dtype === dtype) return input
  return differentiable({
    name: 'cast',
    inputs: [input],
    forward: () => {
      const out = empty(input.backend, input.shape, dtype)
      launch(input.backend, 'copy', { input, out }, {})
      return out
    },
    backward: ([gradOut]) => [cast(gradOut!, input.dtype)],
  })
}

/** condition ? a : b, all broadcast together. */
export function where(condition: Tensor, a: Scalar, b: Scalar): Tensor {
  if (condition.dtype !== 'bool') throw new DtypeError('where', [condition.dtype], 'expected a bool condition')
  const known = (typeof a === 'number' ? b : a) as Tensor
  const [x, y] = oneDtype('where', asTensor(a, known), asTensor(b, known))
  const shape = broadcastShapes('where', condition.shape, broadcastShapes('where', x.shape, y.shape))
  const spread = (t: Tensor) => ({
    buffer: t.buffer,
    offset: t.offset,
    dtype: t.dtype,
    shape,
    strides: broadcastStrides(t.shape, t.strides, shape),
  })
  return differentiable({
    name: 'where',
    inputs: [x, y],
    forward: () => {
      const out = empty(x.backend, shape, x.dtype)
      launch(x.backend, 'select', { condition: spread(condition), a: spread(x), b: spread(y), out }, {})
      return out
    },
    save: () => [condition],
    backward: ([gradOut], [chosen]) => [
      sumTo(where(chosen, gradOut!, 0), x.shape),
      sumTo(where(chosen, 0, gradOut!), y.shape),
    ],
  })
}
