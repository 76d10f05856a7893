import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DeviceError, IndexError } from '../../errors.js'
import { fromHost, toHost } from '../hostFormat.js'
import {
  binaryFunctions,
  type KernelName,
  launch,
  type NumbersOf,
  type OperandsOf,
  unaryFunctions,
} from '../kernels.js'
import { operandOf } from '../suite/operands.js'
import type { Operand } from '../types.js'
import { erf } from './elementwise.reference.js'
import { openReference } from './index.js'
import { placing } from './placing.js'
import { philox4x32 } from './random.reference.js'

const backend = openReference()
const { place, blank } = placing(backend)

function run<K extends KernelName>(kernel: K, operands: OperandsOf<K>, numbers: NumbersOf<K>): void {
  launch(backend, kernel, operands, numbers)
}

test('the error function has its published values', () => {
  // Abramowitz and Stegun, table 7.1.
  for (const [x, value] of [
    [0.5, 0.5204998778],
    [1, 0.8427007929],
    [2, 0.995322265],
  ])
    assert.ok(Math.abs(erf(x) - value) < 1e-9 && erf(-x) === -erf(x))
})

test('Philox4x32-10 gives the published words', () => {
  const ones = 0xffffffff
  assert.deepEqual(philox4x32([0, 0, 0, 0], [0, 0]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8])
  assert.deepEqual(philox4x32([ones, ones, ones, ones], [ones, ones]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd])
  const counter = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344] as const
  assert.deepEqual(philox4x32(counter, [0xa4093822, 0x299f31d0]), [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1])
})

test('random numbers have the moments of their distribution', () => {
  const numbers = { seed: 5, stream: 2 ** 33 + 1, offset: 2 ** 32 - 3 }
  const out = blank([40000])
  const moments = (distribution: number, alpha: number, beta: number) => {
    run('random', { out }, { ...numbers, distribution, alpha, beta })
    const values = backend.values(out)
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length
    return [mean, Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length)]
  }
  const near = ([mean, deviation]: number[], wantedMean: number, wantedDeviation: number) =>
    assert.ok(
      Math.abs(mean - wantedMean) < 0.03 && Math.abs(deviation - wantedDeviation) < 0.02,
      `${mean}, ${deviation}`,
    )
  near(moments(0, -1, 1), 0, 1 / Math.sqrt(3))
  near(moments(1, 0.5, 1.5), 0.5, 1.5)
  near(moments(2, 3, 6), 4, Math.sqrt(2 / 3))
})

test('floats keep float64 precision from kernel to kernel, whatever their dtype', () => {
  const [x, out] = [blank([1], 'bfloat16'), blank([1], 'bfloat16')]
  backend.setValues(x, [1 + 1e-12])
  run('unary', { input: x, out }, { function: unaryFunctions.indexOf('neg'), alpha: 0, beta: 0 })
  assert.equal(backend.values(out)[0], -1 - 1e-12)
})

test('bytes that are uploaded come back, and are seen as the dtype of the kernel that reads them', async () => {
  const bytes = toHost([1.5, -2, 3e-8], 'float16')
  const x = blank([3], 'float16')
  backend.upload(x.buffer, 0, bytes)
  assert.deepEqual(new Uint8Array(await backend.download(x.buffer, 0, 6)), bytes)
  const out = blank([3])
  run('copy', { input: x, out }, {})
  assert.deepEqual([...backend.values(out)], [1.5, -2, 2 ** -24])
  backend.upload(x.buffer, 2, toHost([7], 'float16'))
  assert.equal(backend.values(x)[1], 7)
})

test('half-precision values round to the nearest, ties to even', () => {
  const back = (dtype: 'float16' | 'bfloat16', values: number[]) => [...fromHost(toHost(values, dtype), dtype)]
  const ulp = 2 ** -10
  assert.deepEqual(back('float16', [1 + ulp / 2, 1 + (3 * ulp) / 2, 1 + ulp * 0.51]), [1, 1 + 2 * ulp, 1 + ulp])
  assert.deepEqual(back('float16', [65519, 65520, 2 ** -25, 2 ** -24]), [65504, Number.POSITIVE_INFINITY, 0, 2 ** -24])
  assert.deepEqual(back('bfloat16', [1 + 2 ** -8, 1 + 3 * 2 ** -8, -3.5]), [1, 1 + 2 ** -6, -3.5])
  assert.ok(Number.isNaN(back('float16', [Number.NaN])[0]) && Number.isNaN(back('bfloat16', [Number.NaN])[0]))
  for (let bits = 0; bits < 0x7c00; bits += 7) {
    const bytes = new Uint8Array(Uint16Array.of(bits, bits | 0x8000).buffer)
    assert.deepEqual(toHost(fromHost(bytes, 'float16'), 'float16'), bytes)
  }
})

test('an index error waits for the next read-back and is reported once', async () => {
  const table = place(operandOf([3, 2], (i) => i))
  const [ids, out] = [place(operandOf([2], (i) => [2, 9][i], { dtype: 'int32' })), blank([2, 2])]
  run('gather', { table, ids, out }, {})
  await assert.rejects(backend.download(out.buffer, 0, 16), (error) => error instanceof IndexError && error.index === 9)
  assert.deepEqual([...backend.values(out)], [4, 5, 0, 0])
})

test('a capture repeats its operations on its own buffers until it is disposed of', () => {
  const own = openReference()
  const operand = (buffer: Operand['buffer']): Operand => ({
    buffer,
    offset: 0,
    dtype: 'float32',
    shape: [1],
    strides: [1],
  })
  const counter = operand(own.allocate(4))
  own.beginCapture()
  const one = operand(own.allocate(4))
  launch(own, 'fill', { out: one }, { value: 1 })
  launch(own, 'binary', { a: counter, b: one, out: counter }, { function: binaryFunctions.indexOf('add') })
  own.release(one.buffer)
  const capture = own.endCapture()
  capture.replay()
  capture.replay()
  assert.deepEqual([...own.values(counter)], [3])
  assert.equal(own.memory().inUse, 8)
  capture.dispose()
  assert.equal(own.memory().inUse, 4)
  assert.throws(() => own.enqueue({ kernel: 'fill', operands: [one], numbers: [1] }), DeviceError)
})

test('memory that was released cannot be used', () => {
  const own = openReference()
  const buffer = own.allocate(4)
  own.release(buffer)
  const out = { buffer, offset: 0, dtype: 'float32', shape: [1], strides: [1] } as const
  assert.throws(() => launch(own, 'fill', { out }, { value: 1 }), DeviceError)
  assert.throws(() => own.release(buffer), DeviceError)
})
