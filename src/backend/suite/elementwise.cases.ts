// Cases of fill, copy, select, axpby, and of every unary and binary function.
import { type BinaryFunction, binaryFunctions, type UnaryFunction, unaryFunctions } from '../kernels.js'
import { type Dtype, dtypes } from '../types.js'
import {
  count,
  Draw,
  type HostOperand,
  type KernelCase,
  kernelCase,
  type Layout,
  operandOf,
  output,
} from './operands.js'

const halves: readonly Dtype[] = ['float16', 'bfloat16']
const floats: readonly Dtype[] = ['float32', ...halves]
const isFloat = (dtype: Dtype) => floats.includes(dtype)

/** Values that every dtype holds exactly, or its flags. */
function anyOf(draw: Draw, dtype: Dtype, shape: readonly number[], layout: Layout = {}): HostOperand {
  if (isFloat(dtype)) return draw.floats(shape, -4, 4, { dtype, ...layout })
  if (dtype === 'bool') return draw.flags(shape, 0.5, { dtype, ...layout })
  return draw.integers(shape, dtype === 'uint8' ? 0 : -60, 60, { dtype, ...layout })
}

export function* elementwiseCases(): Generator<KernelCase> {
  yield* fillCases()
  yield* copyCases()
  yield* unaryCases()
  yield* binaryCases()
  yield* mixingCases()
}

function* fillCases(): Generator<KernelCase> {
  for (const dtype of dtypes) {
    const value = dtype === 'bool' ? 1 : isFloat(dtype) ? -2.5 : 5
    yield kernelCase('fill', `${dtype}, odd size and offset`, { out: output([13], { dtype, offset: 3 }) }, { value })
    yield kernelCase('fill', `${dtype}, columns`, { out: output([4, 5], { dtype, strides: [1, 7] }) }, { value })
  }
  yield kernelCase('fill', 'many elements', { out: output([70001]) }, { value: 0.125 })
  yield kernelCase('fill', 'a scalar', { out: output([]) }, { value: 3 })
  yield kernelCase('fill', 'NaN', { out: output([5]) }, { value: Number.NaN })
}

function* copyCases(): Generator<KernelCase> {
  const draw = new Draw(1)
  for (const from of dtypes)
    for (const to of dtypes) {
      // Negative numbers have no place in uint8.
      const shape = [3, 7]
      const input =
        to === 'uint8' && isFloat(from)
          ? draw.floats(shape, 0, 60, { dtype: from })
          : to === 'uint8' && from !== 'bool'
            ? draw.integers(shape, 0, 60, { dtype: from })
            : anyOf(draw, from, shape)
      yield kernelCase('copy', `${from} to ${to}`, { input, out: output(shape, { dtype: to, pad: 2, offset: 1 }) }, {})
    }
  const views: [string, readonly number[], Layout, Layout][] = [
    ['one element', [1], {}, {}],
    ['a scalar', [], { offset: 2 }, { offset: 1 }],
    ['transposed', [37, 19], { strides: [1, 37] }, {}],
    ['into a transpose', [19, 37], {}, { strides: [1, 19] }],
    ['repeated rows', [5, 33], { strides: [0, 1] }, {}],
    ['repeated columns', [33, 5], { strides: [1, 0], offset: 3 }, {}],
    ['a channel permutation', [2, 3, 17, 5], { strides: [255, 1, 15, 3] }, {}],
    ['rank 6', [2, 3, 2, 3, 2, 3], { strides: [1, 2, 6, 12, 36, 72] }, { offset: 2 }],
    ['axes of extent 1', [1, 5, 1, 7, 1], { strides: [99, 7, 3, 1, 5] }, {}],
    ['padded rows on both sides', [9, 65], { pad: 3, offset: 5 }, { pad: 1, offset: 2 }],
    ['many elements', [70001], {}, {}],
  ]
  for (const [name, shape, from, to] of views) {
    yield kernelCase('copy', name, { input: draw.floats(shape, -4, 4, from), out: output(shape, to) }, {})
    const dtype = 'uint8'
    const bytes = draw.integers(shape, 0, 200, { ...from, dtype })
    yield kernelCase('copy', `${name}, bytes`, { input: bytes, out: output(shape, { ...to, dtype }) }, {})
  }
  const odd = [
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    1e30,
    65519,
    65520,
    3e-8,
    1e-7,
    2.0009765625,
  ]
  for (const dtype of floats) {
    const input = operandOf([odd.length], (i) => odd[i])
    yield kernelCase('copy', `rounding to ${dtype}`, { input, out: output([odd.length], { dtype }) }, {})
    const stored = operandOf([odd.length], (i) => odd[i], { dtype })
    yield kernelCase('copy', `special values of ${dtype}`, { input: stored, out: output([odd.length]) }, {})
  }
}

