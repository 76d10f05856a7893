import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { MetaBackend } from '../../backend/meta.js'
import { openNative } from '../../backend/native/index.js'
import { openWasm } from '../../backend/wasm/index.js'
import { Conv2d, ConvTranspose2d } from '../../nn/index.js'
import * as T from '../index.js'

const skip = spawnSync('g++', ['--version']).status === 0 ? false : 'no g++ to build the native device'

type Options = T.ConvolutionOptions
const forms: readonly (readonly [string, readonly number[], readonly number[], Options])[] = [
  ['dense', [3, 20, 23, 40], [70, 40, 3, 3], { padding: 1 }],
  ['a stem', [2, 33, 31, 3], [48, 3, 3, 3], { stride: 2, padding: 1 }],
  ['small images', [9, 7, 7, 64], [64, 64, 3, 3], { padding: 1 }],
  ['depth-wise', [8, 14, 14, 96], [96, 1, 7, 7], { padding: 3, groups: 96 }],
  ['depth-wise, large', [1, 120, 200, 8], [8, 1, 3, 3], { padding: 1, groups: 8 }],
  // Three of these are more than caches hold, one is not.
  ['depth-wise, larger', [1, 241, 250, 24], [24, 1, 3, 3], { padding: 1, groups: 24 }],
]

for (const [name, inputShape, weightShape, options] of forms)
  test(`convolution has the same bits for any number of threads: ${name}`, { skip }, async () => {
    const results: Float32Array[][] = []
    for (const threads of [1, 2, 3]) {
      const backend = openNative({ threads })
      const stream = new T.RandomStream(3)
      const input = T.uniform(inputShape, -1, 1, { stream, backend })
      const weight = T.uniform(weightShape, -1, 1, { stream, backend })
      const bias = T.uniform([weightShape[0]], -1, 1, { stream, backend })
      for (const leaf of [input, weight, bias]) leaf.requiresGrad = true
      const out = T.convolution(input, weight, { ...options, bias })
      const grads = T.grad(T.sum(T.square(out)), [input, weight, bias])
      results.push((await Promise.all([out, ...grads].map((t) => t.data()))) as Float32Array[])
      await backend.close()
    }
    assert.deepEqual(results[1], results[0])
    assert.deepEqual(results[2], results[0])
  })

const devices = [
  ['native', openNative, skip],
  ['wasm', openWasm, false],
] as const
const everywhere = devices.flatMap((device) => forms.map((form) => [...device, ...form] as const))

for (const [device, open, skip, name, inputShape, weightShape, options] of everywhere)
  test(`convolution of an image has the same bits in any batch: ${name}, ${device}`, { skip }, async () => {
    const backend = await open({ threads: 2 })
    const stream = new T.RandomStream(4)
    const input = T.uniform([3, ...inputShape.slice(1)], -1, 1, { stream, backend })
    const weight = T.uniform(weightShape, -1, 1, { stream, backend })
    const last = T.convolution(T.slice(input, 0, 2, 3), weight, options)
    const all = await T.convolution(input, weight, options).data()
    assert.deepEqual(all.slice(2 * last.size), await last.data())
    await backend.close()
  })

const backend = new MetaBackend()
const image = (...shape: number[]) => T.empty(backend, shape)

test('extents are those of PyTorch', () => {
  const input = image(2, 11, 8, 6)
  const conv = (kernel: number[], options: Options = {}) => T.convolution(input, image(4, 6, ...kernel), options).shape
  assert.deepEqual(conv([3, 3]), [2, 9, 6, 4])
  assert.deepEqual(conv([3, 2], { stride: [2, 3], padding: 1 }), [2, 6, 3, 4])
  assert.deepEqual(conv([4, 2], { padding: 'same', dilation: [1, 2] }), [2, 11, 8, 4])
  assert.deepEqual(conv([2, 2], { padding: [[1, 0], [0, 3]] }), [2, 11, 10, 4]) // biome-ignore format: pairs
  const up = T.convolutionTransposed(input, image(6, 5, 3, 2), { stride: 2, padding: [1, 0], outputPadding: [1, 0] })
  assert.deepEqual(up.shape, [2, 22, 16, 5])
})

test('what does not fit is one clear line', () => {
  const refuses = (run: () => unknown, text: RegExp) => assert.throws(run, text)
  const input = image(1, 5, 5, 6)
  refuses(
    () => T.convolution(input, image(4, 5, 3, 3)),
    /expected weight \(Cout, Cin\/groups, \.\.\.kernel\) for 6 input channels/,
  )
  refuses(() => T.convolution(input, image(4, 6, 3)), /1 to 3 spatial axes/)
  refuses(() => T.convolution(input, image(4, 2, 3, 3), { groups: 3 }), /in 3 groups/)
  refuses(() => T.convolution(input, image(4, 6, 7, 3)), /at least as large as the kernel/)
  refuses(() => T.convolution(input, image(4, 6, 3, 3), { stride: 0 }), /stride: expected an integer of at least 1/)
  refuses(() => T.convolution(input, image(4, 6, 3, 3), { padding: [1] }), /padding: expected .* or 2 of them/)
  refuses(() => T.convolution(input, image(4, 6, 3, 3), { stride: 2, padding: 'same' }), /stride 1 with padding 'same'/)
  refuses(() => T.convolution(input, image(4, 6, 3, 3), { bias: image(5) }), /expected a bias of 4/)
  refuses(() => new Conv2d(6, 8, 3, { groups: 4 }), /divisible by 4 groups, got 6/)
  refuses(() => T.convolutionTransposed(input, image(6, 4, 2, 2), { outputPadding: 1 }), /outputPadding below stride/)
})

test('modules have the parameters and the fan-in of PyTorch', () => {
  const shapes = (module: Conv2d | ConvTranspose2d) =>
    [...module.namedParameters()].map(([name, { shape }]) => [name, shape])
  assert.deepEqual(shapes(new Conv2d(6, 8, [3, 5], { groups: 2 })), [
    ['weight', [8, 3, 3, 5]],
    ['bias', [8]],
  ])
  assert.deepEqual(shapes(new ConvTranspose2d(6, 8, 2, { groups: 2, bias: false })), [['weight', [6, 4, 2, 2]]])
})

test('a result that is stored past the caches is that of its parts', { skip }, async () => {
  const backend = openNative({ threads: 2 })
  const stream = new T.RandomStream(5)
  const input = T.uniform([5, 120, 121, 64], -1, 1, { stream, backend })
  const weight = T.uniform([64, 1, 3, 3], -1, 1, { stream, backend })
  const convolve = (x: T.Tensor) => T.convolution(x, weight, { padding: 1, groups: 64 })
  const whole = (await convolve(input).data()) as Float32Array
  for (let b = 0; b < 5; b++) {
    const part = (await convolve(T.slice(input, 0, b, b + 1)).data()) as Float32Array
    assert.deepEqual(whole.subarray(b * part.length, (b + 1) * part.length), part)
  }
  await backend.close()
})
