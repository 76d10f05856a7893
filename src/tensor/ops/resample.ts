// Interpolation and padding of the spatial axes of (B, ...spatial, C), one axis after the other.
import { launch } from '../../backend/kernels.js'
import { MambakitError, ShapeError } from '../../errors.js'
import { differentiable } from '../autograd.js'
import { elementCount } from '../shape.js'
import { empty, type Tensor } from '../tensor.js'
import type { PerAxis } from './convolutionNd.js'
import { requireFloat } from './elementwise.js'
import { dense, operand } from './raw.js'
import { type Taps, tapTable } from './taps.js'

/** A tensor as (R, n, inner) about one of its axes, dense. */
export function aboutAxis(input: Tensor, axis: number) {
  const n = input.shape[axis]
  const inner = elementCount(input.shape.slice(axis + 1))
  return operand(input, [elementCount(input.shape.slice(0, axis)), n, inner], [n * inner, inner, 1])
}

/** The input with another extent of one axis. */
export const withExtent = (input: Tensor, axis: number, extent: number): number[] =>
  input.shape.map((own, i) => (i === axis ? extent : own))

/** Weighted sums along one axis as the taps say. */
export function resampleAxis(input: Tensor, axis: number, taps: Taps): Tensor {
  const { backend, dtype, shape } = input
  const apply = (x: Tensor, extent: number, direction: 'forward' | 'transposed') => {
    const out = empty(backend, withExtent(x, axis, extent), dtype)
    const { index, weight } = tapTable(backend, taps, direction)
    launch(backend, 'resample', { input: aboutAxis(dense(x), axis), index, weight, out: aboutAxis(out, axis) }, {})
    return out
  }
  return differentiable({
    name: 'resample',
    inputs: [input],
    forward: () => apply(input, taps.m, 'forward'),
    backward: ([gradOut]) => [apply(gradOut!, shape[axis], 'transposed')],
  })
}

/** Taps for each spatial axis in turn; the axis that shrinks most goes first, so that the others have less to do. */
export function resampleAxes(input: Tensor, taps: readonly (Taps | null)[]): Tensor {
  const order = taps.flatMap((axisTaps, i) => (axisTaps ? [{ axisTaps, axis: i + 1 }] : []))
  order.sort((a, b) => a.axisTaps.m / a.axisTaps.n - b.axisTaps.m / b.axisTaps.n)
  return order.reduce((x, { axisTaps, axis }) => resampleAxis(x, axis, axisTaps), input)
}

/** A value for each spatial axis of (B, ...spatial, C) from one for all of them or one for each. */
export function perAxis<T>(operation: string, input: Tensor, given: T | readonly T[]): readonly T[] {
  const axes = input.rank - 2
  if (axes < 1 || axes > 3)
    throw new ShapeError(operation, [input.shape], 'expected (B, ...spatial, C) of one to three spatial axes')
  if (!Array.isArray(given)) return new Array<T>(axes).fill(given as T)
  if (given.length !== axes)
    throw new MambakitError(`${operation}: expected ${axes} values, one for each spatial axis, got ${given.length}`)
  return given as readonly T[]
}

export type InterpolationMode = 'nearest' | 'nearest-exact' | 'linear' | 'bilinear' | 'trilinear' | 'bicubic' | 'area'

export interface InterpolateOptions {
  /** New extents of the spatial axes. */
  size?: PerAxis
  /** Factors by which the extents grow, in place of sizes: floor(extent * scale). */
  scale?: PerAxis
  /** Default 'nearest'. linear, bilinear and trilinear are one for any number of axes, and so is bicubic. */
  mode?: InterpolationMode
  /** The centres of the corner pixels stay where they are. Default false. For linear and cubic modes. */
  alignCorners?: boolean
  /** Widen the filter where the image shrinks. Default false. For linear and cubic modes. */
  antialias?: boolean
  /** Take the coordinates from the sizes even where scales are given. Default false. */
  recomputeScale?: boolean
}

type Filter = 'linear' | 'cubic'

/** Keys' cubic with parameter a. */
const cubic = (a: number) => (x: number) => {
  const d = Math.abs(x)
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0
}
const interpolatingCubic = cubic(-0.75)

/** What position i of a result of m reads of an axis of n. `step` is the distance of two results in the input. */
type Rule = (i: number, n: number, step: number, alignCorners: boolean) => { at: number; weight: number }[]

const limited = (at: number, n: number) => Math.min(Math.max(at, 0), n - 1)
const sourceOf = (i: number, step: number, alignCorners: boolean) => (alignCorners ? i * step : (i + 0.5) * step - 0.5)
const single = Math.fround

const rules: Readonly<Record<'nearest' | 'nearest-exact' | Filter, Rule>> = {
  // In float32, so that ties fall as they do in PyTorch.
  nearest: (i, n, step) => [{ at: limited(Math.floor(single(i * single(step))), n), weight: 1 }],
  'nearest-exact': (i, n, step) => [{ at: limited(Math.floor(single((i + 0.5) * single(step))), n), weight: 1 }],
  linear: (i, n, step, alignCorners) => {
    const source = Math.max(0, sourceOf(i, step, alignCorners))
    const at = limited(Math.floor(source), n)
    const weight = limited(source - at, 2)
    return [
      { at, weight: 1 - weight },
      { at: limited(at + 1, n), weight },
    ]
  },
  cubic: (i, n, step, alignCorners) => {
    const source = sourceOf(i, step, alignCorners)
    const first = Math.floor(source) - 1
    return [0, 1, 2, 3].map((k) => ({ at: limited(first + k, n), weight: interpolatingCubic(source - first - k) }))
  },
}

