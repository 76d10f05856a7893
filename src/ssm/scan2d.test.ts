import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openDevice } from '../backend/open.js'
import {
  add,
  embedding,
  exp,
  neg,
  normal,
  reshape,
  selectiveScan,
  setDefaultBackend,
  slice,
  type Tensor,
  tensor,
} from '../tensor/index.js'
import { inverse, type ScanPattern, scanPath } from './scan-paths.js'
import { scan2d } from './scan2d.js'

const { backend } = await openDevice()
setDefaultBackend(backend)

const [batch, height, width, D, N] = [2, 4, 6, 5, 3]
const L = height * width

/** Rows of (B, L, C) in another order. */
function taken(rows: Tensor, order: Int32Array): Tensor {
  const [count, length, columns] = rows.shape
  const ids = Int32Array.from({ length: count * order.length }, (_, i) => {
    const [b, t] = [Math.floor(i / order.length), i % order.length]
    return b * length + order[t]
  })
  const table = reshape(rows, [count * length, columns])
  return embedding(table, tensor(ids, { shape: [count, order.length] }))
}

async function assertClose(got: Tensor, expected: Tensor, message: string): Promise<void> {
  assert.deepEqual(got.shape, expected.shape)
  const [a, b] = [await got.data(), await expected.data()]
  for (let i = 0; i < a.length; i++) assert.ok(Math.abs(a[i] - b[i]) <= 1e-5 * (1 + Math.abs(b[i])), message)
}

for (const pattern of ['cross', 'continuous', 'rotation', 'hilbert', 'bidirectional'] as const satisfies ScanPattern[])
  for (const window of [0, 'by length'] as const)
    test(`one call along '${pattern}', window ${window}, equals scans of inputs put in each order`, async () => {
      const path = scanPath(pattern, height, width)
      const K = path.directions.length
      const map = normal([batch, height, width, D])
      const tokens = reshape(map, [batch, L, D])
      const [delta, A] = [normal([batch, L, K * D]), neg(exp(normal([K * D, N])))]
      const [B, C] = [normal([batch, L, K, N]), normal([batch, L, K, N])]
      const [skip, deltaBias] = [normal([K * D]), normal([K * D])]
      const merged = scan2d(map, { delta, A, B, C, D: skip, deltaBias }, path, { window })
      assert.deepEqual(merged.shape, map.shape)
      const parts = path.directions.map((order, k) => {
        const own = (x: Tensor, axis: number) => slice(x, axis, k * D, (k + 1) * D)
        const group = (x: Tensor) => reshape(slice(x, 2, k, k + 1), [batch, L, N])
        const { out } = selectiveScan(
          taken(tokens, order),
          taken(own(delta, 2), order),
          own(A, 0),
          taken(group(B), order),
          taken(group(C), order),
          { D: own(skip, 0), deltaBias: own(deltaBias, 0), deltaSoftplus: true, window: window === 0 ? 0 : 4 },
        )
        return taken(out, inverse(order))
      })
      await assertClose(
        reshape(merged, [batch, L, D]),
        parts.reduce((a, b) => add(a, b)),
        pattern,
      )
    })

test('skip sampling leaves each position to one scan, and one set of step sizes serves all', async () => {
  const path = scanPath('skip', height, width)
  const [map, delta] = [normal([1, height, width, D]), normal([1, L, D])]
  const A = neg(exp(normal([4 * D, N])))
  const [B, C] = [normal([1, L, N]), normal([1, L, N])]
  const merged = await scan2d(map, { delta, A, B, C }, path).data()
  const tokens = reshape(map, [1, L, D])
  for (const [k, order] of path.directions.entries()) {
    const own = slice(A, 0, k * D, (k + 1) * D)
    const { out } = selectiveScan(taken(tokens, order), taken(delta, order), own, taken(B, order), taken(C, order), {
      deltaSoftplus: true,
    })
    const values = await out.data()
    order.forEach((position, t) => {
      for (let d = 0; d < D; d++) assert.ok(Math.abs(merged[position * D + d] - values[t * D + d]) < 1e-5)
    })
  }
})

test('a map that the path does not fit is refused', () => {
  const [map, other] = [normal([1, 6, 4, D]), normal([1, L, D])]
  const parameters = { delta: other, A: normal([4 * D, N]), B: normal([1, L, N]), C: normal([1, L, N]) }
  assert.throws(() => scan2d(map, parameters, scanPath('cross', height, width)), /expected a map of 4 x 6/)
})
