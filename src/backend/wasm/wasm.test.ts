import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DeviceError } from '../../errors.js'
import { launch } from '../kernels.js'
import { FreeList } from './freeList.js'
import { openWasm } from './index.js'

test('regions never overlap, and merge into one when all are given back', () => {
  const actions = fc.array(fc.record({ blocks: fc.integer({ min: 1, max: 9 }), back: fc.nat() }), { maxLength: 200 })
  fc.assert(
    fc.property(actions, (list) => {
      const size = 64 * 100
      const free = new FreeList()
      free.give(64, size)
      const taken: { address: number; bytes: number }[] = []
      for (const { blocks, back } of list) {
        const bytes = 64 * blocks
        const address = free.take(bytes)
        if (address !== null) {
          assert.ok(address >= 64 && address + bytes <= 64 + size)
          for (const other of taken)
            assert.ok(address + bytes <= other.address || other.address + other.bytes <= address)
          taken.push({ address, bytes })
        }
        if ((address === null || back % 2 === 0) && taken.length > 0) {
          const [region] = taken.splice(back % taken.length, 1)
          free.give(region.address, region.bytes)
        }
      }
      assert.equal(free.freeBytes, size - taken.reduce((sum, { bytes }) => sum + bytes, 0))
      for (const { address, bytes } of taken) free.give(address, bytes)
      assert.equal(free.take(size), 64)
    }),
  )
})

test('memory beyond 2 GiB can be used, and what does not fit is an error that states the need', async () => {
  const backend = await openWasm({ threads: 1 })
  // Pages that nobody touches cost no memory.
  const large = [0, 1, 2].map(() => backend.allocate(2 ** 30))
  const last = large[2]
  const out = { buffer: last, offset: 2 ** 28 - 4, dtype: 'float32', shape: [4], strides: [1] } as const
  launch(backend, 'fill', { out }, { value: 3 })
  assert.deepEqual([...new Float32Array(await backend.download(last, 2 ** 30 - 16, 16))], [3, 3, 3, 3])
  assert.throws(
    () => backend.allocate(2 ** 30),
    (error: Error) =>
      error instanceof DeviceError && /wasm: no memory for 1024 MiB more \(3072 MiB in use\)/.test(error.message),
  )
  for (const buffer of large) backend.release(buffer)
  backend.release(backend.allocate(2 ** 30))
  await backend.close()
})
