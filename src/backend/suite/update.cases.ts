// Cases of the optimiser step, of random numbers and of dropout.
import { distributions } from '../kernels.js'
import type { Dtype } from '../types.js'
import { Draw, type KernelCase, kernelCase, operandOf, output } from './operands.js'

const exact = { scale: 0, relative: 0 }

export function* updateCases(): Generator<KernelCase> {
  yield* adamWCases()
  yield* randomCases()
  yield* dropoutCases()
}

function* adamWCases(): Generator<KernelCase> {
  const draw = new Draw(9000)
  const numbers = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 }
  const schedule = () => operandOf([3], (i) => [3e-3, 0.271, 0.142625][i])
  const moments = (shape: readonly number[]) => ({
    firstMoment: draw.floats(shape, -0.1, 0.1),
    secondMoment: draw.floats(shape, 1e-4, 0.02),
  })
  for (const shape of [[1], [3], [17], [33, 65], [70001]])
    for (const scaled of [false, true]) {
      const operands = {
        parameter: draw.floats(shape),
        gradient: draw.floats(shape),
        ...moments(shape),
        schedule: schedule(),
        gradScale: scaled ? operandOf([1], () => 0.37, { offset: 1 }) : null,
      }
      yield kernelCase('adamW', `(${shape})${scaled ? ', scaled' : ''}`, operands, numbers)
    }
  const shape = [259]
  for (const dtype of ['float16', 'bfloat16'] as const) {
    const master = draw.floats(shape)
    const parameter = operandOf(shape, (i) => master.memory.values[i], { dtype })
    const gradient = draw.floats(shape, -1, 1, { dtype })
    const operands = { parameter, gradient, ...moments(shape), schedule: schedule(), master }
    yield kernelCase('adamW', `${dtype} with a float32 master`, operands, numbers)
  }
  const fresh = () => ({ firstMoment: operandOf(shape, () => 0), secondMoment: operandOf(shape, () => 0) })
  const first = { parameter: draw.floats(shape), gradient: draw.floats(shape), ...fresh() }
  const firstSchedule = operandOf([3], (i) => [1e-3, 0.1, 0.05][i])
  yield kernelCase('adamW', 'the first step', { ...first, schedule: firstSchedule }, numbers)
  const still = { parameter: draw.floats(shape), gradient: operandOf(shape, () => 0), ...fresh(), schedule: schedule() }
  yield kernelCase('adamW', 'no gradient yet', still, { ...numbers, weightDecay: 0 })
  for (const scale of [Number.NaN, Number.POSITIVE_INFINITY]) {
    const operands = { parameter: draw.floats(shape), gradient: draw.floats(shape), ...moments(shape) }
    const gradScale = operandOf([1], () => scale)
    const name = `a gradient scale of ${scale} changes nothing`
    yield kernelCase('adamW', name, { ...operands, schedule: schedule(), gradScale }, numbers, { tolerance: exact })
  }
}

/** Seeds, streams and offsets with bits in both halves, and offsets that carry from the low half to the high one. */
const places = [
  { seed: 0, stream: 0, offset: 0 },
  { seed: 1234567, stream: 3, offset: 5 },
  { seed: 2 ** 53 - 1, stream: 2 ** 40 + 7, offset: 2 ** 33 + 1 },
  { seed: 2 ** 31, stream: 2 ** 32 - 1, offset: 2 ** 32 - 2 },
]

function* randomCases(): Generator<KernelCase> {
  const step = operandOf([1], () => 41, { dtype: 'int32', offset: 2 })
  const draws: readonly (readonly [number, number, number, Dtype])[] = [
    [distributions.indexOf('uniform'), 0, 1, 'float32'],
    [distributions.indexOf('uniform'), -1, 1, 'float32'],
    [distributions.indexOf('uniform'), -0.3, 1.7, 'float32'],
    [distributions.indexOf('uniform'), -0.25, 0.25, 'float16'],
    [distributions.indexOf('uniform'), -0.25, 0.25, 'bfloat16'],
    [distributions.indexOf('integer'), 0, 10, 'int32'],
    [distributions.indexOf('integer'), -5, 50280, 'int32'],
    [distributions.indexOf('integer'), 0, 2147483647, 'int32'],
    [distributions.indexOf('integer'), 7, 8, 'int32'],
    [distributions.indexOf('normal'), 0, 1, 'float32'],
    [distributions.indexOf('normal'), 2, 0.02, 'float32'],
    [distributions.indexOf('normal'), 0, 1, 'bfloat16'],
  ]
  for (const [distribution, alpha, beta, dtype] of draws)
    for (const [i, place] of places.entries())
      for (const n of i === 0 ? [1, 2, 3, 4, 5, 1031] : [263]) {
        const kind = distributions[distribution]
        const label = `${kind} of ${alpha}, ${beta} in ${dtype}, ${n} at place ${i}`
        // Box-Muller takes logarithm, root and cosine of float32 numbers; all else is exact.
        const tolerance = kind === 'normal' ? { scale: 1e-6, relative: 1e-6 } : exact
        const numbers = { distribution, alpha, beta, ...place }
        const out = () => output([n], { dtype, offset: n % 4 })
        yield kernelCase('random', label, { out: out() }, numbers, { tolerance })
        if (i < 3) yield kernelCase('random', `${label}, a step`, { step, out: out() }, numbers, { tolerance })
      }
  const numbers = { distribution: 0, alpha: 0, beta: 1, ...places[1] }
  yield kernelCase('random', 'rank 3', { out: output([3, 5, 7]) }, numbers, { tolerance: exact })
  yield kernelCase('random', 'many elements', { out: output([70001]) }, numbers, { tolerance: exact })
}

function* dropoutCases(): Generator<KernelCase> {
  const draw = new Draw(9200)
  const step = operandOf([1], () => 9, { dtype: 'int32' })
  // A kept value is divided by 1 - p; a wrong mask shows as a whole value.
  const tolerance = { scale: 0, relative: 1e-6 }
  for (const [i, place] of places.entries())
    for (const p of [0, 0.1, 0.5, 0.875])
      for (const dtype of i === 1 ? (['float32', 'float16', 'bfloat16'] as const) : (['float32'] as const)) {
        const input = draw.floats([3, 87], 0.5, 1, { dtype, offset: 1 })
        const name = `p = ${p}, ${dtype}, place ${i}`
        const numbers = { p, ...place }
        yield kernelCase('dropout', name, { input, out: output([3, 87], { dtype }) }, numbers, { tolerance })
        yield kernelCase('dropout', `${name}, a step`, { input, step, out: output([3, 87], { dtype }) }, numbers, {
          tolerance,
        })
      }
  const inPlace = draw.floats([1001], 0.5, 1)
  yield kernelCase('dropout', 'in place', { input: inPlace, out: inPlace }, { p: 0.3, ...places[1] }, { tolerance })
  const padded = draw.floats([5, 13], 0.5, 1, { pad: 3 })
  yield kernelCase(
    'dropout',
    'padded rows',
    { input: padded, out: output([5, 13]) },
    { p: 0.3, ...places[0] },
    { tolerance },
  )
}
