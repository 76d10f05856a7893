// Operations on tensors larger than a binding may be run in halves, again and again until every part fits: along the axis
// that their kernel treats part by part.
import { type KernelName, signatures } from '../kernels.js'
import { bytesPerElement, type Dtype, type Operand, type Operation } from '../types.js'

/** How an operation may be cut. */
interface Cut {
  /** For each operand that is cut, the axis of it; the others go whole into both halves. */
  readonly axes: Readonly<Record<string, number>>
  /** The second half's numbers, where they are not the first's: it begins at `middle` of the axes; null where it may not. */
  readonly secondNumbers?: (middle: number) => readonly number[] | null
  /** Results that are sums over the axis that is cut: the halves' are added, in float32. */
  readonly sums?: readonly string[]
}

/** Ways to cut the operations of a kernel, tried in order. */
type Cuts = (operation: Operation) => readonly Cut[]

const outermost = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, 0]))

const rows = (names: readonly string[], sums: readonly string[] = []): Cuts => {
  const cut = { axes: outermost(names), sums }
  return () => [cut]
}

/** By rows, columns or members of the batch; or along the inner axis, the second part added to the first. */
function gemmCuts({ operands: [, , bias, out], numbers }: Operation): Cut[] {
  const [transposeA, transposeB, alpha, , activation] = numbers
  const cuts: Cut[] = [
    { axes: { a: transposeA ? 2 : 1, out: 1 } },
    { axes: { b: transposeB ? 1 : 2, bias: 0, out: 2 } },
    { axes: { a: 0, b: 0, out: 0 } },
  ]
  const sums = !bias && activation === 0 && out?.dtype === 'float32'
  const inner = { a: transposeA ? 1 : 2, b: transposeB ? 2 : 1 }
  return sums ? [...cuts, { axes: inner, secondNumbers: () => [transposeA, transposeB, alpha, 1, 0] }] : cuts
}

/** By the outermost axis, where the second half draws the numbers that follow: they come four a count. */
const drawn =
  (...names: string[]): Cuts =>
  ({ operands, numbers }) => {
    const [, ...inner] = operands[operands.length - 1]!.shape
    const secondNumbers = (middle: number) => {
      const counts = inner.reduce((a, b) => a * b, middle) / 4
      return Number.isInteger(counts) ? [...numbers.slice(0, -1), numbers[numbers.length - 1] + counts] : null
    }
    return [{ axes: outermost(names), secondNumbers }]
  }

/** By the batch; B and C, which may be fixed instead, and their gradients are cut where they have it. */
const scanned =
  (names: readonly string[], sums: readonly string[] = []): Cuts =>
  ({ kernel, operands }) => {
    const isFixed = (name: string) => operands[signatures[kernel].operandNames.indexOf(name)]!.shape.length === 2
    const [fixed, batched] = [['B', 'C'].filter(isFixed), ['B', 'C'].filter((name) => !isFixed(name))]
    const gradients = (maps: readonly string[]) => maps.map((name) => `grad${name}`)
    return [{ axes: outermost([...names, ...batched, ...gradients(batched)]), sums: [...sums, ...gradients(fixed)] }]
  }
const scans = ['u', 'delta', 'z', 'initialState', 'resets', 'out', 'finalState', 'states', 'chunkStates']
const scanGradients = ['gradOut', 'gradFinalState', 'gradStates', 'gradU', 'gradDelta', 'gradZ', 'gradInitialState']

const attended = ['q', 'k', 'v', 'keyLengths', 'out', 'logSumExp']

/** Kernels that are cut otherwise than along one axis of all their operands. */
const cuts: Partial<Record<KernelName, Cuts>> = {
  reduce: rows(['input', 'out']),
  rmsNorm: rows(['input', 'residual', 'out', 'sum', 'rstd']),
  rmsNormGrad: rows(['input', 'rstd', 'gradOut', 'gradSum', 'gradIn'], ['gradWeight']),
  layerNorm: rows(['input', 'residual', 'out', 'sum', 'mean', 'rstd']),
  layerNormGrad: rows(['input', 'mean', 'rstd', 'gradOut', 'gradSum', 'gradIn'], ['gradWeight', 'gradBias']),
  groupStatistics: rows(['input', 'mean', 'variance']),
  groupNorm: () => [{ axes: outermost(['input', 'mean', 'variance', 'out']) }, { axes: { input: 1, out: 1 } }],
  groupNormGrad: rows(['input', 'mean', 'variance', 'gradOut', 'gradIn'], ['gradWeight', 'gradBias']),
  resample: rows(['input', 'out']),
  maxPool: rows(['input', 'out', 'winner']),
  maxPoolGrad: rows(['winner', 'gradOut', 'gradIn']),
  gridSample: rows(['input', 'grid', 'out']),
  gridSampleGrad: rows(['input', 'grid', 'gradOut', 'gradIn', 'gradGrid']),
  crossEntropy: rows(['logits', 'targets', 'rowScale', 'loss', 'gradLogits']),
  gather: rows(['ids', 'out']),
  scatterAdd: rows(['rows', 'ids']),
  sample: rows(['logits', 'uniform', 'out']),
  adamW: rows(['parameter', 'gradient', 'firstMoment', 'secondMoment', 'master']),
  random: drawn('out'),
  dropout: drawn('input', 'out'),
  causalConv1d: rows(['input', 'initialState', 'resets', 'out', 'finalState']),
  causalConv1dGrad: rows(
    ['input', 'initialState', 'resets', 'gradOut', 'gradFinalState', 'gradIn', 'gradInitialState'],
    ['gradWeight', 'gradBias'],
  ),
  convolution: rows(['input', 'out']),
  convolutionGradInput: rows(['gradOut', 'gradIn']),
  convolutionGradWeight: rows(['input', 'gradOut'], ['gradWeight', 'gradBias']),
  selectiveScan: scanned(scans),
  selectiveScanGrad: scanned([...scans, ...scanGradients], ['gradA', 'gradD', 'gradDeltaBias']),
  attention: rows(attended),
  attentionGrad: rows([...attended, 'gradOut', 'gradQ', 'gradK', 'gradV']),
  rotary: rows(['input', 'positions', 'out']),
  gemm: gemmCuts,
}

