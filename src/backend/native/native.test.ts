import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { DeviceError } from '../../errors.js'
import { launch } from '../kernels.js'
import type { Operand } from '../types.js'
import { nativeFault, openNative } from './index.js'

const skip = nativeFault() ?? false
const here = new URL('./index.js', import.meta.url).href

/** An endless supply of slow work on a device that is never closed. */
const busy = `
  import { openNative } from ${JSON.stringify(here)}
  const backend = openNative({ threads: 2 })
  const n = 1024
  const buffers = [0, 1, 2].map(() => backend.allocate(4 * n * n))
  const view = (buffer) => ({ buffer, offset: 0, dtype: 'float32', shape: [1, n, n], strides: [n * n, n, 1] })
  for (const buffer of buffers) backend.enqueue({ kernel: 'fill', operands: [view(buffer)], numbers: [1] })
  const [a, b, out] = buffers.map(view)
  for (let i = 0; i < 500; i++) backend.enqueue({ kernel: 'gemm', operands: [a, b, null, out], numbers: [0, 0, 1, 0, 0] })
  backend.download(out.buffer, 0, 4)
`

const square = (buffer: Operand['buffer'], n: number): Operand => ({
  buffer,
  offset: 0,
  dtype: 'float32',
  shape: [1, n, n],
  strides: [n * n, n, 1],
})

test('the event loop runs on while the queue computes', { skip }, async () => {
  const backend = openNative({ threads: 2 })
  const n = 1024
  const [a, b, out] = [0, 1, 2].map(() => square(backend.allocate(4 * n * n), n))
  for (const operand of [a, b]) launch(backend, 'fill', { out: operand }, { value: 1 })
  let done = false
  const before = performance.now()
  for (let i = 0; i < 20; i++)
    launch(backend, 'gemm', { a, b, out }, { transposeA: 0, transposeB: 0, alpha: 1, accumulate: 0, activation: 0 })
  const reading = backend.download(out.buffer, 0, 4).then((bytes) => {
    done = true
    return new Float32Array(bytes)[0]
  })
  const enqueued = performance.now() - before
  let turns = 0
  while (!done) {
    await new Promise((resolve) => setImmediate(resolve))
    turns++
  }
  assert.equal(await reading, n)
  assert.ok(turns > 20, `${turns} turns, enqueued in ${enqueued} ms`)
  await backend.close()
})

test('process.exit ends a process whose device is at work', { skip }, () => {
  const code = `${busy}; setTimeout(() => process.exit(7), 50)`
  const { status, signal, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
    encoding: 'utf8',
    timeout: 60_000,
  })
  assert.deepEqual({ status, signal, stderr }, { status: 7, signal: null, stderr: '' })
})

test('a process ends by itself while its device is open and idle', { skip }, () => {
  const code = `import { openNative } from ${JSON.stringify(here)}; openNative()`
  const { status } = spawnSync(process.execPath, ['--input-type=module', '-e', code], { timeout: 60_000 })
  assert.equal(status, 0)
})

test('a worker that is terminated at work leaves other devices alone', { skip }, async () => {
  const backend = openNative({ threads: 2 })
  const buffer = backend.allocate(4)
  for (let i = 0; i < 3; i++) {
    const worker = new Worker(
      `import('node:worker_threads').then(async ({ parentPort }) => {
        await import('data:text/javascript,' + encodeURIComponent(${JSON.stringify(busy)}))
        parentPort.postMessage('busy')
      })`,
      { eval: true },
    )
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
    await worker.terminate()
    launch(backend, 'fill', { out: { buffer, offset: 0, dtype: 'float32', shape: [1], strides: [1] } }, { value: i })
    assert.equal(new Float32Array(await backend.download(buffer, 0, 4))[0], i)
  }
  await backend.close()
})

