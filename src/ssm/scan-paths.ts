// Scan paths as data. An order says which position of a map a scan visits at each of its steps; a path is several orders
// that a scan takes side by side (its directions). Positions of an H x W map are numbered by rows: p = i W + j.
import type { Backend } from '../backend/types.js'
import { permutation } from '../data/permutation.js'
import { MambakitError } from '../errors.js'
import { outsideScopes, type Tensor, tensor } from '../tensor/index.js'

/** The position of each step. */
export type Order = Int32Array

/** An order from the position of step t, for as many steps as the map has positions. */
const order = (height: number, width: number, position: (t: number) => number, steps = height * width): Order =>
  Int32Array.from({ length: steps }, (_, t) => position(t))

/** Row by row. */
export const rows = (height: number, width: number): Order => order(height, width, (t) => t)

/** Column by column. */
export const columns = (height: number, width: number): Order =>
  order(height, width, (t) => (t % height) * width + Math.floor(t / height))

/** Row by row, every other one from right to left: each step goes to a neighbour. */
export const snakeRows = (height: number, width: number): Order =>
  order(height, width, (t) => {
    const [i, j] = [Math.floor(t / width), t % width]
    return i * width + (i % 2 === 0 ? j : width - 1 - j)
  })

/** Column by column, every other one from bottom to top. */
export const snakeColumns = (height: number, width: number): Order =>
  order(height, width, (t) => {
    const [j, i] = [Math.floor(t / height), t % height]
    return (j % 2 === 0 ? i : height - 1 - i) * width + j
  })

/**
 * Window by window, row by row inside one; `byColumns` takes windows and their positions by columns. Windows at the right
 * and bottom may be smaller. mirrors: local_scan of LocalMamba (arXiv 2403.09338)
 */
export function windows(height: number, width: number, side: number, options: { byColumns?: boolean } = {}): Order {
  if (options.byColumns) return transposed(windows(width, height, side), height, width)
  const visited: number[] = []
  for (let top = 0; top < height; top += side)
    for (let left = 0; left < width; left += side)
      for (let i = top; i < Math.min(top + side, height); i++)
        for (let j = left; j < Math.min(left + side, width); j++) visited.push(i * width + j)
  return Int32Array.from(visited)
}

/** The order of a W x H map on the H x W map with rows and columns exchanged. */
function transposed(other: Order, height: number, width: number): Order {
  return other.map((p) => (p % height) * width + Math.floor(p / height))
}

/**
 * The generalised Hilbert curve: neighbours along it are neighbours in the map (one diagonal step where the sides' parity
 * leaves no other way), whatever the sides. mirrors: gilbert2d of jakubcerveny/gilbert
 */
export function hilbert(height: number, width: number): Order {
  const visited: number[] = []
  const half = (n: number) => Math.floor(n / 2)
  // The rectangle at (x, y) along (ax, ay) with the other side (bx, by).
  const fill = (x: number, y: number, ax: number, ay: number, bx: number, by: number): void => {
    const [w, h] = [Math.abs(ax + ay), Math.abs(bx + by)]
    const [dax, day, dbx, dby] = [ax, ay, bx, by].map(Math.sign)
    if (h === 1 || w === 1) {
      const [dx, dy, count] = h === 1 ? [dax, day, w] : [dbx, dby, h]
      for (let i = 0; i < count; i++) visited.push((y + i * dy) * width + x + i * dx)
      return
    }
    let [ax2, ay2, bx2, by2] = [half(ax), half(ay), half(bx), half(by)]
    if (2 * w > 3 * h) {
      // Long: two halves, the first of an even length.
      if (Math.abs(ax2 + ay2) % 2 && w > 2) [ax2, ay2] = [ax2 + dax, ay2 + day]
      fill(x, y, ax2, ay2, bx, by)
      fill(x + ax2, y + ay2, ax - ax2, ay - ay2, bx, by)
      return
    }
    // One step up, one long across, one step down.
    if (Math.abs(bx2 + by2) % 2 && h > 2) [bx2, by2] = [bx2 + dbx, by2 + dby]
    fill(x, y, bx2, by2, ax2, ay2)
    fill(x + bx2, y + by2, ax, ay, bx - bx2, by - by2)
    fill(x + (ax - dax) + (bx2 - dbx), y + (ay - day) + (by2 - dby), -bx2, -by2, -(ax - ax2), -(ay - ay2))
  }
  if (height > 0 && width > 0) {
    if (width >= height) fill(0, 0, width, 0, 0, height)
    else fill(0, 0, 0, height, width, 0)
  }
  return Int32Array.from(visited)
}

