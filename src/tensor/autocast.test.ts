import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openNative } from '../backend/native/index.js'
import { DtypeError } from '../errors.js'
import * as T from './index.js'

test('inside autocast linear maps and norms give float16, parameters keep float32 gradients, and nothing stays behind', async () => {
  const backend = openNative({ threads: 1 })
  T.setDefaultBackend(backend)
  const x = T.normal([5, 16])
  const weight = T.normal([8, 16])
  const scale = T.ones([8])
  const direction = T.normal([5, 8])
  for (const leaf of [weight, scale]) leaf.requiresGrad = true
  const run = (dtype: 'float16' | null) =>
    T.scope(() =>
      T.autocast(dtype, () => {
        const y = T.linear(x, weight)
        const normed = T.addRmsNorm(y, { weight: scale, residual: T.ones([5, 8]) })
        const total = T.sum(T.mul(T.cast(normed.out, 'float32'), direction))
        const grads = T.grad(total, [weight, scale])
        return [y, normed.out, normed.sum, ...grads]
      }),
    )
  const half = run('float16')
  const full = run(null)
  assert.deepEqual(
    half.map(({ dtype }) => dtype),
    ['float16', 'float16', 'float32', 'float32', 'float32'],
  )
  assert.ok(full.every(({ dtype }) => dtype === 'float32'))
  for (const [i, tensor] of half.entries()) {
    const [got, expected] = [await tensor.data(), await full[i].data()]
    const largest = Math.max(...Array.from(expected, Math.abs))
    got.forEach((value, j) => {
      assert.ok(Math.abs(value - expected[j]) < 5e-3 * largest, `result ${i}, element ${j}: ${value}, ${expected[j]}`)
    })
  }
  await backend.close()
})

test('floats of two widths meet in float32 inside autocast, and are refused outside', async () => {
  const backend = openNative({ threads: 1 })
  T.setDefaultBackend(backend)
  const a = T.cast(T.tensor([1, 2]), 'float16')
  const b = T.tensor([0.5, 0.25])
  assert.throws(() => T.add(a, b), DtypeError)
  const sum = T.autocast('float16', () => T.add(a, b))
  assert.equal(sum.dtype, 'float32')
  assert.deepEqual([...(await sum.data())], [1.5, 2.25])
  await backend.close()
})
