// Cases of kernels that work on rows: RMSNorm and LayerNorm with gradients, cross-entropy, gather and scatterAdd.
import type { Dtype } from '../types.js'
import { Draw, type KernelCase, kernelCase, type Launcher, operandOf, output } from './operands.js'

const floats: readonly Dtype[] = ['float32', 'float16', 'bfloat16']

export function* rowCases(): Generator<KernelCase> {
  yield* normCases()
  yield* crossEntropyCases()
  yield* tableCases()
}

interface NormShape {
  readonly rows: number
  readonly n: number
  readonly dtype?: Dtype
  /** Dtype of the residual and the sum. Default float32. */
  readonly residual?: Dtype | null
  /** Whether weight and bias are given. Default true. */
  readonly parameters?: boolean
  /** Whether sum and statistics are wanted. Default true. */
  readonly kept?: boolean
  readonly pad?: number
}

const normShapes: readonly NormShape[] = [
  { rows: 1, n: 1 },
  { rows: 1, n: 7, parameters: false },
  { rows: 5, n: 16, residual: null },
  { rows: 5, n: 33, pad: 3 },
  { rows: 37, n: 64, residual: null, parameters: false, kept: false },
  { rows: 3, n: 257, kept: false },
  { rows: 2, n: 2560, residual: null },
  { rows: 300, n: 19 },
  // More rows than a GPU has workgroups in one dimension.
  { rows: 65537, n: 3 },
  { rows: 9, n: 48, dtype: 'float16', residual: 'float16', pad: 1 },
  { rows: 9, n: 48, dtype: 'bfloat16', residual: 'float32' },
  { rows: 4, n: 31, dtype: 'bfloat16', residual: null },
]

function normOperands(draw: Draw, { rows, n, dtype = 'float32', pad = 0, ...shape }: NormShape) {
  const { residual = 'float32', parameters = true } = shape
  return {
    input: draw.floats([rows, n], -2, 3, { dtype, pad, offset: pad }),
    residual: residual && draw.floats([rows, n], -2, 3, { dtype: residual, pad: pad * 2 }),
    weight: parameters ? draw.floats([n], 0.2, 2) : null,
    bias: parameters ? draw.floats([n]) : null,
  }
}

function normOutputs({ rows, n, dtype = 'float32', residual = 'float32', kept = true, pad = 0 }: NormShape) {
  return {
    out: output([rows, n], { dtype, pad }),
    sum: residual && kept ? output([rows, n], { dtype: residual, offset: pad }) : null,
    rstd: kept ? output([rows]) : null,
    mean: kept ? output([rows]) : null,
  }
}

async function normGradOperands(seed: number, shape: NormShape, reference: Launcher, centred: boolean) {
  const draw = new Draw(seed)
  const { rows, n, dtype = 'float32', pad = 0 } = shape
  // The gradient is taken at the sum, so its input needs no residual of its own.
  const { input, weight, bias } = normOperands(draw, { ...shape, residual: null })
  const { mean, ...outputs } = normOutputs({ ...shape, residual: null, kept: true })
  const kept = centred
    ? await reference('layerNorm', { input, weight, bias, mean, ...outputs }, { eps: 1e-5 })
    : await reference('rmsNorm', { input, weight, ...outputs }, { eps: 1e-5 })
  return {
    input,
    mean: operandOf([rows], (r) => kept.mean?.[r] ?? 0),
    weight,
    rstd: operandOf([rows], (r) => kept.rstd[r]),
    gradOut: draw.floats([rows, n], -1, 1, { dtype, pad: pad && pad + 1 }),
    gradSum: shape.residual === null ? null : draw.floats([rows, n], -1, 1, { dtype }),
    gradIn: output([rows, n], { dtype, pad }),
    gradWeight: weight && output([n]),
    gradBias: bias && output([n]),
  }
}

function* normCases(): Generator<KernelCase> {
  for (const [i, shape] of normShapes.entries()) {
    const { rows, n, dtype = 'float32', residual = 'float32', parameters = true } = shape
    const name = `(${rows}, ${n}) ${dtype}, residual ${residual ?? 'absent'}, ${parameters ? 'weighted' : 'bare'}`
    const { bias, ...given } = normOperands(new Draw(4000 + i), shape)
    const { mean, ...made } = normOutputs(shape)
    yield kernelCase('rmsNorm', name, { ...given, ...made }, { eps: 1e-5 })
    yield kernelCase('layerNorm', name, { ...given, bias, mean, ...made }, { eps: 1e-5 })
    yield kernelCase('rmsNormGrad', name, (reference) => normGradOperands(4100 + i, shape, reference, false), {})
    yield kernelCase('layerNormGrad', name, (reference) => normGradOperands(4100 + i, shape, reference, true), {})
  }
  const far = operandOf([3, 40], (i) => 1000 + ((i * 7) % 11))
  // The mean of float32 numbers near 1000 leaves an error of about 1e-4 in values near 1.
  const tolerance = { scale: 2e-4, relative: 0 }
  yield kernelCase('layerNorm', 'far from 0', { input: far, out: output([3, 40]) }, { eps: 1e-5 }, { tolerance })
  const constant = operandOf([2, 40], () => 3)
  yield kernelCase('layerNorm', 'rows of one value', { input: constant, out: output([2, 40]) }, { eps: 1e-5 })
  const nan = operandOf([3, 40], (i) => (i === 50 ? Number.NaN : i % 5))
  yield kernelCase('rmsNorm', 'NaN spoils its row', { input: nan, out: output([3, 40]) }, { eps: 1e-5 })
  yield kernelCase('layerNorm', 'NaN spoils its row', { input: nan, out: output([3, 40]) }, { eps: 1e-5 })
}

