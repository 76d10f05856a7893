// Cases of windows along an axis: weighted sums and maxima by tables of indices, and the gradient of the maxima.
import type { Dtype } from '../types.js'
import { Draw, type HostOperand, type KernelCase, kernelCase, operandOf, output } from './operands.js'

interface WindowShape {
  readonly rows: number
  readonly n: number
  readonly m: number
  readonly inner: number
  readonly taps: number
  readonly dtype?: Dtype
  readonly outDtype?: Dtype
  readonly pad?: number
}

const shapes: readonly (readonly [string, WindowShape])[] = [
  ['one of each', { rows: 1, n: 1, m: 1, inner: 1, taps: 1 }],
  ['one tap', { rows: 2, n: 5, m: 9, inner: 3, taps: 1 }],
  ['two taps', { rows: 3, n: 9, m: 5, inner: 16, taps: 2 }],
  ['nine taps', { rows: 2, n: 14, m: 7, inner: 40, taps: 9 }],
  ...[1, 2, 7, 15, 17, 32, 33, 64, 67].map(
    (inner) => [`inner ${inner}`, { rows: 2, n: 6, m: 7, inner, taps: 3 }] as const,
  ),
  ['wide', { rows: 1, n: 4, m: 3, inner: 515, taps: 4 }],
  ['many rows', { rows: 700, n: 5, m: 4, inner: 6, taps: 3 }],
  ['padded rows', { rows: 3, n: 6, m: 5, inner: 13, taps: 3, pad: 3 }],
  ['rows padded by fours', { rows: 3, n: 6, m: 5, inner: 12, taps: 3, pad: 4 }],
  ['float16', { rows: 2, n: 6, m: 5, inner: 24, taps: 3, dtype: 'float16', outDtype: 'float16' }],
  ['bfloat16', { rows: 2, n: 6, m: 5, inner: 21, taps: 3, dtype: 'bfloat16', outDtype: 'bfloat16', pad: 1 }],
  ['bfloat16 into float32', { rows: 2, n: 6, m: 5, inner: 20, taps: 3, dtype: 'bfloat16' }],
]

/** Indices of which some lie outside; the first row has none inside, and no row has one twice. */
function indices(draw: Draw, m: number, taps: number, n: number): HostOperand {
  const rows = Array.from({ length: m }, (_, i) => {
    const order = draw.order(Math.max(n, taps)).slice(0, taps)
    return order.map((at) => (at >= n || draw.next() < 0.2 || (i === 0 && m > 1) ? (at % 2 ? -1 : n) : at))
  })
  return operandOf([m, taps], (i) => rows[Math.floor(i / taps)][i % taps], { dtype: 'int32' })
}

export function* windowCases(): Generator<KernelCase> {
  for (const [i, [name, shape]] of shapes.entries()) {
    const { rows, n, m, inner, taps, dtype = 'float32', outDtype = 'float32', pad = 0 } = shape
    const draw = new Draw(9000 + i)
    const input = draw.floats([rows, n, inner], -2, 2, { dtype, pad, offset: pad })
    const index = indices(draw, m, taps, n)
    const out = () => output([rows, m, inner], { dtype: outDtype, pad })
    const weight = draw.floats([m, taps], -1, 1)
    yield kernelCase('resample', name, { input, index, weight, out: out() }, {})
    const winner = () => output([rows, m, inner], { dtype: 'int32' })
    yield kernelCase('maxPool', name, { input, index, out: out(), winner: winner() }, {})
    yield kernelCase('maxPool', `${name}, out alone`, { input, index, out: out() }, {})
    const readers = indices(draw, n, taps, m)
    const won = draw.integers([rows, m, inner], -1, n)
    const gradOut = draw.floats([rows, m, inner], -1, 1, { dtype: outDtype, pad })
    const gradIn = output([rows, n, inner], { dtype, pad })
    yield kernelCase('maxPoolGrad', name, { winner: won, gradOut, index: readers, gradIn }, {})
  }
  const values = [1, Number.NaN, 3, Number.NEGATIVE_INFINITY, 3, Number.NaN, 2, 3]
  const input = operandOf([2, 4, 1], (i) => values[i])
  const index = operandOf([3, 3], (i) => [0, 2, 3, 3, 1, 0, 2, 0, -1][i], { dtype: 'int32' })
  const outputs = () => ({ out: output([2, 3, 1]), winner: output([2, 3, 1], { dtype: 'int32' }) })
  yield kernelCase('maxPool', 'NaN wins, then the first of equals', { input, index, ...outputs() }, {})
  const lowest = operandOf([2, 4, 1], () => Number.NEGATIVE_INFINITY)
  yield kernelCase('maxPool', 'infinities alone', { input: lowest, index, ...outputs() }, {})
  const weight = operandOf([3, 3], () => 0.5)
  yield kernelCase('resample', 'NaN spoils who reads it', { input, index, weight, out: output([2, 3, 1]) }, {})
}
