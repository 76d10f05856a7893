import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { DeviceError, IndexError } from '../../errors.js'
import { type KernelName, launch } from '../kernels.js'
import { openReference } from '../reference/index.js'
import { describeFailure, runSuite } from '../suite.js'
import type { Backend, DeviceBuffer, Dtype, Operand } from '../types.js'
import type { WebGpuBackend } from './backend.js'
import { openWebGpu } from './index.js'

const opened = await openWebGpu().catch((error: DeviceError) => error)
const skip = opened instanceof Error ? opened.message : false
const gpu = opened as Backend
after(() => (skip ? undefined : gpu.close()))

const view = (buffer: DeviceBuffer, shape: number[], dtype: Dtype = 'float32', offset = 0): Operand => ({
  buffer,
  offset,
  dtype,
  shape,
  strides: shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1)),
})

function tensor(backend: Backend, values: number[]): Operand {
  const buffer = backend.allocate(values.length * 4)
  backend.upload(buffer, 0, new Uint8Array(Float32Array.from(values).buffer))
  return view(buffer, [values.length])
}

const read = async (backend: Backend, { buffer, shape }: Operand) => [
  ...new Float32Array(await backend.download(buffer, 0, shape[0] * 4)),
]

/** Cases of each kernel that one member of a batch, one row or a shared operand takes beyond a binding; each would be more if its kernel were not cut. A new case of the suite that one binding cannot hold raises its kernel's count. */
const beyond: readonly (readonly [bindingBytes: number, Partial<Record<KernelName, number>>])[] = [
  [
    16384,
    {
      ...{ fill: 0, copy: 0, unary: 0, binary: 0, select: 0, axpby: 0, scatterAdd: 0, adamW: 0, random: 0, dropout: 0 },
      ...{ softmax: 2, gemm: 2, rmsNorm: 0, crossEntropy: 4, gather: 0, reduce: 2 },
    },
  ],
  [
    4096,
    {
      ...{ rmsNormGrad: 1, layerNormGrad: 1, groupStatistics: 9, groupNorm: 1, groupNormGrad: 20 },
      ...{ resample: 1, maxPool: 2, maxPoolGrad: 1, gridSample: 9, gridSampleGrad: 9, rotary: 8 },
      ...{ causalConv1dGrad: 8, convolutionGradWeight: 38, attention: 10, attentionGrad: 5, selectiveScan: 162 },
    },
  ],
]

for (const [bindingBytes, expected] of beyond)
  test(`tensors larger than a binding of ${bindingBytes} bytes are worked on in parts`, { skip }, async () => {
    const narrow = await openWebGpu({ bindingBytes })
    const kernels = Object.keys(expected) as KernelName[]
    const { failures } = await runSuite(narrow, openReference(), { kernels }).finally(() => narrow.close())
    const wrong = failures.filter(({ operand }) => !operand.includes('bytes in one binding'))
    assert.deepEqual(wrong.map(describeFailure), [])
    const counts = kernels.map((kernel) => [kernel, failures.filter((f) => f.kernel === kernel).length])
    assert.deepEqual(Object.fromEntries(counts), expected)
  })

test('a profile names every dispatch and changes nothing', { skip }, async (t) => {
  const [x, y] = [tensor(gpu, [1, 2]), tensor(gpu, [0, 0])]
  const run = () => launch(gpu, 'axpby', { a: x, b: x, out: y }, { alpha: 1, beta: 2 })
  const times = await (opened as WebGpuBackend).profile(run).catch((error: DeviceError) => error)
  if (times instanceof Error) return t.skip(times.message)
  assert.equal(
    times.reduce((sum, { calls }) => sum + calls, 0),
    1,
  )
  assert.ok(times[0].kernel.startsWith('axpby') && times[0].seconds >= 0)
  assert.deepEqual(await read(gpu, y), [3, 6])
})

