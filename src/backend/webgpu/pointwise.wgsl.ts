// fill, copy, unary, binary, select, axpby and the gates: the functions of the kernel table as WGSL expressions.

import { MissingKernelError } from '../../errors.js'
import {
  type Activation,
  activations,
  type BinaryFunction,
  binaryFunctions,
  type UnaryFunction,
  unaryFunctions,
} from '../kernels.js'
import type { Dtype } from '../types.js'
import { elementwise } from './elementwise.wgsl.js'
import { type Encoder, read, write } from './launcher.js'
import { activationGradText, activationText, special } from './math.wgsl.js'
import { isFloat } from './program.js'

/** x to f(x); alpha and beta are `args.alpha`, `args.beta`. */
const unaryText: Readonly<Record<UnaryFunction, string>> = {
  neg: '-x',
  abs: 'abs(x)',
  exp: 'expOf(x)',
  log: 'logOf(x)',
  sqrt: 'sqrt(x)',
  rsqrt: 'inverseSqrt(x)',
  square: 'x * x',
  reciprocal: '1.0 / x',
  sin: 'sinOf(x)',
  cos: 'cosOf(x)',
  tanh: 'tanhOf(x)',
  sigmoid: 'sigmoid(x)',
  silu: 'silu(x)',
  relu: 'atLeast(x, 0.0)',
  relu6: 'atMost(atLeast(x, 0.0), 6.0)',
  gelu: 'gelu(x)',
  geluTanh: 'geluTanh(x)',
  softplus: 'softplus(x)',
  elu: 'select(args.alpha * expm1Of(x), x, x > 0.0)',
  leakyRelu: 'select(x, args.alpha * x, x < 0.0)',
  hardsigmoid: 'select(select(x / 6.0 + 0.5, 0.0, x < -3.0), 1.0, x > 3.0)',
  hardswish: 'x * select(select(x / 6.0 + 0.5, 0.0, x < -3.0), 1.0, x > 3.0)',
  mish: 'x * tanhOf(softplus(x))',
  logSigmoid: 'select(x, 0.0, x > 0.0) - log1pOf(expOf(-abs(x)))',
  affine: 'args.alpha * x + args.beta',
  clamp: 'atMost(atLeast(x, args.alpha), args.beta)',
  sign: 'select(sign(x), x, isNan(x))',
  floor: 'floor(x)',
  expm1: 'expm1Of(x)',
  log1p: 'log1pOf(x)',
  erf: 'erfOf(x)',
  pow: 'powOf(x, args.alpha)',
  not: 'x',
}

/** Derivatives at x. */
const unaryGradText: Readonly<Record<UnaryFunction, string>> = {
  neg: '-1.0',
  abs: 'sign(x)',
  exp: 'expOf(x)',
  log: '1.0 / x',
  sqrt: '0.5 * inverseSqrt(x)',
  rsqrt: '-0.5 * inverseSqrt(x) / x',
  square: '2.0 * x',
  reciprocal: '-1.0 / (x * x)',
  sin: 'cosOf(x)',
  cos: '-sinOf(x)',
  tanh: 'sechSquared(x)',
  sigmoid: 'sigmoid(x) * sigmoid(-x)',
  silu: 'siluGrad(x)',
  relu: 'select(0.0, 1.0, x > 0.0)',
  relu6: 'select(0.0, 1.0, x > 0.0 && x < 6.0)',
  gelu: 'geluGrad(x)',
  geluTanh: 'geluTanhGrad(x)',
  softplus: 'select(sigmoid(x), 1.0, x > 20.0)',
  elu: 'select(args.alpha * expOf(x), 1.0, x > 0.0)',
  leakyRelu: 'select(1.0, args.alpha, x < 0.0)',
  hardsigmoid: 'select(0.0, 1.0 / 6.0, x > -3.0 && x < 3.0)',
  hardswish: 'select(select(0.0, x / 3.0 + 0.5, x > -3.0), 1.0, x > 3.0)',
  mish: 'mishGrad(x)',
  logSigmoid: 'sigmoid(-x)',
  affine: 'args.alpha',
  clamp: 'select(0.0, 1.0, x >= args.alpha && x <= args.beta)',
  sign: '0.0',
  floor: '0.0',
  expm1: 'expOf(x)',
  log1p: '1.0 / (1.0 + x)',
  erf: '1.1283791671 * expOf(-x * x)',
  pow: 'powGrad(x, args.alpha)',
  not: '0.0',
}
const gradients = `
fn powGrad(x: f32, e: f32) -> f32 { if (e == 0.0) { return 0.0; } return e * powOf(x, e - 1.0); }
fn mishGrad(x: f32) -> f32 { return tanhOf(softplus(x)) + x * sechSquared(softplus(x)) * sigmoid(x); }`

/** Piecewise derivatives, whose comparisons would lose a NaN. */
const piecewise = new Set<UnaryFunction>([
  'abs',
  'relu',
  'relu6',
  'leakyRelu',
  'hardsigmoid',
  'hardswish',
  'clamp',
  'sign',
  'floor',
  'not',
])

/** Functions that integers have too. */
const integerUnary: Partial<Record<UnaryFunction, string>> = {
  neg: '-x',
  abs: 'abs(x)',
  square: 'x * x',
  sign: 'sign(x)',
  relu: 'max(x, 0)',
  affine: 'i32(args.alpha * f32(x) + args.beta)',
  clamp: 'i32(clamp(f32(x), args.alpha, args.beta))',
}

