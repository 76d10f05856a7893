// Norms, pooling, resizing and sampling of maps: what they refuse, half precision, and threads.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { MetaBackend } from '../../backend/meta.js'
import { openNative } from '../../backend/native/index.js'
import { openReference } from '../../backend/reference/index.js'
import * as T from '../index.js'

const skip = spawnSync('g++', ['--version']).status === 0 ? false : 'no g++ to build the native device'

const operations: readonly (readonly [string, (x: T.Tensor, grid: T.Tensor) => T.Tensor])[] = [
  ['batchNorm', (x) => T.batchNorm(x).out],
  ['groupNorm', (x) => T.groupNorm(x, 6)],
  ['interpolate', (x) => T.interpolate(x, { size: [50, 21], mode: 'bicubic' })],
  ['averagePool', (x) => T.averagePool(x, 3, { stride: 2, padding: 1 })],
  ['maxPool', (x) => T.maxPool(x, 3, { stride: 2, padding: 1 })],
  ['gridSample', (x, grid) => T.gridSample(x, grid, { padding: 'reflection' })],
]
for (const [name, run] of operations)
  test(`${name} has the same bits for any number of threads`, { skip }, async () => {
    const results: Float32Array[][] = []
    for (const threads of [1, 2, 3]) {
      const backend = openNative({ threads })
      const stream = new T.RandomStream(3)
      const input = T.uniform([3, 40, 37, 42], -1, 1, { stream, backend })
      const grid = T.uniform([3, 500, 2], -1.5, 1.5, { stream, backend })
      for (const leaf of [input, grid]) leaf.requiresGrad = true
      const out = run(input, grid)
      const grads = T.grad(T.sum(T.mul(out, T.square(out))), name === 'gridSample' ? [input, grid] : [input])
      results.push((await Promise.all([out, ...grads].map((t) => t.data()))) as Float32Array[])
      await backend.close()
    }
    assert.deepEqual(results[1], results[0])
    assert.deepEqual(results[2], results[0])
  })

test('half precision is computed in float32 and stays half', { skip }, async () => {
  const backend = openNative({ threads: 1 })
  const exact = T.uniform([2, 8, 9, 12], -1, 1, { stream: new T.RandomStream(5), backend })
  for (const dtype of ['float16', 'bfloat16'] as const)
    for (const [name, run] of operations.slice(0, 5)) {
      const input = T.cast(exact, dtype)
      input.requiresGrad = true
      const out = run(input, exact)
      const [grad] = T.grad(T.sum(out), [input])
      assert.deepEqual([out.dtype, grad.dtype], [dtype, dtype], name)
      const [got, want] = await Promise.all([out, run(T.cast(input, 'float32'), exact)].map((t) => t.data()))
      const most = dtype === 'float16' ? 2e-3 : 2e-2
      for (const [i, value] of got.entries())
        assert.ok(Math.abs(value - want[i]) < most * (1 + Math.abs(want[i])), name)
    }
  await backend.close()
})

test('of equal values the first in row-major order takes the gradient, and NaN wins', () => {
  const backend = openReference()
  const input = T.tensor([1, 2, 2, 2, 2, 2, 0, 1, 0], { shape: [1, 3, 3, 1], backend })
  input.requiresGrad = true
  const out = T.maxPool(input, 3)
  assert.deepEqual([...backend.values(T.grad(T.sum(out), [input])[0])], [0, 1, 0, 0, 0, 0, 0, 0, 0])
  const spoiled = T.tensor([1, 2, Number.NaN, 2, 3, 2, 0, 1, 0], { shape: [1, 3, 3, 1], backend })
  assert.ok([...backend.values(T.maxPool(spoiled, [3, 2], { stride: 1 }))].map(Number.isNaN).join() === 'false,true')
})

test('what does not fit is one clear line', () => {
  const backend = new MetaBackend()
  const image = (...shape: number[]) => T.empty(backend, shape)
  const input = image(1, 5, 6, 4)
  const refuses = (run: () => unknown, text: RegExp) => assert.throws(run, text)
  refuses(() => T.interpolate(input, {}), /either a size or a scale/)
  refuses(() => T.interpolate(input, { size: [3, 3, 3] }), /expected 2 values, one for each spatial axis, got 3/)
  refuses(() => T.interpolate(input, { scale: 0.1 }), /extents of at least 1, got \(0, 0\)/)
  refuses(() => T.interpolate(input, { size: 3, alignCorners: true }), /'nearest' knows neither alignCorners nor/)
  refuses(() => T.interpolate(image(4, 4), { size: 3 }), /\(B, \.\.\.spatial, C\) of one to three spatial axes/)
  refuses(() => T.maxPool(input, 3, { padding: 2 }), /padding of at most half the kernel of 3, got 2/)
  refuses(() => T.averagePool(input, 7), /a kernel of 7 does not fit into an axis of 5/)
  refuses(() => T.adaptiveMaxPool(input, 0), /expected positive sizes, got 0/)
  refuses(() => T.pad(input, 6, 'reflect'), /reflect padding that an axis of 5 allows, got \(6, 6\)/)
  refuses(() => T.pad(input, [[-3, -2], 0]), /zeros padding that an axis of 5 allows, got \(-3, -2\)/)
  refuses(() => T.gridSample(input, image(1, 3, 3)), /a grid \(B, \.\.\., 2\)/)
  refuses(() => T.gridSample(input, image(2, 3, 2)), /as many grids as images/)
  refuses(() => T.groupNorm(input, 3), /groups that divides 4 channels, got 3/)
  refuses(() => T.batchNorm(image(1, 1, 1, 4)), /more than one value a channel/)
  refuses(() => T.groupNorm(input, 2, { weight: image(3) }), /parameters of shape \(4\)/)
  refuses(() => T.pixelShuffle(input, 3), /\(B, H, W, C 3\^2\)/)
  refuses(() => T.fold(image(1, 4, 12), [5, 4], [3, 2]), /for an image of \(5, 4\)/)
  refuses(() => T.huberLoss(input, image(5, 6, 4)), /a target of the shape of the input/)
})