test('bytes go up and come down at any offset, and leave their neighbours alone', { skip }, async () => {
  const buffer = gpu.allocate(11)
  gpu.upload(
    buffer,
    0,
    Uint8Array.from({ length: 11 }, (_, i) => i),
  )
  gpu.upload(buffer, 3, Uint8Array.of(50, 51, 52))
  assert.deepEqual([...new Uint8Array(await gpu.download(buffer, 2, 7))], [2, 50, 51, 52, 6, 7, 8])
  gpu.release(buffer)
})

test('an upload waits for the operations enqueued before it', { skip }, async () => {
  const x = tensor(gpu, [1, 2])
  const y = tensor(gpu, [0, 0])
  launch(gpu, 'copy', { input: x, out: y }, {})
  gpu.upload(x.buffer, 0, new Uint8Array(Float32Array.of(3, 4).buffer))
  assert.deepEqual(await read(gpu, y), [1, 2])
  assert.deepEqual(await read(gpu, x), [3, 4])
})

test('a capture replays its operations on the same buffers, after uploads and releases', { skip }, async () => {
  const x = tensor(gpu, [1, 2])
  const total = tensor(gpu, [0, 0])
  gpu.beginCapture()
  const twice = view(gpu.allocate(8), [2])
  launch(gpu, 'axpby', { a: x, b: x, out: twice }, { alpha: 1, beta: 1 })
  launch(gpu, 'axpby', { a: total, b: twice, out: total }, { alpha: 1, beta: 1 })
  gpu.release(twice.buffer)
  const capture = gpu.endCapture()
  assert.deepEqual(await read(gpu, total), [2, 4])
  gpu.upload(x.buffer, 0, new Uint8Array(Float32Array.of(10, 20).buffer))
  const other = gpu.allocate(8)
  capture.replay()
  capture.replay()
  assert.deepEqual(await read(gpu, total), [42, 84])
  capture.dispose()
  assert.throws(() => capture.replay(), DeviceError)
  gpu.release(other)
})

test('memory is used again and counted', { skip }, async () => {
  const before = gpu.memory()
  for (let i = 0; i < 100; i++) {
    const buffer = gpu.allocate(1000)
    launch(gpu, 'fill', { out: view(buffer, [250]) }, { value: i })
    gpu.release(buffer)
  }
  const { inUse, reserved } = gpu.memory()
  assert.equal(inUse, before.inUse)
  assert.ok(reserved - before.reserved <= 1024, `${reserved - before.reserved} bytes more`)
})

test('a buffer that was released or lies on another device is refused', { skip }, () => {
  const buffer = gpu.allocate(16)
  gpu.release(buffer)
  assert.throws(() => gpu.release(buffer), DeviceError)
  assert.throws(() => launch(gpu, 'fill', { out: view(buffer, [4]) }, { value: 1 }), DeviceError)
  const foreign = openReference().allocate(16)
  assert.throws(() => launch(gpu, 'fill', { out: view(foreign, [4]) }, { value: 1 }), DeviceError)
})

test('an index outside is thrown with the next download, once', { skip }, async () => {
  const table = tensor(gpu, [1, 2, 3])
  const ids = gpu.allocate(8)
  gpu.upload(ids, 0, new Uint8Array(Int32Array.of(2, 7).buffer))
  const out = tensor(gpu, [9, 9])
  launch(
    gpu,
    'gather',
    {
      table: { ...table, shape: [3, 1], strides: [1, 1] },
      ids: view(ids, [2], 'int32'),
      out: view(out.buffer, [2, 1]),
    },
    {},
  )
  await assert.rejects(
    read(gpu, out),
    (error) => error instanceof IndexError && error.kernel === 'gather' && error.index === 7 && error.size === 3,
  )
  assert.deepEqual(await read(gpu, out), [3, 0])
})

test('a closed device says so', { skip }, async () => {
  const other = await openWebGpu()
  const buffer = other.allocate(4)
  await other.close()
  await assert.rejects(other.download(buffer, 0, 4), DeviceError)
})
