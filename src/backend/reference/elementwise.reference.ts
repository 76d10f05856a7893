// Element-wise kernels in float64: fill, copy, select, axpby, and the tables of unary and binary functions with their
// derivatives.
import { type BinaryFunction, binaryFunctions, type UnaryFunction, unaryFunctions } from '../kernels.js'
import type { ReferenceKernel } from './view.js'

interface Differentiable {
  readonly f: (x: number, alpha: number, beta: number) => number
  readonly derivative: (x: number, alpha: number, beta: number) => number
}

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))
export const silu = (x: number): number => x * sigmoid(x)
export const siluDerivative = (x: number): number => sigmoid(x) * (1 + x * (1 - sigmoid(x)))
/** log(1 + e^x), the identity above 20 (as the official kernel has it). */
export const softplus = (x: number): number => (x > 20 ? x : Math.log1p(Math.exp(x)))
export const softplusDerivative = (x: number): number => (x > 20 ? 1 : sigmoid(x))

/** The error function by its series e^(-x^2) sum 2^n x^(2n+1) / (1 3 5 ... (2n+1)), whose terms have one sign. */
export function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x)
  let term = x
  let sum = x
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1)
    sum += term
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum
}

const normalCdf = (x: number): number => 0.5 * (1 + erf(x / Math.SQRT2))
const normalDensity = (x: number): number => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)

const tanhInner = (x: number): number => Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)
const tanhInnerDerivative = (x: number): number => Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x * x)
const sech2 = (x: number): number => 1 - Math.tanh(x) ** 2

/** `inside` where x lies strictly between the bounds, else 0. */
const within = (x: number, low: number, high: number, inside: number): number => (x > low && x < high ? inside : 0)

const constant = { derivative: () => 0 }

export const unaryTable: Readonly<Record<UnaryFunction, Differentiable>> = {
  neg: { f: (x) => -x, derivative: () => -1 },
  abs: { f: Math.abs, derivative: Math.sign },
  exp: { f: Math.exp, derivative: Math.exp },
  log: { f: Math.log, derivative: (x) => 1 / x },
  sqrt: { f: Math.sqrt, derivative: (x) => 0.5 / Math.sqrt(x) },
  rsqrt: { f: (x) => 1 / Math.sqrt(x), derivative: (x) => -0.5 / (x * Math.sqrt(x)) },
  square: { f: (x) => x * x, derivative: (x) => 2 * x },
  reciprocal: { f: (x) => 1 / x, derivative: (x) => -1 / (x * x) },
  sin: { f: Math.sin, derivative: Math.cos },
  cos: { f: Math.cos, derivative: (x) => -Math.sin(x) },
  tanh: { f: Math.tanh, derivative: sech2 },
  sigmoid: { f: sigmoid, derivative: (x) => sigmoid(x) * (1 - sigmoid(x)) },
  silu: { f: silu, derivative: siluDerivative },
  relu: { f: (x) => Math.max(x, 0), derivative: (x) => within(x, 0, Number.POSITIVE_INFINITY, 1) },
  relu6: { f: (x) => Math.min(Math.max(x, 0), 6), derivative: (x) => within(x, 0, 6, 1) },
  gelu: { f: (x) => x * normalCdf(x), derivative: (x) => normalCdf(x) + x * normalDensity(x) },
  geluTanh: {
    f: (x) => 0.5 * x * (1 + Math.tanh(tanhInner(x))),
    derivative: (x) => 0.5 * (1 + Math.tanh(tanhInner(x))) + 0.5 * x * sech2(tanhInner(x)) * tanhInnerDerivative(x),
  },
  softplus: { f: softplus, derivative: softplusDerivative },
  elu: {
    f: (x, alpha) => (x > 0 ? x : alpha * Math.expm1(x)),
    derivative: (x, alpha) => (x > 0 ? 1 : alpha * Math.exp(x)),
  },
  leakyRelu: {
    f: (x, slope) => (x > 0 ? x : slope * x),
    derivative: (x, slope) => (x > 0 ? 1 : slope),
  },
  hardsigmoid: { f: (x) => Math.min(Math.max(x + 3, 0), 6) / 6, derivative: (x) => within(x, -3, 3, 1 / 6) },
  hardswish: {
    f: (x) => (x * Math.min(Math.max(x + 3, 0), 6)) / 6,
    derivative: (x) => (x <= -3 ? 0 : x >= 3 ? 1 : x / 3 + 0.5),
  },
  mish: {
    f: (x) => x * Math.tanh(softplus(x)),
    derivative: (x) => Math.tanh(softplus(x)) + x * sech2(softplus(x)) * softplusDerivative(x),
  },
  logSigmoid: {
    f: (x) => Math.min(x, 0) - Math.log1p(Math.exp(-Math.abs(x))),
    derivative: (x) => sigmoid(-x),
  },
  affine: { f: (x, alpha, beta) => alpha * x + beta, derivative: (_, alpha) => alpha },
  clamp: {
    f: (x, low, high) => Math.min(Math.max(x, low), high),
    derivative: (x, low, high) => (x >= low && x <= high ? 1 : 0),
  },
  sign: { f: Math.sign, ...constant },
  floor: { f: Math.floor, ...constant },
  expm1: { f: Math.expm1, derivative: Math.exp },
  log1p: { f: Math.log1p, derivative: (x) => 1 / (1 + x) },
  erf: { f: erf, derivative: (x) => (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) },
  pow: { f: (x, power) => x ** power, derivative: (x, power) => (power === 0 ? 0 : power * x ** (power - 1)) },
  not: { f: (x) => (x === 0 ? 1 : 0), ...constant },
}

