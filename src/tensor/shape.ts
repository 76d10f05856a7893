// Shape arithmetic: sizes, strides, NumPy broadcasting, axes.
import { MambakitError, ShapeError } from '../errors.js'

export type Shape = readonly number[]

export function elementCount(shape: Shape): number {
  let count = 1
  for (const extent of shape) count *= extent
  return count
}

export function contiguousStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length)
  let stride = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride
    stride *= shape[axis]
  }
  return strides
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((extent, axis) => extent === b[axis])
}

/** The shape that NumPy's rules give for two operands. Throws ShapeError naming `operation`. */
export function broadcastShapes(operation: string, a: Shape, b: Shape): Shape {
  if (sameShape(a, b)) return a
  const rank = Math.max(a.length, b.length)
  return Array.from({ length: rank }, (_, axis) => {
    const x = a[axis - rank + a.length] ?? 1
    const y = b[axis - rank + b.length] ?? 1
    if (x !== y && x !== 1 && y !== 1)
      throw new ShapeError(operation, [a, b], 'expected shapes that broadcast together (equal extents, or 1)')
    return x === 1 ? y : x
  })
}

/** Strides that repeat a view of `shape` over `target`, 0 where an axis is repeated. */
export function broadcastStrides(shape: Shape, strides: Shape, target: Shape): number[] {
  const lead = target.length - shape.length
  return target.map((extent, axis) => {
    if (axis < lead) return 0
    const own = shape[axis - lead]
    return own === 1 && extent !== 1 ? 0 : strides[axis - lead]
  })
}

/** A non-negative axis. Negative ones count from the end. */
export function normalizeAxis(operation: string, axis: number, rank: number): number {
  const positive = axis < 0 ? axis + rank : axis
  if (!Number.isInteger(axis) || positive < 0 || positive >= rank)
    throw new MambakitError(`${operation}: expected an axis in [${-rank}, ${rank}), got ${axis}`)
  return positive
}

/**
 * Shape and strides of the same elements with neighbouring axes merged where strides allow, so that a tensor of any
 * rank becomes rows of `trailing` inner axes: (R, ...inner). Null if the leading axes cannot be merged into one.
 */
export function mergeLeading(shape: Shape, strides: Shape, inner: number): { rows: number; stride: number } | null {
  const lead = shape.length - inner
  let rows = 1
  let stride = 0
  let expected = -1
  for (let axis = lead - 1; axis >= 0; axis--) {
    if (shape[axis] === 1) continue
    if (expected === -1) stride = strides[axis]
    else if (strides[axis] !== expected) return null
    expected = strides[axis] * shape[axis]
    rows *= shape[axis]
  }
  return { rows, stride }
}

/** Strides of the same memory seen as `target`, which has as many elements; null where no strides do. */
export function viewStrides(shape: Shape, strides: Shape, target: Shape): number[] | null {
  const axes = shape.flatMap((extent, axis) => (extent === 1 ? [] : [{ extent, stride: strides[axis] }]))
  const found = new Array<number>(target.length).fill(1)
  let to = target.length - 1
  for (let from = axes.length - 1; from >= 0; ) {
    // A run of axes that walks memory as one, and the axes of the target that it becomes.
    const { stride } = axes[from]
    let run = axes[from--].extent
    while (from >= 0 && axes[from].stride === stride * run) run *= axes[from--].extent
    let inside = 1
    while (to >= 0 && (inside < run || target[to] === 1)) {
      found[to] = stride * inside
      inside *= target[to--]
    }
    if (inside !== run) return null
  }
  return found
}