interface Domain {
  readonly low: number
  readonly high: number
  readonly alpha?: number
  readonly beta?: number
}

/** Where a function is tried: its whole interesting range, in pieces where results differ much in size. */
const domains: Partial<Record<UnaryFunction, readonly Domain[]>> = {
  log: [
    { low: 1e-3, high: 10 },
    { low: 1, high: 1e30 },
  ],
  sqrt: [{ low: 1e-3, high: 100 }],
  rsqrt: [{ low: 1e-2, high: 100 }],
  reciprocal: [
    { low: 0.1, high: 10 },
    { low: -10, high: -0.1 },
  ],
  exp: [
    { low: -20, high: 0 },
    { low: 0, high: 5 },
    { low: -85, high: -60 },
  ],
  expm1: [
    { low: -1e-3, high: 1e-3 },
    { low: -20, high: 5 },
  ],
  log1p: [
    { low: -1e-3, high: 1e-3 },
    { low: -0.9, high: 20 },
  ],
  elu: [
    { low: -8, high: 8, alpha: 0.7 },
    { low: -1e-3, high: 1e-3, alpha: 1 },
  ],
  leakyRelu: [{ low: -8, high: 8, alpha: 0.1 }],
  affine: [{ low: -8, high: 8, alpha: 1.7, beta: -0.3 }],
  clamp: [{ low: -8, high: 8, alpha: -2.5, beta: 3.25 }],
  pow: [
    { low: 0.1, high: 4, alpha: 1.7 },
    { low: -4, high: 4, alpha: 2 },
    { low: -4, high: 4, alpha: 3 },
    { low: 0.5, high: 4, alpha: -0.5 },
    { low: -4, high: 4, alpha: 0 },
  ],
  softplus: [
    { low: -30, high: 0 },
    { low: -3, high: 30 },
  ],
  logSigmoid: [
    { low: -30, high: 3 },
    { low: 0, high: 12 },
  ],
  sin: [{ low: -9, high: 9 }],
  cos: [{ low: -9, high: 9 }],
  erf: [
    { low: -5, high: 5 },
    { low: -1e-3, high: 1e-3 },
  ],
}
const everywhere: readonly Domain[] = [
  { low: -9, high: 9 },
  { low: -0.5, high: 0.5 },
]
/** A value that is small because large ones cancel (a tail of gelu or of tanh') is known to this much. */
const cancelled = { scale: 1e-5, relative: 1e-5, absolute: 5e-7 }
const proportional = { scale: 1e-5, relative: 1e-5 }
/** Functions with slopes of a few values only, which say nothing of NaN. */
const stepSlopes: readonly UnaryFunction[] = [
  'neg',
  'affine',
  'abs',
  'relu',
  'relu6',
  'leakyRelu',
  'hardsigmoid',
  'clamp',
  'sign',
  'floor',
]
const nonNegative: readonly UnaryFunction[] = ['log', 'sqrt', 'rsqrt', 'log1p', 'pow']