test('a mapped file is a buffer; writing to it leaves the file alone', { skip }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mambakit-map-'))
  try {
    const path = join(folder, 'weights')
    const values = new Float32Array([1.5, -2, 3])
    writeFileSync(path, values)
    const backend = openNative({ threads: 1 })
    const buffer = backend.mapFile(path)
    assert.equal(buffer.bytes, 12)
    assert.deepEqual(new Float32Array(await backend.download(buffer, 0, 12)), values)
    launch(backend, 'fill', { out: { buffer, offset: 1, dtype: 'float32', shape: [1], strides: [1] } }, { value: 9 })
    assert.deepEqual([...new Float32Array(await backend.download(buffer, 0, 12))], [1.5, 9, 3])
    backend.release(buffer)
    assert.deepEqual(new Float32Array(new Uint8Array(readFileSync(path)).buffer), values)
    assert.throws(() => backend.mapFile(join(folder, 'none')), /none: cannot be mapped into memory \(No such file/)
    await backend.close()
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('an instruction set that the processor lacks is an error that lists those it has', { skip }, () => {
  assert.throws(
    () => openNative({ instructionSet: 'mmx' }),
    (error: Error) => {
      assert.ok(error instanceof DeviceError)
      assert.match(error.message, /'mmx'.*it has/)
      return true
    },
  )
})

test('ranges of a mapped file are buffers of their own, and the last one ends the mapping', { skip }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mambakit-map-'))
  try {
    const path = join(folder, 'weights')
    writeFileSync(path, new Float32Array([1, 2, 3, 4, 5]))
    const backend = openNative({ threads: 1 })
    const [a, b] = backend.mapRanges(path, [
      { begin: 4, bytes: 8 },
      { begin: 16, bytes: 4 },
    ])
    assert.deepEqual([a.bytes, b.bytes], [8, 4])
    backend.release(a)
    assert.deepEqual(new Float32Array(await backend.download(b, 0, 4)), new Float32Array([5]))
    backend.upload(b, 0, new Uint8Array(new Float32Array([7]).buffer))
    assert.deepEqual(new Float32Array(await backend.download(b, 0, 4)), new Float32Array([7]))
    assert.equal(new Float32Array(new Uint8Array(readFileSync(path)).buffer)[4], 5)
    backend.release(b)
    assert.throws(
      () => backend.mapRanges(path, [{ begin: 16, bytes: 8 }]),
      /expected 24 bytes, but the file now ends at 20/,
    )
    await backend.close()
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('an open file is read into buffers in queue order, and a read that comes short is named', { skip }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mambakit-read-'))
  try {
    const path = join(folder, 'weights')
    // More than one thread takes at a time, at positions that divide nothing.
    const bytes = Uint8Array.from({ length: (5 << 20) + 3 }, (_, i) => Math.imul(i, 0x9e3779b1) >>> 24)
    writeFileSync(path, bytes)
    const file = await open(path)
    const backend = openNative({ threads: 2 })
    const [long, small] = [backend.allocate(bytes.length), backend.allocate(12)]
    const view = { buffer: small, offset: 0, dtype: 'float32', shape: [3], strides: [1] } as const
    launch(backend, 'fill', { out: view }, { value: 1 })
    const read = backend.readFile(file.fd, [
      { buffer: long, offset: 1, begin: 1, bytes: bytes.length - 1 },
      { buffer: small, offset: 4, begin: 8, bytes: 4 },
    ])
    const found = [await backend.download(long, 0, bytes.length), await backend.download(small, 0, 12)]
    assert.equal(await read, -1)
    assert.ok(Buffer.from(found[0]).subarray(1).equals(bytes.subarray(1)))
    const ones = new Uint8Array(Float32Array.of(1, 1, 1).buffer)
    ones.set(bytes.subarray(8, 12), 4)
    assert.deepEqual(new Uint8Array(found[1]), ones)
    const outside = { buffer: small, offset: 0, begin: bytes.length - 2, bytes: 4 }
    assert.equal(await backend.readFile(file.fd, [{ buffer: small, offset: 0, begin: 0, bytes: 4 }, outside]), 1)
    await assert.rejects(backend.readFile(file.fd, [{ ...outside, bytes: 13 }]), /expected a range within a buffer/)
    await backend.close()
    await file.close()
  } finally {
    rmSync(folder, { recursive: true })
  }
})
