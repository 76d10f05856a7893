import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { DeviceError, IndexError } from '../errors.js'
import type { CpuBackend } from './cpu.js'
import { fromHost, toHost } from './hostFormat.js'
import { launch } from './kernels.js'
import { nativeFault, openNative } from './native/index.js'
import type { Backend, DeviceBuffer, DeviceName, Dtype, Operand } from './types.js'
import { openWasm } from './wasm/index.js'

// What the native and the WebAssembly queue promise beside right kernels: order, captures, memory, errors, and the same
// bits for any number of threads.

const native = nativeFault() === null
const open = async (device: DeviceName, threads: number): Promise<CpuBackend> =>
  device === 'native' ? openNative({ threads }) : openWasm({ threads })
const devices = native ? (['native', 'wasm'] as const) : (['wasm'] as const)
const backends = await Promise.all(devices.map((device) => open(device, 2)))
after(() => Promise.all(backends.map((backend) => backend.close())))

const view = (buffer: DeviceBuffer, shape: readonly number[], dtype: Dtype = 'float32'): Operand => {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((n, extent) => n * extent, 1))
  return { buffer, offset: 0, dtype, shape, strides }
}

function put(backend: Backend, values: ArrayLike<number>, dtype: Dtype = 'float32'): DeviceBuffer {
  const bytes = toHost(values, dtype)
  const buffer = backend.allocate(bytes.length)
  backend.upload(buffer, 0, bytes)
  return buffer
}

async function read(backend: Backend, buffer: DeviceBuffer, dtype: Dtype = 'float32'): Promise<number[]> {
  return [...fromHost(new Uint8Array(await backend.download(buffer, 0, buffer.bytes)), dtype)]
}

function addTo(backend: Backend, total: DeviceBuffer, step: DeviceBuffer, n: number): void {
  const operands = { a: view(total, [n]), b: view(step, [n]), out: view(total, [n]) }
  launch(backend, 'binary', operands, { function: 0 })
}