function* crossEntropyCases(): Generator<KernelCase> {
  const draw = new Draw(5000)
  for (const [rows, classes] of [
    [1, 1],
    [7, 5],
    [33, 257],
    [3, 1000],
    [2, 50280],
    [65537, 2],
  ])
    for (const labelSmoothing of rows > 1000 ? [0] : [0, 0.1])
      for (const weighted of rows > 1000 ? [false] : [false, true]) {
        const operands = {
          logits: draw.floats([rows, classes], -6, 6, { pad: 3, offset: 1 }),
          targets: draw.integers([rows], 0, classes),
          classWeights: weighted ? draw.floats([classes], 0.2, 2) : null,
          rowScale: weighted ? draw.floats([rows], 0.1, 2) : null,
          loss: output([rows], { offset: 1 }),
          gradLogits: output([rows, classes], { pad: 1 }),
        }
        const name = `(${rows}, ${classes}), smoothing ${labelSmoothing}, ${weighted ? 'weighted' : 'plain'}`
        yield kernelCase('crossEntropy', name, operands, { ignoreIndex: -100, labelSmoothing, scale: 0.3 })
      }
  const numbers = { ignoreIndex: -100, labelSmoothing: 0.2, scale: 1.5 }
  for (const dtype of floats) {
    const logits = draw.floats([6, 70], -6, 6, { dtype, pad: 1 })
    const targets = draw.integers([6], 0, 70)
    const gradLogits = output([6, 70], { dtype })
    yield kernelCase('crossEntropy', `${dtype}, loss alone`, { logits, targets, loss: output([6]) }, numbers)
    yield kernelCase('crossEntropy', `${dtype}, gradient alone`, { logits, targets, gradLogits }, numbers)
    const inPlace = { logits, targets, loss: output([6]), gradLogits: logits }
    yield kernelCase('crossEntropy', `${dtype}, gradient in place`, inPlace, numbers)
  }
  for (const ignoreIndex of [-100, 2]) {
    const targets = operandOf([5], (i) => [1, ignoreIndex, 0, ignoreIndex, 3][i], { dtype: 'int32' })
    const operands = {
      logits: draw.floats([5, 9]),
      targets,
      rowScale: draw.floats([5]),
      loss: output([5]),
      gradLogits: output([5, 9]),
    }
    yield kernelCase('crossEntropy', `targets of ${ignoreIndex} are ignored`, operands, { ...numbers, ignoreIndex })
  }
  for (const wrong of [9, -1, -2147483648]) {
    const operands = {
      logits: draw.floats([5, 9]),
      targets: operandOf([5], (i) => (i === 3 ? wrong : i), { dtype: 'int32' }),
      loss: output([5]),
      gradLogits: output([5, 9]),
    }
    const indexError = { index: wrong, size: 9 }
    yield kernelCase('crossEntropy', `a target of ${wrong} is an error`, operands, numbers, { indexError })
  }
  const targets = operandOf([3], (i) => i, { dtype: 'int32' })
  const large = operandOf([3, 20], (i) => 500 * ((i % 3) - 1))
  const outputs = () => ({ loss: output([3]), gradLogits: output([3, 20]) })
  yield kernelCase('crossEntropy', 'large logits', { logits: large, targets, ...outputs() }, numbers)
  const nan = operandOf([3, 20], (i) => (i === 25 ? Number.NaN : i % 5))
  yield kernelCase('crossEntropy', 'NaN spoils its row', { logits: nan, targets, ...outputs() }, numbers)
}

function* tableCases(): Generator<KernelCase> {
  const draw = new Draw(6000)
  for (const [size, n, rows] of [
    [1, 1, 1],
    [5, 3, 40],
    [300, 33, 65],
    [70, 256, 9],
    [2, 1, 1000],
    [3, 2, 65537],
  ]) {
    const name = `${rows} of (${size}, ${n})`
    const ids = draw.integers([rows], 0, size, { dtype: 'int32', offset: 1 })
    for (const dtype of floats) {
      const table = draw.floats([size, n], -1, 1, { dtype, pad: 2, offset: 1 })
      yield kernelCase('gather', `${name}, ${dtype}`, { table, ids, out: output([rows, n], { dtype, pad: 1 }) }, {})
      const grads = draw.floats([rows, n], -1, 1, { dtype, pad: 3 })
      yield kernelCase('scatterAdd', `${name}, ${dtype}`, { rows: grads, ids, table: draw.floats([size, n]) }, {})
    }
  }
  const spread = draw.integers([12], 0, 20, { dtype: 'int32', strides: [3] })
  const table = draw.floats([20, 9])
  yield kernelCase('gather', 'ids with a stride', { table, ids: spread, out: output([12, 9]) }, {})
  for (const wrong of [20, -1, 2147483647]) {
    const ids = operandOf([6], (i) => (i === 2 ? wrong : i), { dtype: 'int32' })
    const extra = { indexError: { index: wrong, size: 20 } }
    yield kernelCase(
      'gather',
      `an id of ${wrong} gives zeros and an error`,
      { table, ids, out: output([6, 9]) },
      {},
      extra,
    )
    const rows = draw.floats([6, 9])
    const sums = draw.floats([20, 9])
    yield kernelCase(
      'scatterAdd',
      `an id of ${wrong} adds nothing and is an error`,
      { rows, ids, table: sums },
      {},
      extra,
    )
  }
}
