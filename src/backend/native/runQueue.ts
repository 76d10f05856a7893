// Keeps the queue and the threads of an add-on busy, for builds with sanitizers: many operations in flight, memory released
// while it is still queued for, read-backs that nobody waits for, a file read in between, and a device left behind at work
// when the process ends.
// Numbers must not depend on the number of threads. The last line of its output is the result as JSON.
//   node dist/src/backend/native/runQueue.js [--addon FILE]
import { createHash } from 'node:crypto'
import { mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { launch } from '../kernels.js'
import type { DeviceBuffer, Operand } from '../types.js'
import { type NativeBackend, openNative } from './index.js'

const { values } = parseArgs({ options: { addon: { type: 'string' } } })
const addon = values.addon && resolve(values.addon)
/** Rows and columns: enough for each kernel to split its work over threads. */
const size = 256
const bytes = size * size * 4
const rounds = 120

const matrix = (buffer: DeviceBuffer): Operand => ({
  buffer,
  offset: 0,
  dtype: 'float32',
  shape: [size, size],
  strides: [size, 1],
})

/** The same memory as GEMM takes it: a batch of one. */
const batchOf = (one: Operand): Operand => ({
  ...one,
  shape: [1, ...one.shape],
  strides: [size * size, ...one.strides],
})

const start = Float32Array.from({ length: size * size }, (_, i) => Math.sin(i))
const folder = mkdtempSync(join(tmpdir(), 'mambakit-queue-'))
writeFileSync(join(folder, 'start'), start)
const file = openSync(join(folder, 'start'), 'r')

/** Enqueues all rounds without waiting. The promises are of read-backs along the way, the last of the end. */
function fill(backend: NativeBackend): Promise<ArrayBuffer>[] {
  const read: Promise<ArrayBuffer>[] = []
  let state = backend.allocate(bytes)
  backend.upload(state, 0, new Uint8Array(start.buffer))
  for (let round = 0; round < rounds; round++) {
    const [product, sum, next] = [1, 2, 3].map(() => backend.allocate(bytes))
    const [x, y, z, out] = [state, product, sum, next].map(matrix)
    const numbers = { transposeA: 0, transposeB: 1, alpha: 1 / 16, accumulate: 0, activation: 0 }
    launch(backend, 'gemm', { a: batchOf(x), b: batchOf(x), bias: null, out: batchOf(y) }, numbers)
    launch(backend, 'axpby', { a: x, b: y, out: z }, { alpha: 0.5, beta: round })
    launch(backend, 'softmax', { input: z, out }, { log: 1 })
    for (const buffer of [state, product, sum]) backend.release(buffer)
    state = next
    if (round % 8 === 7) read.push(backend.download(state, 0, bytes))
    if (round % 32 === 31) backend.upload(state, 0, new Uint8Array(start.buffer))
    // In pieces, so that several threads read.
    const piece = bytes / 8
    const pieces = Array.from({ length: 8 }, (_, i) => ({
      buffer: state,
      offset: i * piece,
      begin: i * piece,
      bytes: piece,
    }))
    if (round % 32 === 15) void backend.readFile(file, pieces)
  }
  read.push(backend.download(state, 0, bytes))
  backend.release(state)
  return read
}

const failures: string[] = []
let passed = 0
let expected: string | undefined
for (const threads of [1, 2, 3, 4]) {
  const backend = openNative({ addon, threads })
  const read = await Promise.all(fill(backend))
  await backend.close()
  const hash = createHash('sha256')
  for (const matrix of read) hash.update(new Uint8Array(matrix))
  const found = hash.digest('hex')
  expected ??= found
  if (found === expected) passed++
  else failures.push(`${threads} threads give other numbers than 1`)
  console.log(`${threads} threads: ${found.slice(0, 16)}`)
}
const left = openNative({ addon, threads: 2 })
fill(left)
rmSync(folder, { recursive: true })
console.log(JSON.stringify({ instructionSet: left.instructionSet, passed, failures }))
process.exit()
