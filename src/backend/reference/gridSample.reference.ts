// Sampling of a grid of cells at any points, and its gradients, in float64.
import type { NumbersOf } from '../kernels.js'
import type { ReferenceKernel, View } from './view.js'

/** A cell that a point reads along one axis, its weight, and the weight's slope in the grid's coordinate. */
interface Tap {
  readonly at: number
  readonly weight: number
  readonly slope: number
}

type Numbers = NumbersOf<'gridSample'>

/** x reflected at two edges until it lies between them, and the slope of that (1 or -1). */
function reflected(x: number, low: number, high: number): [value: number, slope: number] {
  const span = high - low
  if (span === 0) return [low, 0]
  const turns = Math.floor((x - low) / span)
  const rest = x - low - turns * span
  return turns % 2 === 0 ? [low + rest, 1] : [high - rest, -1]
}

/** A place within the axis for one outside, and the slope of that. */
function inside(x: number, n: number, { outside, alignCorners }: Numbers): [value: number, slope: number] {
  if (outside === 0) return [x, 1]
  const [folded, slope] = outside === 1 ? [x, 1] : alignCorners ? reflected(x, 0, n - 1) : reflected(x, -0.5, n - 0.5)
  if (folded <= 0) return [0, 0]
  return folded >= n - 1 ? [n - 1, 0] : [folded, slope]
}

function roundHalfEven(x: number): number {
  const low = Math.floor(x)
  if (x - low !== 0.5) return Math.round(x)
  return low % 2 === 0 ? low : low + 1
}

const cubicWeight = (d: number): number => {
  const x = Math.abs(d)
  return x < 1 ? (1.25 * x - 2.25) * x * x + 1 : ((-0.75 * x + 3.75) * x - 6) * x + 3
}
const cubicSlope = (d: number): number => {
  const x = Math.abs(d)
  return Math.sign(d) * (x < 1 ? (3.75 * x - 4.5) * x : (-2.25 * x + 7.5) * x - 6)
}

/** What a coordinate reads of an axis of n cells; cells outside are left out. */
function tapsOf(coordinate: number, n: number, numbers: Numbers): Tap[] {
  const { filter, alignCorners } = numbers
  const scale = alignCorners ? (n - 1) / 2 : n / 2
  const place = alignCorners ? (coordinate + 1) * scale : (coordinate + 1) * scale - 0.5
  const limited = Math.min(Math.max(place, -(2 ** 22)), 2 ** 22)
  const within = (tap: Tap) => tap.at >= 0 && tap.at < n
  if (filter === 2) {
    const first = Math.floor(limited) - 1
    return [0, 1, 2, 3]
      .map((k) => {
        const distance = limited - (first + k)
        return {
          at: inside(first + k, n, numbers)[0],
          weight: cubicWeight(distance),
          slope: scale * cubicSlope(distance),
        }
      })
      .filter(within)
  }
  const [x, slope] = inside(limited, n, numbers)
  if (filter === 1) return [{ at: roundHalfEven(x), weight: 1, slope: 0 }].filter(within)
  const low = Math.floor(x)
  return [
    { at: low, weight: 1 - (x - low), slope: -slope * scale },
    { at: low + 1, weight: x - low, slope: slope * scale },
  ].filter(within)
}

/** The cells that a point reads: their position, weight, and the weight's slope in each coordinate. Null for a NaN point. */
function cellsOf(grid: View, b: number, i: number, numbers: Numbers) {
  const coordinates = Array.from({ length: grid.shape[2] }, (_, axis) => grid.at(b, i, axis))
  if (coordinates.some(Number.isNaN)) return null
  const one: Tap[] = [{ at: 0, weight: 1, slope: 0 }]
  const xs = tapsOf(coordinates[0], numbers.width, numbers)
  const ys = tapsOf(coordinates[1], numbers.height, numbers)
  const zs = coordinates.length === 3 ? tapsOf(coordinates[2], numbers.depth, numbers) : one
  return zs.flatMap((z) =>
    ys.flatMap((y) =>
      xs.map((x) => ({
        at: (z.at * numbers.height + y.at) * numbers.width + x.at,
        weight: x.weight * y.weight * z.weight,
        slopes: [x.slope * y.weight * z.weight, x.weight * y.slope * z.weight, x.weight * y.weight * z.slope],
      })),
    ),
  )
}

export const gridSample: ReferenceKernel<'gridSample'> = ({ input, grid, out }, numbers) => {
  const [batch, points, channels] = out.shape
  for (let b = 0; b < batch; b++)
    for (let i = 0; i < points; i++) {
      const cells = cellsOf(grid, b, i, numbers)
      for (let c = 0; c < channels; c++)
        out.put(
          cells ? cells.reduce((sum, { at, weight }) => sum + weight * input.at(b, at, c), 0) : Number.NaN,
          b,
          i,
          c,
        )
    }
}

export const gridSampleGrad: ReferenceKernel<'gridSampleGrad'> = (
  { input, grid, gradOut, gradIn, gradGrid },
  numbers,
) => {
  const [batch, points, channels] = gradOut.shape
  gradIn?.fill(0)
  gradGrid?.fill(0)
  for (let b = 0; b < batch; b++)
    for (let i = 0; i < points; i++) {
      const cells = cellsOf(grid, b, i, numbers)
      if (!cells) for (let axis = 0; axis < grid.shape[2]; axis++) gradGrid?.put(Number.NaN, b, i, axis)
      for (const { at, weight, slopes } of cells ?? [])
        for (let c = 0; c < channels; c++) {
          gradIn?.add(weight * gradOut.at(b, i, c), b, at, c)
          for (let axis = 0; axis < grid.shape[2]; axis++)
            gradGrid?.add(slopes[axis] * input.at(b, at, c) * gradOut.at(b, i, c), b, i, axis)
        }
    }
}