/** Element by element, or row by row with nothing shared: every operand has out's axes. */
const alike = new Set<KernelName>([
  'fill',
  'copy',
  'unary',
  'unaryGrad',
  'binary',
  'select',
  'axpby',
  'softmax',
  'softmaxGrad',
  'gatedActivation',
  'gatedActivationGrad',
])

/** Axes that every operand has, the outermost first. The last axis of row kernels stays whole, being tried last and dense. */
function alikeCuts({ kernel, operands }: Operation): Cut[] {
  const { operandNames } = signatures[kernel]
  const rank = Math.min(...operands.map((operand) => operand?.shape.length ?? Number.POSITIVE_INFINITY))
  const axes = kernel.startsWith('softmax') ? rank - 1 : rank
  return Array.from({ length: axes }, (_, axis) => ({
    axes: Object.fromEntries(operandNames.map((name) => [name, axis])),
  }))
}

/** Bytes from the first to the last element of an operand. */
function extentOf({ shape, strides, dtype }: Operand): number {
  if (shape.includes(0)) return 0
  return (1 + shape.reduce((last, extent, axis) => last + (extent - 1) * strides[axis], 0)) * bytesPerElement[dtype]
}

const part = (operand: Operand, axis: number, start: number, end: number): Operand => ({
  ...operand,
  offset: operand.offset + start * operand.strides[axis],
  shape: operand.shape.map((extent, i) => (i === axis ? end - start : extent)),
})

/** What an operation becomes, one after the other, and what is needed in between. */
export interface Parts {
  readonly operations: readonly Operation[]
  readonly scratch: readonly Operand[]
}

/** Operations that do what this one does, where an operand exceeds `limit` bytes and the kernel can be cut; else null. */
export function halves(
  operation: Operation,
  limit: number,
  allocate: (dtype: Dtype, shape: readonly number[]) => Operand,
): Parts | null {
  const { kernel, operands, numbers } = operation
  const large = operands.map((operand) => operand !== null && operand.buffer.bytes > limit && extentOf(operand) > limit)
  if (!large.includes(true)) return null
  const { operandNames } = signatures[kernel]
  const ways = alike.has(kernel) ? alikeCuts(operation) : (cuts[kernel]?.(operation) ?? [])
  for (const { axes, secondNumbers = () => numbers, sums = [] } of ways) {
    const axisOf = (i: number): number | undefined => axes[operandNames[i]]
    const extents = operands.flatMap((operand, i) => operand?.shape[axisOf(i) ?? -1] ?? [])
    const [extent] = extents
    if (extent < 2 || extents.some((other) => other !== extent)) continue
    // Whole vectors stay whole, so that what was read by fours or eights still is.
    const middle = extent >= 16 ? Math.floor(extent / 16) * 8 : extent >> 1
    const numbersOfSecond = secondNumbers(middle)
    if (!numbersOfSecond) continue
    const slice = (start: number, end: number) =>
      operands.map((operand, i) => {
        const axis = axisOf(i)
        return operand && axis !== undefined ? part(operand, axis, start, end) : operand
      })
    const [first, second] = [slice(0, middle), slice(middle, extent)]
    // Rows that lie across each other span as much when there are fewer columns of them.
    const shrinks = (i: number) => large[i] && extentOf(second[i]!) < 0.75 * extentOf(operands[i]!)
    if (!operands.some((_, i) => shrinks(i))) continue
    const scratch: Operand[] = []
    const additions: Operation[] = []
    for (const [i, total] of operands.entries()) {
      if (!total || !sums.includes(operandNames[i])) continue
      const half = () => {
        const operand = allocate('float32', total.shape)
        scratch.push(operand)
        return operand
      }
      first[i] = total.dtype === 'float32' ? total : half()
      second[i] = half()
      additions.push({ kernel: 'axpby', operands: [first[i], second[i], total], numbers: [1, 1] })
    }
    return {
      operations: [
        { kernel, operands: first, numbers },
        { kernel, operands: second, numbers: numbersOfSecond },
        ...additions,
      ],
      scratch,
    }
  }
  return null
}