function* unaryCases(): Generator<KernelCase> {
  const draw = new Draw(2)
  for (const [code, name] of unaryFunctions.entries()) {
    if (name === 'not') continue
    for (const { low, high, alpha = 0, beta = 0 } of domains[name] ?? everywhere) {
      const numbers = { function: code, alpha, beta }
      const label = `${name} of [${low}, ${high}]${domains[name]?.[0].alpha === undefined ? '' : `, alpha ${alpha}`}`
      // Results near 0 over their whole range must have small relative errors.
      const extra = { tolerance: high <= 1e-3 ? proportional : cancelled }
      for (const n of [1, 3, 17, 259]) {
        const input = draw.floats([n], low, high, { offset: n % 4 })
        yield kernelCase('unary', `${label}, ${n}`, { input, out: output([n], { offset: 1 }) }, numbers, extra)
        const gradOut = draw.floats([n], -2, 2)
        yield kernelCase('unaryGrad', `${label}, ${n}`, { input, gradOut, gradIn: output([n]) }, numbers, extra)
      }
    }
    const { low, high, alpha = 0, beta = 0 } = (domains[name] ?? everywhere)[0]
    const numbers = { function: code, alpha, beta }
    for (const dtype of halves) {
      const input = draw.floats([5, 19], low, high, { dtype, pad: 3, offset: 1 })
      yield kernelCase('unary', `${name}, ${dtype}`, { input, out: output([5, 19], { dtype, pad: 2 }) }, numbers)
      const gradOut = draw.floats([5, 19], -2, 2, { dtype })
      const gradIn = output([5, 19], { dtype, pad: 1 })
      yield kernelCase('unaryGrad', `${name}, ${dtype}`, { input, gradOut, gradIn }, numbers)
    }
    const values = nonNegative.includes(name)
      ? [Number.NaN, 1, 0.5, 88, 100, 1e4]
      : [Number.NaN, 0.25, 1, -1, 88, -88, 100, -100, ...(name === 'sin' || name === 'cos' ? [] : [1e4, -1e4])]
    const special = operandOf([values.length], (i) => values[i])
    yield kernelCase('unary', `${name}, NaN and extremes`, { input: special, out: output([values.length]) }, numbers)
    if (!stepSlopes.includes(name)) {
      const gradOut = operandOf([values.length], () => 1)
      const gradIn = output([values.length])
      yield kernelCase('unaryGrad', `${name}, NaN and extremes`, { input: special, gradOut, gradIn }, numbers)
    }
  }
  const silu = { function: unaryFunctions.indexOf('silu'), alpha: 0, beta: 0 }
  const inPlace = draw.floats([301], -9, 9)
  yield kernelCase('unary', 'in place', { input: inPlace, out: inPlace }, silu)
  const gradient = draw.floats([301], -9, 9)
  yield kernelCase('unaryGrad', 'in place', { input: draw.floats([301]), gradOut: gradient, gradIn: gradient }, silu)
  yield kernelCase('unary', 'many elements', { input: draw.floats([70001], -9, 9), out: output([70001]) }, silu)
  const rank4 = draw.floats([2, 3, 5, 17], -9, 9, { pad: 4, offset: 3 })
  yield kernelCase('unary', 'rank 4, padded rows', { input: rank4, out: output([2, 3, 5, 17]) }, silu)
  const not = { function: unaryFunctions.indexOf('not'), alpha: 0, beta: 0 }
  const input = draw.flags([41], 0.5, { dtype: 'bool', offset: 1 })
  yield kernelCase('unary', 'not', { input, out: output([41], { dtype: 'bool', offset: 2 }) }, not)
}

const comparing = new Set<BinaryFunction>(['equal', 'notEqual', 'less', 'lessEqual', 'greater', 'greaterEqual'])
const logical = new Set<BinaryFunction>(['and', 'or'])