const binaryTable: Readonly<Record<BinaryFunction, (a: number, b: number) => number | boolean>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  max: (a, b) => Math.max(a, b),
  min: (a, b) => Math.min(a, b),
  pow: (a, b) => a ** b,
  equal: (a, b) => a === b,
  notEqual: (a, b) => a !== b,
  less: (a, b) => a < b,
  lessEqual: (a, b) => a <= b,
  greater: (a, b) => a > b,
  greaterEqual: (a, b) => a >= b,
  and: (a, b) => a !== 0 && b !== 0,
  or: (a, b) => a !== 0 || b !== 0,
}

export const fill: ReferenceKernel<'fill'> = ({ out }, { value }) => out.fill(value)

export const copy: ReferenceKernel<'copy'> = ({ input, out }) => out.assign(input.values())

export const unary: ReferenceKernel<'unary'> = ({ input, out }, { function: code, alpha, beta }) => {
  const { f } = unaryTable[unaryFunctions[code]]
  out.assign(input.values().map((x) => f(x, alpha, beta)))
}

export const unaryGrad: ReferenceKernel<'unaryGrad'> = (
  { input, gradOut, gradIn },
  { function: code, alpha, beta },
) => {
  const { derivative } = unaryTable[unaryFunctions[code]]
  const x = input.values()
  gradIn.assign(gradOut.values().map((grad, i) => grad * derivative(x[i], alpha, beta)))
}

export const binary: ReferenceKernel<'binary'> = ({ a, b, out }, { function: code }) => {
  const f = binaryTable[binaryFunctions[code]]
  const right = b.values()
  out.assign(a.values().map((left, i) => Number(f(left, right[i]))))
}

export const select: ReferenceKernel<'select'> = ({ condition, a, b, out }) => {
  const left = a.values()
  const right = b.values()
  out.assign(condition.values().map((chosen, i) => (chosen ? left[i] : right[i])))
}

export const axpby: ReferenceKernel<'axpby'> = ({ a, b, out }, { alpha, beta }) => {
  const right = b.values()
  out.assign(a.values().map((left, i) => alpha * left + beta * right[i]))
}