const binaryText: Readonly<Record<BinaryFunction, string>> = {
  add: 'a + b',
  sub: 'a - b',
  mul: 'a * b',
  div: 'a / b',
  max: 'select(select(b, a, a > b), a + b, isNan(a) || isNan(b))',
  min: 'select(select(b, a, a < b), a + b, isNan(a) || isNan(b))',
  pow: 'powOf(a, b)',
  equal: 'a == b',
  notEqual: '!(a == b)',
  less: 'a < b',
  lessEqual: 'a <= b',
  greater: 'a > b',
  greaterEqual: 'a >= b',
  and: 'a != 0 && b != 0',
  or: 'a != 0 || b != 0',
}
const integerBinary: Partial<Record<BinaryFunction, string>> = { max: 'max(a, b)', min: 'min(a, b)' }

const missing = (kernel: string, detail: string) => new MissingKernelError(kernel, 'webgpu', detail)

/** A value of `from` as the accessor type of `to`: floats to integers truncate, to bool by != 0. */
function converted(value: string, from: Dtype, to: Dtype): string {
  if (to === 'bool') return `select(0, 1, ${value} != ${isFloat(from) ? '0.0' : '0'})`
  if (isFloat(to)) return isFloat(from) ? value : `f32(${value})`
  return isFloat(from) ? `i32(${value})` : value
}

export const fill: Encoder<'fill'> = (launcher, { out }, { value }) => {
  const integer = !isFloat(out.dtype)
  elementwise(launcher, {
    label: `fill.${integer}`,
    bindings: { out: write(out) },
    text: integer ? 'out = bitcast<i32>(args.value);' : 'out = args.value;',
    ...(integer ? { integers: { value: Math.trunc(value) | 0 } } : { floats: { value } }),
  })
}

export const copy: Encoder<'copy'> = (launcher, { input, out }) => {
  elementwise(launcher, {
    label: 'copy',
    bindings: { x: read(input), out: write(out) },
    text: `out = ${converted('x', input.dtype, out.dtype)};`,
  })
}

export const unary: Encoder<'unary'> = (launcher, { input, out }, { function: code, alpha, beta }) => {
  const name = unaryFunctions[code]
  const float = isFloat(input.dtype)
  if (!float && name !== 'not' && !integerUnary[name]) throw missing('unary', `${name} of ${input.dtype}`)
  const text =
    name === 'not'
      ? `out = ${converted(`select(0, 1, x == ${float ? '0.0' : '0'})`, 'int32', out.dtype)};`
      : `out = ${converted(`(${float ? unaryText[name] : integerUnary[name]})`, input.dtype, out.dtype)};`
  elementwise(launcher, {
    label: `unary.${name}`,
    bindings: { x: read(input), out: write(out) },
    declarations: special,
    text,
    floats: { alpha, beta },
  })
}

export const unaryGrad: Encoder<'unaryGrad'> = (launcher, operands, { function: code, alpha, beta }) => {
  const { input, gradOut, gradIn } = operands
  const name = unaryFunctions[code]
  elementwise(launcher, {
    label: `unaryGrad.${name}`,
    bindings: { x: read(input), g: read(gradOut), out: write(gradIn) },
    declarations: `${special}\n${gradients}`,
    text: `out = g * (${piecewise.has(name) ? `select(${unaryGradText[name]}, x, isNan(x))` : unaryGradText[name]});`,
    floats: { alpha, beta },
  })
}

export const binary: Encoder<'binary'> = (launcher, { a, b, out }, { function: code }) => {
  const name = binaryFunctions[code]
  const float = isFloat(a.dtype)
  if (!float && name === 'pow') throw missing('binary', `pow of ${a.dtype}`)
  if (float && (name === 'and' || name === 'or')) throw missing('binary', `${name} of ${a.dtype}`)
  const comparison = code >= binaryFunctions.indexOf('equal')
  const value = (!float && integerBinary[name]) || binaryText[name]
  const text = comparison
    ? `out = ${converted(`select(0, 1, ${value})`, 'int32', out.dtype)};`
    : `out = ${converted(`(${value})`, a.dtype, out.dtype)};`
  elementwise(launcher, {
    label: `binary.${name}`,
    bindings: { a: read(a), b: read(b), out: write(out) },
    declarations: special,
    text,
  })
}

export const select: Encoder<'select'> = (launcher, { condition, a, b, out }) => {
  elementwise(launcher, {
    label: 'select',
    bindings: { condition: read(condition), a: read(a), b: read(b), out: write(out) },
    text: `out = ${converted('select(b, a, condition != 0)', a.dtype, out.dtype)};`,
  })
}

export const axpby: Encoder<'axpby'> = (launcher, { a, b, out }, { alpha, beta }) => {
  if (!isFloat(a.dtype)) throw missing('axpby', a.dtype)
  elementwise(launcher, {
    label: 'axpby',
    bindings: { a: read(a), b: read(b), out: write(out) },
    text: 'out = args.alpha * a + args.beta * b;',
    floats: { alpha, beta },
  })
}

export const gatedActivation: Encoder<'gatedActivation'> = (launcher, { gate, value, out }, { activation }) => {
  const name: Activation = activations[activation]
  elementwise(launcher, {
    label: `gatedActivation.${name}`,
    bindings: { gate: read(gate), value: read(value), out: write(out) },
    declarations: special,
    text: `out = ${activationText[name]('gate')} * value;`,
  })
}

export const gatedActivationGrad: Encoder<'gatedActivationGrad'> = (launcher, operands, { activation }) => {
  const { gate, value, gradOut, gradGate, gradValue } = operands
  const name = activations[activation]
  elementwise(launcher, {
    label: `gatedActivationGrad.${name}`,
    bindings: {
      gate: read(gate),
      value: read(value),
      g: read(gradOut),
      gradGate: write(gradGate),
      gradValue: write(gradValue),
    },
    declarations: special,
    text: `gradGate = g * value * ${activationGradText[name]('gate')}; gradValue = g * ${activationText[name]('gate')};`,
  })
}