function* binaryCases(): Generator<KernelCase> {
  const draw = new Draw(3)
  for (const [code, name] of binaryFunctions.entries()) {
    const numbers = { function: code }
    const result = (dtype: Dtype): Dtype => (comparing.has(name) || logical.has(name) ? 'bool' : dtype)
    const value = (dtype: Dtype, shape: readonly number[], layout: Layout = {}, side: 'a' | 'b' = 'a') => {
      const withDtype = { ...layout, dtype }
      if (dtype === 'bool') return draw.flags(shape, 0.5, withDtype)
      // Whole numbers from a small range, so that comparisons meet equal ones.
      if (comparing.has(name) || dtype === 'int32')
        return draw.integers(shape, name === 'div' && side === 'b' ? 1 : -3, 4, withDtype)
      if (name === 'pow') return draw.floats(shape, side === 'a' ? 0.1 : -2, 3, withDtype)
      if (name === 'div' && side === 'b') return draw.floats(shape, 0.3, 4, withDtype)
      return draw.floats(shape, -4, 4, withDtype)
    }
    const dtypesHere: readonly Dtype[] = logical.has(name)
      ? ['bool']
      : [
          ...floats,
          ...(name === 'pow' || name === 'div' ? [] : (['int32'] as const)),
          ...(comparing.has(name) ? (['bool'] as const) : []),
        ]
    for (const dtype of dtypesHere)
      for (const n of [1, 19, 261]) {
        const operands = {
          a: value(dtype, [n], { offset: 1 }),
          b: value(dtype, [n], {}, 'b'),
          out: output([n], { dtype: result(dtype), offset: n % 3 }),
        }
        yield kernelCase('binary', `${name}, ${dtype}, ${n}`, operands, numbers)
      }
    const dtype: Dtype = logical.has(name) ? 'bool' : 'float32'
    const views: [string, readonly number[], Layout, Layout, Layout][] = [
      ['a row to all rows', [5, 33], {}, { strides: [0, 1] }, {}],
      ['a column to all columns', [5, 33], { strides: [1, 0], offset: 2 }, {}, { pad: 3 }],
      ['an outer product', [17, 9], { strides: [1, 0] }, { strides: [0, 1] }, {}],
      ['a scalar', [7, 5], {}, { strides: [0, 0], offset: 1 }, {}],
      ['transposed', [19, 6], { strides: [1, 19] }, { pad: 2 }, { strides: [1, 20] }],
      ['rank 5', [2, 3, 4, 1, 5], { strides: [60, 0, 5, 1, 1] }, { strides: [0, 20, 0, 3, 1] }, {}],
    ]
    for (const [view, shape, left, right, into] of views) {
      const operands = {
        a: value(dtype, shape, left),
        b: value(dtype, shape, right, 'b'),
        out: output(shape, { ...into, dtype: result(dtype) }),
      }
      yield kernelCase('binary', `${name}, ${view}`, operands, numbers)
    }
    if (logical.has(name)) continue
    const specials = [Number.NaN, 1, Number.NaN, -2, Number.POSITIVE_INFINITY, 3]
    const operands = {
      a: operandOf([6], (i) => specials[i]),
      b: operandOf([6], (i) => [1, Number.NaN, Number.NaN, -2, 1, Number.POSITIVE_INFINITY][i]),
      out: output([6], { dtype: result('float32') }),
    }
    if (name !== 'pow') yield kernelCase('binary', `${name}, NaN and infinity`, operands, numbers)
  }
  const add = { function: binaryFunctions.indexOf('add') }
  const accumulator = draw.floats([6, 43], -4, 4, { pad: 1 })
  yield kernelCase('binary', 'into a', { a: accumulator, b: draw.floats([6, 43]), out: accumulator }, add)
  const other = draw.floats([6, 43])
  yield kernelCase(
    'binary',
    'into b',
    { a: draw.floats([6, 43], -1, 1, { strides: [0, 1] }), b: other, out: other },
    add,
  )
  const wide = [3, 70001]
  const operands = { a: draw.floats(wide), b: draw.floats(wide, -1, 1, { strides: [0, 1] }), out: output(wide) }
  yield kernelCase('binary', 'many elements', operands, add)
}

function* mixingCases(): Generator<KernelCase> {
  const draw = new Draw(4)
  for (const dtype of [...floats, 'int32'] as const)
    for (const shape of [[1], [7, 37], [2, 3, 5, 11]]) {
      const condition = draw.flags(shape, 0.5, { dtype: 'bool', offset: 1 })
      const operands = {
        condition,
        a: anyOf(draw, dtype, shape, { pad: 1 }),
        b: anyOf(draw, dtype, shape, { strides: shape.map(() => 0), offset: 2 }),
        out: output(shape, { dtype, pad: 2 }),
      }
      yield kernelCase('select', `${dtype} (${shape})`, operands, {})
    }
  const shape = [9, 14]
  const condition = draw.flags(shape, 0.5, { dtype: 'bool', strides: [1, 9] })
  const nan = operandOf(shape, () => Number.NaN)
  yield kernelCase(
    'select',
    'NaN that is not chosen',
    { condition, a: draw.floats(shape), b: nan, out: output(shape) },
    {},
  )

  const numbers = { alpha: 0.7, beta: -1.3 }
  for (const dtype of floats)
    for (const size of [[1], [263], [5, 21]]) {
      const a = draw.floats(size, -3, 3, { dtype, offset: 1 })
      const b = draw.floats(size, -3, 3, { dtype, pad: count(size) > 100 ? 0 : 2 })
      yield kernelCase('axpby', `${dtype} (${size})`, { a, b, out: output(size, { dtype }) }, numbers)
    }
  const a = draw.floats([1031])
  yield kernelCase('axpby', 'into a', { a, b: draw.floats([1031]), out: a }, numbers)
  const b = draw.floats([1031])
  yield kernelCase('axpby', 'into b', { a: draw.floats([1031]), b, out: b }, numbers)
}