const filters: Readonly<Record<Filter, { radius: number; f: (x: number) => number }>> = {
  linear: { radius: 1, f: (x) => Math.max(0, 1 - Math.abs(x)) },
  cubic: { radius: 2, f: cubic(-0.5) },
}

/** Taps of a filter that is as wide as the distance of the results. */
function antialiased(filter: Filter, i: number, n: number, step: number) {
  const { radius, f } = filters[filter]
  const width = Math.max(step, 1)
  const centre = step * (i + 0.5)
  const first = Math.max(0, Math.trunc(centre - radius * width + 0.5))
  const end = Math.min(n, Math.trunc(centre + radius * width + 0.5))
  const taps = Array.from({ length: end - first }, (_, k) => ({
    at: first + k,
    weight: f((first + k - centre + 0.5) / width),
  }))
  const total = taps.reduce((sum, { weight }) => sum + weight, 0)
  return taps.map(({ at, weight }) => ({ at, weight: weight / total }))
}

/** Means of the windows [floor(i n / m), ceil((i + 1) n / m)). */
export function adaptiveTaps(n: number, m: number): Taps {
  return {
    key: `adaptive ${n} ${m}`,
    n,
    m,
    rows: () =>
      Array.from({ length: m }, (_, i) => {
        const first = Math.floor((i * n) / m)
        const length = Math.ceil(((i + 1) * n) / m) - first
        return Array.from({ length }, (_, t) => ({ at: first + t, weight: 1 / length }))
      }),
  }
}

const axisRules: Readonly<Record<Exclude<InterpolationMode, 'area'>, keyof typeof rules>> = {
  nearest: 'nearest',
  'nearest-exact': 'nearest-exact',
  linear: 'linear',
  bilinear: 'linear',
  trilinear: 'linear',
  bicubic: 'cubic',
}

/**
 * Resizes the spatial axes of (B, ...spatial, C), one to three of them. mirrors: torch.nn.functional.interpolate
 * Throws where neither or both of size and scale are given, or an extent would be below 1.
 */
export function interpolate(input: Tensor, options: InterpolateOptions): Tensor {
  requireFloat('interpolate', input)
  const { size, scale, mode = 'nearest', alignCorners = false, antialias = false, recomputeScale = false } = options
  if ((size === undefined) === (scale === undefined))
    throw new MambakitError('interpolate: expected either a size or a scale')
  const scales = scale === undefined ? null : perAxis('interpolate', input, scale)
  const sizes = scales
    ? scales.map((factor, i) => Math.floor(input.shape[i + 1] * factor))
    : perAxis('interpolate', input, size!)
  if (sizes.some((extent) => !Number.isInteger(extent) || extent < 1))
    throw new MambakitError(`interpolate: expected extents of at least 1, got (${sizes.join(', ')})`)
  if (mode === 'area')
    return resampleAxes(
      input,
      sizes.map((m, i) => adaptiveTaps(input.shape[i + 1], m)),
    )
  const rule = axisRules[mode]
  if ((alignCorners || antialias) && rule !== 'linear' && rule !== 'cubic')
    throw new MambakitError(`interpolate: mode '${mode}' knows neither alignCorners nor antialias`)
  const taps = sizes.map((m, i): Taps => {
    const n = input.shape[i + 1]
    const given = scales && !recomputeScale ? 1 / scales[i] : n / m
    const step = alignCorners ? (m > 1 ? (n - 1) / (m - 1) : 0) : given
    const row = (at: number) =>
      antialias ? antialiased(rule as Filter, at, n, step) : rules[rule](at, n, step, alignCorners)
    return {
      key: `interpolate ${rule} ${n} ${m} ${step} ${alignCorners} ${antialias}`,
      n,
      m,
      rows: () => Array.from({ length: m }, (_, at) => row(at)),
    }
  })
  return resampleAxes(input, taps)
}

export type PadMode = 'zeros' | 'reflect' | 'replicate' | 'circular'

/** The position that a place outside an axis of n stands for; -1 for zeros. */
const outside: Readonly<Record<PadMode, (at: number, n: number) => number>> = {
  zeros: () => -1,
  reflect: (at, n) => (at < 0 ? -at : 2 * (n - 1) - at),
  replicate: limited,
  circular: (at, n) => (at + n) % n,
}

/**
 * Pads the spatial axes of (B, ...spatial, C) by [before, after] each; negative ones crop.
 * mirrors: torch.nn.functional.pad. Throws where reflect or circular padding exceeds the axis.
 */
export function pad(
  input: Tensor,
  padding: number | readonly (number | readonly [before: number, after: number])[],
  mode: PadMode = 'zeros',
): Tensor {
  requireFloat('pad', input)
  const pairs = perAxis<number | readonly [number, number]>('pad', input, padding)
  const taps = pairs.map((pair, i): Taps | null => {
    const [before, after] = typeof pair === 'number' ? [pair, pair] : pair
    const n = input.shape[i + 1]
    const m = n + before + after
    const most = mode === 'reflect' ? n - 1 : mode === 'circular' ? n : Number.POSITIVE_INFINITY
    if (m < 1 || Math.max(before, after) > most)
      throw new MambakitError(`pad: expected ${mode} padding that an axis of ${n} allows, got (${before}, ${after})`)
    if (before === 0 && after === 0) return null
    return {
      key: `pad ${mode} ${n} ${before} ${after}`,
      n,
      m,
      rows: () =>
        Array.from({ length: m }, (_, i) => {
          const at = i - before
          return [{ at: at >= 0 && at < n ? at : outside[mode](at, n), weight: 1 }]
        }),
    }
  })
  return resampleAxes(input, taps)
}