for (const backend of backends) {
  const { device } = backend

  test(`${device}: uploads, operations and read-backs take effect in their order`, async () => {
    const total = put(backend, [0, 0, 0])
    const step = put(backend, [1, 2, 3])
    const seen: Promise<number[]>[] = []
    for (let i = 0; i < 50; i++) {
      addTo(backend, total, step, 3)
      if (i % 10 === 9) seen.push(read(backend, total))
      if (i === 24) backend.upload(total, 0, toHost([100, 100, 100], 'float32'))
    }
    assert.deepEqual(await Promise.all(seen), [
      [10, 20, 30],
      [20, 40, 60],
      [105, 110, 115],
      [115, 130, 145],
      [125, 150, 175],
    ])
    backend.release(total)
    backend.release(step)
  })

  test(`${device}: a released buffer may be used again before the operations on it have run`, async () => {
    const source = put(
      backend,
      Array.from({ length: 1000 }, (_, i) => i),
    )
    const results: DeviceBuffer[] = []
    for (let i = 0; i < 20; i++) {
      const between = backend.allocate(4000)
      launch(
        backend,
        'unary',
        { input: view(source, [1000]), out: view(between, [1000]) },
        { function: 24, alpha: i, beta: 0 },
      )
      const result = backend.allocate(4000)
      launch(
        backend,
        'unary',
        { input: view(between, [1000]), out: view(result, [1000]) },
        { function: 24, alpha: 1, beta: 1 },
      )
      backend.release(between)
      results.push(result)
    }
    for (const [i, result] of results.entries()) {
      assert.deepEqual(
        await read(backend, result),
        Array.from({ length: 1000 }, (_, k) => i * k + 1),
      )
      backend.release(result)
    }
    backend.release(source)
  })

  test(`${device}: a capture runs again on its own memory, whatever is allocated in between`, async () => {
    const total = put(backend, [0, 0])
    const step = put(backend, [1, 2])
    const before = backend.operationCount
    backend.beginCapture()
    const twice = backend.allocate(8)
    launch(backend, 'axpby', { a: view(step, [2]), b: view(step, [2]), out: view(twice, [2]) }, { alpha: 1, beta: 1 })
    addTo(backend, total, twice, 2)
    backend.release(twice)
    const capture = backend.endCapture()
    const other = put(backend, [9, 9])
    for (let i = 0; i < 4; i++) capture.replay()
    assert.deepEqual(await read(backend, total), [10, 20])
    assert.deepEqual(await read(backend, other), [9, 9])
    assert.equal(backend.operationCount - before, 10)
    capture.dispose()
    assert.throws(() => capture.replay(), DeviceError)
    for (const buffer of [total, step, other]) backend.release(buffer)
  })

  test(`${device}: an index outside its table is an error at the next read-back, once`, async () => {
    const table = put(backend, [1, 2, 3, 4])
    const ids = put(backend, [1, 7, -1], 'int32')
    const out = backend.allocate(24)
    launch(backend, 'gather', { table: view(table, [2, 2]), ids: view(ids, [3], 'int32'), out: view(out, [3, 2]) }, {})
    await assert.rejects(read(backend, out), new IndexError('gather', 7, 2))
    assert.deepEqual(await read(backend, out), [3, 4, 0, 0, 0, 0])
    for (const buffer of [table, ids, out]) backend.release(buffer)
  })

  test(`${device}: using a released buffer, or reading beyond its end, is an error`, async () => {
    const buffer = put(backend, [1, 2])
    await assert.rejects(backend.download(buffer, 4, 8), DeviceError)
    assert.throws(() => backend.upload(buffer, 8, new Uint8Array(1)), DeviceError)
    backend.release(buffer)
    assert.throws(() => backend.release(buffer), DeviceError)
    assert.throws(() => launch(backend, 'fill', { out: view(buffer, [2]) }, { value: 1 }), DeviceError)
    await assert.rejects(backend.download(buffer, 0, 4), DeviceError)
  })

  test(`${device}: memory does not grow over thousands of steps`, async () => {
    const step = put(backend, new Float32Array(5000))
    const before = backend.memory()
    let reserved = 0
    for (let i = 0; i < 3000; i++) {
      const size = 4 * (1 + 10 * ((i * 977) % 500))
      const buffer = backend.allocate(size)
      launch(backend, 'copy', { input: view(step, [size / 4]), out: view(buffer, [size / 4]) }, {})
      if (i % 100 === 0) await backend.download(buffer, 0, 4)
      backend.release(buffer)
      if (i === 1000) reserved = backend.memory().reserved
    }
    assert.equal(backend.memory().inUse, before.inUse)
    assert.equal(backend.memory().reserved, reserved)
    backend.release(step)
  })

  test(`${device}: the same bits with 1, 2 and 3 threads`, async () => {
    const { length } = { length: 96 * 700 }
    const a = Float32Array.from({ length }, (_, i) => Math.sin(i * 1.7))
    const b = Float32Array.from({ length: 700 * 130 }, (_, i) => Math.cos(i * 0.9))
    const run = async (threads: number) => {
      const own = await open(device, threads)
      const [x, y] = [put(own, a), put(own, b)]
      const [product, sums, soft] = [own.allocate(96 * 130 * 4), own.allocate(130 * 4), own.allocate(96 * 130 * 4)]
      const numbers = { transposeA: 0, transposeB: 0, alpha: 1, accumulate: 0, activation: 1 }
      launch(
        own,
        'gemm',
        { a: view(x, [1, 96, 700]), b: view(y, [1, 700, 130]), out: view(product, [1, 96, 130]) },
        numbers,
      )
      launch(own, 'reduce', { input: view(product, [1, 96, 130]), out: view(sums, [1, 130]) }, { reduction: 0 })
      launch(own, 'softmax', { input: view(product, [96, 130]), out: view(soft, [96, 130]) }, { log: 0 })
      const results = [await read(own, product), await read(own, sums), await read(own, soft)]
      await own.close()
      return results
    }
    const one = await run(1)
    assert.deepEqual(await run(2), one)
    assert.deepEqual(await run(3), one)
  })
}