/** A random order, the same for a seed. */
export const shuffled = (height: number, width: number, seed: number): Order =>
  order(height, width, (t) => permutation(t, height * width, seed, 0))

/** The last step first. */
export const reversed = (from: Order): Order => from.slice().reverse()

/** The step at which each position is visited; the order must visit every position. */
export function inverse(from: Order): Order {
  const steps = new Int32Array(from.length)
  from.forEach((position, step) => {
    steps[position] = step
  })
  return steps
}

/**
 * What a step of an order is, by the codes of PlainMamba's direction_Bs: 1 right, 2 left, 3 up, 4 down, and 0 for what does
 * not come from a neighbour: the first step, and those with which a raster begins a line.
 */
export function stepDirections(from: Order, width: number): Int32Array {
  const codes = new Map([
    ['0 1', 1],
    ['0 -1', 2],
    ['-1 0', 3],
    ['1 0', 4],
  ])
  const place = (position: number) => [Math.floor(position / width), position % width]
  return from.map((position, t) => {
    if (t === 0) return 0
    const [[i, j], [fromI, fromJ]] = [place(position), place(from[t - 1])]
    return codes.get(`${i - fromI} ${j - fromJ}`) ?? 0
  })
}

/** The patterns that models name: the orders of their directions on an H x W map. */
const patterns = {
  /** One scan row by row. */
  rows: (h: number, w: number) => [rows(h, w)],
  /** One scan from the last position to the first. */
  rowsBack: (h: number, w: number) => [reversed(rows(h, w))],
  /** One scan column by column. */
  columns: (h: number, w: number) => [columns(h, w)],
  /** The same from the last position to the first. */
  columnsBack: (h: number, w: number) => [reversed(columns(h, w))],
  /** Rows, columns, and both backwards. mirrors: CrossScan of VMamba */
  cross: (h: number, w: number) => [rows(h, w), columns(h, w), reversed(rows(h, w)), reversed(columns(h, w))],
  /** Four times row by row. mirrors: VMamba, unidi */
  unidirectional: (h: number, w: number) => [rows(h, w), rows(h, w), rows(h, w), rows(h, w)],
  /** Twice forwards, twice backwards. mirrors: VMamba, bidi */
  bidirectional: (h: number, w: number) => [rows(h, w), rows(h, w), reversed(rows(h, w)), reversed(rows(h, w))],
  /** Row by row on the map turned by 0, 90, 180 and 270 degrees. mirrors: VMamba, rotation scans */
  rotation: (h: number, w: number) => {
    const turned = order(h, w, (t) => (t % h) * w + (w - 1 - Math.floor(t / h)))
    return [rows(h, w), turned, reversed(rows(h, w)), reversed(turned)]
  },
  /** Snakes along rows and columns, and both backwards. mirrors: the four paths of PlainMamba2D */
  continuous: (h: number, w: number) => {
    const [along, across] = [snakeRows(h, w), snakeColumns(h, w)]
    return [along, reversed(along), across, reversed(across)]
  },
  /**
   * Every other position of every other row, so that four scans share the map out: (even, even) and (even, odd) row by row,
   * (odd, even) and (odd, odd) column by column. Both sides even. mirrors: EfficientScan of EfficientVMamba
   */
  skip: (h: number, w: number) => {
    if (h % 2 || w % 2) throw new MambakitError(`skip sampling: expected even sides, got ${h} x ${w}`)
    const [h2, w2] = [h / 2, w / 2]
    const at = (i: number, j: number) => i * w + j
    const byRows = (right: number) => order(h, w, (t) => at(2 * Math.floor(t / w2), 2 * (t % w2) + right), h2 * w2)
    const byColumns = (right: number) =>
      order(h, w, (t) => at(2 * (t % h2) + 1, 2 * Math.floor(t / h2) + right), h2 * w2)
    return [byRows(0), byColumns(0), byRows(1), byColumns(1)]
  },
  /** The Hilbert curve forwards and backwards. */
  hilbert: (h: number, w: number) => [hilbert(h, w), reversed(hilbert(h, w))],
} as const
export type ScanPattern = keyof typeof patterns

