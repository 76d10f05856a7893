import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  columns,
  hilbert,
  inverse,
  localWindow,
  reversed,
  rows,
  ScanPath,
  scanPath,
  shuffled,
  snakeRows,
  stepDirections,
  windows,
} from './scan-paths.js'

const grids = [
  [3, 5],
  [4, 6],
  [5, 4],
  [1, 4],
  [4, 1],
  [1, 1],
  [14, 14],
]

const each = (count: number, value: (i: number) => number) => Int32Array.from({ length: count }, (_, i) => value(i))
/** Every position of an H x W map, by (h, w). */
const byPosition = (h: number, w: number, value: (i: number, j: number) => number) =>
  each(h * w, (p) => value(Math.floor(p / w), p % w))

test("cross-scan is VMamba's, in its order", () => {
  for (const [h, w] of grids) {
    const last = h * w - 1
    const across = (l: number) => (l % h) * w + Math.floor(l / h)
    const { directions } = scanPath('cross', h, w)
    assert.deepEqual(directions, [
      each(h * w, (l) => l),
      each(h * w, across),
      each(h * w, (l) => last - l),
      each(h * w, (l) => across(last - l)),
    ])
    assert.deepEqual(directions.map(inverse), [
      byPosition(h, w, (i, j) => i * w + j),
      byPosition(h, w, (i, j) => j * h + i),
      byPosition(h, w, (i, j) => last - (i * w + j)),
      byPosition(h, w, (i, j) => last - (j * h + i)),
    ])
  }
})

test('turned scans meet each position at the step that VMamba says', () => {
  for (const [h, w] of grids)
    assert.deepEqual(scanPath('rotation', h, w).directions.map(inverse), [
      byPosition(h, w, (i, j) => i * w + j),
      byPosition(h, w, (i, j) => (w - 1 - j) * h + i),
      byPosition(h, w, (i, j) => h * w - 1 - (i * w + j)),
      byPosition(h, w, (i, j) => j * h + (h - 1 - i)),
    ])
})

test("continuous paths and their codes are those of PlainMamba's walk", () => {
  for (const [h, w] of grids) {
    const [first, second, third, fourth] = walks(h, w)
    const { directions } = scanPath('continuous', h, w)
    for (const [k, walk] of [first, second, third, fourth].entries()) {
      assert.deepEqual([...directions[k]], walk.positions, `path ${k} on ${h} x ${w}`)
      assert.deepEqual([...stepDirections(directions[k], w)], walk.codes, `codes ${k} on ${h} x ${w}`)
    }
  }
})

interface Walk {
  positions: number[]
  codes: number[]
}

/** The four walks step by step, turning at the border: right and left down the rows from the top, the same from the end, and so for columns. */
function walks(h: number, w: number): Walk[] {
  const step = { right: [0, 1, 1], left: [0, -1, 2], up: [-1, 0, 3], down: [1, 0, 4] } as const
  const walk = (i: number, j: number, forth: keyof typeof step, back: keyof typeof step, aside: keyof typeof step) => {
    const result: Walk = { positions: [i * w + j], codes: [0] }
    let along = forth
    while (result.positions.length < h * w) {
      const [di, dj, code] = step[along]
      const inside = i + di >= 0 && i + di < h && j + dj >= 0 && j + dj < w
      const [mi, mj, taken] = inside ? [di, dj, code] : step[aside]
      if (!inside) along = along === forth ? back : forth
      i += mi
      j += mj
      result.positions.push(i * w + j)
      result.codes.push(taken)
    }
    return result
  }
  return [
    walk(0, 0, 'right', 'left', 'down'),
    h % 2 ? walk(h - 1, w - 1, 'left', 'right', 'up') : walk(h - 1, 0, 'right', 'left', 'up'),
    walk(0, 0, 'down', 'up', 'right'),
    w % 2 ? walk(h - 1, w - 1, 'up', 'down', 'left') : walk(0, w - 1, 'down', 'up', 'left'),
  ]
}

test('skip sampling shares the map out among four scans', () => {
  const [h, w] = [4, 6]
  const { directions, steps } = scanPath('skip', h, w)
  assert.equal(steps, 6)
  assert.deepEqual(
    [...directions.flatMap((order) => [...order])].sort((a, b) => a - b),
    [...each(h * w, (p) => p)],
  )
  directions.forEach((order, k) => {
    order.forEach((position, l) => {
      const [i, j] = [Math.floor(position / w), position % w]
      assert.equal(k, (i % 2) + 2 * (j % 2))
      assert.equal(l, k % 2 === 0 ? (i >> 1) * (w / 2) + (j >> 1) : (j >> 1) * (h / 2) + (i >> 1))
    })
  })
  assert.throws(() => scanPath('skip', 3, 4), /expected even sides, got 3 x 4/)
})

test('the Hilbert curve visits every position once and goes from neighbour to neighbour', () => {
  for (let h = 1; h <= 13; h++)
    for (let w = 1; w <= 13; w++) {
      const path = hilbert(h, w)
      assert.equal(new Set(path).size, h * w, `${h} x ${w}`)
      const lengths = [...path].slice(1).map((p, t) => {
        const [di, dj] = [Math.floor(p / w) - Math.floor(path[t] / w), (p % w) - (path[t] % w)]
        assert.ok(Math.max(Math.abs(di), Math.abs(dj)) === 1, `${h} x ${w}`)
        return Math.abs(di) + Math.abs(dj)
      })
      assert.ok(lengths.filter((n) => n === 2).length <= 1, `${h} x ${w}`)
    }
})

test('windows are taken by rows or by columns, smaller ones at the ends', () => {
  assert.deepEqual([...windows(3, 5, 2)], [0, 1, 5, 6, 2, 3, 7, 8, 4, 9, 10, 11, 12, 13, 14])
  assert.deepEqual([...windows(3, 4, 2, { byColumns: true })], [0, 4, 1, 5, 8, 9, 2, 6, 3, 7, 10, 11])
})

test('a random order is a permutation that the seed picks', () => {
  const [one, again, other] = [shuffled(5, 7, 1), shuffled(5, 7, 1), shuffled(5, 7, 2)]
  assert.deepEqual(one, again)
  assert.notDeepEqual(one, other)
  assert.equal(new Set(one).size, 35)
})

test('what is no path is refused', () => {
  assert.throws(() => new ScanPath(2, 2, [Int32Array.of(0, 1, 1, 3)]), /direction 0 visits 1 twice/)
  assert.throws(() => new ScanPath(2, 2, [Int32Array.of(0, 4)]), /visits 4 twice or outside 2 x 2/)
  assert.throws(() => new ScanPath(2, 2, [Int32Array.of(0, 1), Int32Array.of(0)]), /direction 1 has 1 steps/)
})

test('where a raster begins a line its step comes from no neighbour', () => {
  assert.deepEqual([...stepDirections(rows(2, 3), 3)], [0, 1, 1, 0, 1, 1])
  assert.deepEqual([...stepDirections(columns(2, 3), 3)], [0, 4, 0, 4, 0, 4])
  assert.deepEqual([...stepDirections(reversed(rows(3, 2)), 2)], [0, 2, 0, 2, 0, 2])
  assert.equal(stepDirections(snakeRows(3, 3), 3)[3], 4)
})

test("a window's length follows from the sequence's", () => {
  assert.deepEqual([1, 128, 129, 256, 257, 1024].map(localWindow), [4, 4, 8, 8, 16, 16])
})
