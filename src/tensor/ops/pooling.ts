// Pooling over windows of the spatial axes of (B, ...spatial, C), one axis after the other: averages and maxima.
import { launch } from '../../backend/kernels.js'
import { MambakitError } from '../../errors.js'
import { differentiable } from '../autograd.js'
import { empty, type Tensor } from '../tensor.js'
import type { PerAxis } from './convolutionNd.js'
import { requireFloat } from './elementwise.js'
import { dense } from './raw.js'
import { aboutAxis, adaptiveTaps, perAxis, resampleAxes, withExtent } from './resample.js'
import { type Taps, tapTable } from './taps.js'

export interface PoolOptions {
  /** Default: the kernel's extents. */
  stride?: PerAxis
  /** On both sides, at most half of the kernel. Default 0. */
  padding?: PerAxis
  /** Round the number of windows up. Default false. */
  ceil?: boolean
}

interface Window {
  readonly n: number
  readonly kernel: number
  readonly stride: number
  readonly padding: number
  readonly dilation: number
  readonly m: number
}

/** The windows along each spatial axis, as PyTorch counts them: with `ceil` none starts in the padding behind. */
function windowsOf(
  operation: string,
  input: Tensor,
  kernel: PerAxis,
  options: PoolOptions & { dilation?: PerAxis },
): Window[] {
  requireFloat(operation, input)
  const each = (given: PerAxis) => perAxis(operation, input, given)
  const kernels = each(kernel)
  const [strides, paddings] = [each(options.stride ?? kernel), each(options.padding ?? 0)]
  const dilations = each(options.dilation ?? 1)
  return kernels.map((k, i) => {
    const [n, stride, padding, dilation] = [input.shape[i + 1], strides[i], paddings[i], dilations[i]]
    if (![k, stride, dilation].every((value) => Number.isInteger(value) && value > 0))
      throw new MambakitError(
        `${operation}: expected positive kernel, stride and dilation, got ${k}, ${stride}, ${dilation}`,
      )
    if (!(Number.isInteger(padding) && padding >= 0 && padding <= k / 2))
      throw new MambakitError(`${operation}: expected a padding of at most half the kernel of ${k}, got ${padding}`)
    const spare = n + 2 * padding - dilation * (k - 1) - 1
    let m = (options.ceil ? Math.ceil(spare / stride) : Math.floor(spare / stride)) + 1
    if (options.ceil && (m - 1) * stride >= n + padding) m--
    if (m < 1) throw new MambakitError(`${operation}: a kernel of ${k} does not fit into an axis of ${n}`)
    return { n, kernel: k, stride, padding, dilation, m }
  })
}

/**
 * Means over windows of (B, ...spatial, C), one to three spatial axes. `countPadding`: padding counts in the mean's
 * denominator (default true). mirrors: torch.nn.functional.avg_pool1d, 2d, 3d
 */
export function averagePool(
  input: Tensor,
  kernel: PerAxis,
  options: PoolOptions & { countPadding?: boolean } = {},
): Tensor {
  const { countPadding = true } = options
  const taps = windowsOf('averagePool', input, kernel, options).map((window): Taps => {
    const { n, kernel, stride, padding, m } = window
    const row = (i: number) => {
      const start = i * stride - padding
      const end = Math.min(start + kernel, n + padding)
      const [first, last] = [Math.max(start, 0), Math.min(end, n)]
      const weight = 1 / (countPadding ? end - start : last - first)
      return Array.from({ length: last - first }, (_, t) => ({ at: first + t, weight }))
    }
    return {
      key: `average ${Object.values(window).join()} ${countPadding}`,
      n,
      m,
      rows: () => Array.from({ length: m }, (_, i) => row(i)),
    }
  })
  return resampleAxes(input, taps)
}

/** Largest values along one axis as the taps say (their weights do not count). */
function maxAxis(input: Tensor, axis: number, taps: Taps): Tensor {
  const { backend, dtype, shape } = input
  const pooled = withExtent(input, axis, taps.m)
  return differentiable({
    name: 'maxPool',
    inputs: [input],
    forward: () => {
      const out = empty(backend, pooled, dtype)
      const winner = empty(backend, pooled, 'int32')
      const views = {
        input: aboutAxis(dense(input), axis),
        out: aboutAxis(out, axis),
        winner: aboutAxis(winner, axis),
      }
      launch(backend, 'maxPool', { ...views, index: tapTable(backend, taps).index }, {})
      return [out, winner] as const
    },
    save: ([, winner]) => [winner],
    backward: ([gradOut], [winner]) => {
      const gradIn = empty(backend, shape, dtype)
      const views = {
        winner: aboutAxis(winner, axis),
        gradOut: aboutAxis(dense(gradOut!), axis),
        gradIn: aboutAxis(gradIn, axis),
      }
      launch(backend, 'maxPoolGrad', { ...views, index: tapTable(backend, taps, 'transposed').index }, {})
      return [gradIn]
    },
  })[0]
}

/** The last axis goes first, so that of equal values the first in row-major order wins. */
const maxAxes = (input: Tensor, taps: readonly Taps[]): Tensor =>
  taps.reduceRight((x, axisTaps, i) => maxAxis(x, i + 1, axisTaps), input)

/**
 * Maxima over windows of (B, ...spatial, C), one to three spatial axes; NaN if any is NaN. Of equal values the first
 * takes the gradient. mirrors: torch.nn.functional.max_pool1d, 2d, 3d
 */
export function maxPool(input: Tensor, kernel: PerAxis, options: PoolOptions & { dilation?: PerAxis } = {}): Tensor {
  const taps = windowsOf('maxPool', input, kernel, options).map((window): Taps => {
    const { n, kernel, stride, padding, dilation, m } = window
    const row = (i: number) =>
      Array.from({ length: kernel }, (_, t) => ({ at: i * stride - padding + t * dilation, weight: 1 }))
    return { key: `max ${Object.values(window).join()}`, n, m, rows: () => Array.from({ length: m }, (_, i) => row(i)) }
  })
  return maxAxes(input, taps)
}

function adaptive(operation: string, input: Tensor, size: PerAxis): Taps[] {
  requireFloat(operation, input)
  return perAxis(operation, input, size).map((m, i) => {
    if (!(Number.isInteger(m) && m > 0)) throw new MambakitError(`${operation}: expected positive sizes, got ${m}`)
    return adaptiveTaps(input.shape[i + 1], m)
  })
}

/** Means over windows that divide each spatial axis of (B, ...spatial, C) into `size` parts. mirrors: torch.nn.functional.adaptive_avg_pool1d, 2d, 3d */
export const adaptiveAveragePool = (input: Tensor, size: PerAxis): Tensor =>
  resampleAxes(input, adaptive('adaptiveAveragePool', input, size))

/** Maxima over the same windows. mirrors: torch.nn.functional.adaptive_max_pool1d, 2d, 3d */
export const adaptiveMaxPool = (input: Tensor, size: PerAxis): Tensor =>
  maxAxes(input, adaptive('adaptiveMaxPool', input, size))
