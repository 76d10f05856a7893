// Operations on tensors larger than a binding may be run in halves, again and again until every part fits: along the axis
// that their kernel treats part by part.
import { type KernelName, signatures } from '../kernels.js'
import { bytesPerElement, type Operand, type Operation } from '../types.js'

/** How an operation may be cut. */
interface Cut {
  /** For each operand that is cut, the axis of it; the others go whole into both halves. */
  readonly axes: Readonly<Record<string, number>>
  /** The second half's numbers, where they are not the first's: it begins at `middle` of the axes; null where it may not. */
  readonly secondNumbers?: (middle: number) => readonly number[] | null
}

/** Ways to cut the operations of a kernel, tried in order. */
type Cuts = (operation: Operation) => readonly Cut[]

const rows = (...names: string[]): Cuts => {
  const axes = Object.fromEntries(names.map((name) => [name, 0]))
  return () => [{ axes }]
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
    return [{ axes: Object.fromEntries(names.map((name) => [name, 0])), secondNumbers }]
  }

const sequences = ['input', 'initialState', 'resets', 'out', 'finalState']

/** Kernels that are cut otherwise than along one axis of all their operands. */
const cuts: Partial<Record<KernelName, Cuts>> = {
  reduce: rows('input', 'out'),
  rmsNorm: rows('input', 'residual', 'out', 'sum', 'rstd'),
  layerNorm: rows('input', 'residual', 'out', 'sum', 'mean', 'rstd'),
  crossEntropy: rows('logits', 'targets', 'rowScale', 'loss', 'gradLogits'),
  gather: rows('ids', 'out'),
  scatterAdd: rows('rows', 'ids'),
  sample: rows('logits', 'uniform', 'out'),
  adamW: rows('parameter', 'gradient', 'firstMoment', 'secondMoment', 'master'),
  random: drawn('out'),
  dropout: drawn('input', 'out'),
  causalConv1d: rows(...sequences),
  convolution: rows('input', 'out'),
  convolutionGradInput: rows('gradOut', 'gradIn'),
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

/** Two operations that do what this one does, where an operand exceeds `limit` bytes and the kernel can be cut; else null. */
export function halves(operation: Operation, limit: number): [Operation, Operation] | null {
  const { kernel, operands, numbers } = operation
  const large = operands.map((operand) => operand !== null && operand.buffer.bytes > limit && extentOf(operand) > limit)
  if (!large.includes(true)) return null
  const { operandNames } = signatures[kernel]
  const ways = alike.has(kernel) ? alikeCuts(operation) : (cuts[kernel]?.(operation) ?? [])
  for (const { axes, secondNumbers = () => numbers } of ways) {
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
    return [
      { kernel, operands: first, numbers },
      { kernel, operands: second, numbers: numbersOfSecond },
    ]
  }
  return null
}
