import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nativeFault, openNative } from './index.js'

test('spare memory is kept up to what was in use at once, and not beyond', {
  skip: nativeFault() ?? false,
}, async () => {
  const backend = openNative({ threads: 1 })
  const half = 2 ** 29
  // Nothing touches it, so the system gives addresses only.
  const buffers = Array.from({ length: 4 }, () => backend.allocate(half))
  for (const buffer of buffers) backend.release(buffer)
  assert.deepEqual(backend.memory(), { inUse: 0, reserved: 4 * half })
  const again = backend.allocate(half)
  assert.equal(backend.memory().reserved, 4 * half)
  backend.release(again)
  // Another size finds no spare buffer; kept as well, it would pass the limit.
  const other = backend.allocate(half + half / 4)
  assert.equal(backend.memory().reserved, 5.25 * half)
  backend.release(other)
  assert.equal(backend.memory().reserved, 4 * half)
  await backend.close()
})
