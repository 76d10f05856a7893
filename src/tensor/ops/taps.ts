// Tables of taps: which positions of an axis each position of the result reads, and by what weight. They describe
// interpolation, pooling and padding along one axis, and are made once for each device and geometry.
import type { Backend } from '../../backend/types.js'
import { tensor } from '../create.js'
import { keep, outsideScopes } from '../scope.js'
import type { Tensor } from '../tensor.js'

interface Tap {
  /** Position of the input; one outside the axis adds nothing. */
  readonly at: number
  readonly weight: number
}

/** What each of the m positions of the result reads of an axis of n. */
export interface Taps {
  /** Equal keys have equal rows. */
  readonly key: string
  readonly n: number
  readonly m: number
  readonly rows: () => readonly (readonly Tap[])[]
}

/** A table on a device: index and weight (m, T). */
export interface TapTable {
  readonly index: Tensor
  readonly weight: Tensor
}

/** Tables that are kept for a device; the oldest go first. */
const kept = 1024
const tables = new WeakMap<Backend, Map<string, TapTable>>()

/** For each position of the input, who reads it: what the gradient sums. */
export function transposedTaps({ key, n, m, rows }: Taps): Taps {
  return {
    key: `${key} transposed`,
    n: m,
    m: n,
    rows: () => {
      const readers: Tap[][] = Array.from({ length: n }, () => [])
      rows().forEach((row, i) => {
        for (const { at, weight } of row) if (at >= 0 && at < n) readers[at].push({ at: i, weight })
      })
      return readers
    },
  }
}

/** The table of some taps on a device, or of who reads each position. */
export function tapTable(backend: Backend, taps: Taps, direction: 'forward' | 'transposed' = 'forward'): TapTable {
  const { key, m, rows } = direction === 'forward' ? taps : transposedTaps(taps)
  let ours = tables.get(backend)
  if (!ours) tables.set(backend, (ours = new Map()))
  const found = ours.get(key)
  if (found) return found
  const all = rows()
  const width = Math.max(1, ...all.map((row) => row.length))
  const index = new Int32Array(m * width).fill(-1)
  const weight = new Float32Array(m * width)
  all.forEach((row, i) => {
    row.forEach((tap, t) => {
      index[i * width + t] = tap.at
      weight[i * width + t] = tap.weight
    })
  })
  const shape = [m, width]
  const table = outsideScopes(() => ({
    index: keep(tensor(index, { shape, backend })),
    weight: keep(tensor(weight, { shape, backend })),
  }))
  if (ours.size >= kept) {
    const [oldest, old] = ours.entries().next().value!
    ours.delete(oldest)
    old.index.dispose()
    old.weight.dispose()
  }
  ours.set(key, table)
  return table
}