/** How many directions a pattern has. */
export const directionsOf = (pattern: ScanPattern): number => patterns[pattern](2, 2).length

/** The directions of a scan over a map, and the same on a device. */
export class ScanPath {
  readonly #onDevice = new WeakMap<Backend, Map<string, Tensor>>()

  /** Every direction has the same number of steps, and visits no position twice. */
  constructor(
    readonly height: number,
    readonly width: number,
    readonly directions: readonly Order[],
  ) {
    const positions = height * width
    for (const [k, steps] of directions.entries()) {
      if (steps.length !== directions[0].length)
        throw new MambakitError(`path: direction ${k} has ${steps.length} steps, the first ${directions[0].length}`)
      const seen = new Uint8Array(positions)
      for (const position of steps) {
        if (!(position >= 0 && position < positions) || seen[position])
          throw new MambakitError(`path: direction ${k} visits ${position} twice or outside ${height} x ${width}`)
        seen[position] = 1
      }
    }
  }

  /** Steps of a direction. */
  get steps(): number {
    return this.directions[0].length
  }

  /** (K, T) int32: the position of each step. Made once for a device and kept. */
  on(backend: Backend): Tensor {
    return this.#kept(backend, 'positions', [this.directions.length, this.steps], () => this.directions)
  }

  /** (T, K) int32: `stepDirections` of each step of each direction; with `byPosition` (L, K), of the step that comes there. */
  codesOn(backend: Backend, { byPosition = false } = {}): Tensor {
    const K = this.directions.length
    return this.#kept(backend, byPosition ? 'codes by position' : 'codes', [this.steps, K], () => {
      const codes = this.directions.map((order) => {
        const bySteps = stepDirections(order, this.width)
        return byPosition ? inverse(order).map((step) => bySteps[step]) : bySteps
      })
      return [Int32Array.from({ length: this.steps * K }, (_, i) => codes[i % K][Math.floor(i / K)])]
    })
  }

  #kept(backend: Backend, name: string, shape: readonly number[], values: () => readonly Int32Array[]): Tensor {
    const tensors = this.#onDevice.get(backend) ?? new Map<string, Tensor>()
    this.#onDevice.set(backend, tensors)
    let kept = tensors.get(name)
    if (!kept) {
      const rows = values()
      const joined = new Int32Array(shape[0] * shape[1])
      for (const [i, row] of rows.entries()) joined.set(row, i * row.length)
      kept = outsideScopes(() => tensor(joined, { shape, backend }))
      tensors.set(name, kept)
    }
    return kept
  }
}

const known = new Map<string, ScanPath>()

/** The path of a pattern on an H x W map, made once. */
export function scanPath(pattern: ScanPattern, height: number, width: number): ScanPath {
  const key = `${pattern} ${height} ${width}`
  let path = known.get(key)
  if (!path) {
    path = new ScanPath(height, width, patterns[pattern](height, width))
    known.set(key, path)
  }
  return path
}

/**
 * The window of the locally bidirectional scan for a sequence of `length` steps, as LBMamba's kernel has it; models are
 * trained with it and need it at every length.
 */
export const localWindow = (length: number): number => (length <= 128 ? 4 : length <= 256 ? 8 : 16)
