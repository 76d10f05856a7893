import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { readVerified, sourcesHash } from './verified.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))

test('the kernels are those that a GPU has verified', (t) => {
  const { device, passed, sha256 } = readVerified(root)
  assert.ok(device.length > 0 && passed > 2000, 'the record names a GPU and a whole suite')
  if (sha256 !== sourcesHash(root))
    t.skip(
      `src/backend/webgpu changed since ${device} verified it: run node dist/bench/gpu/main.js suite --verified on a GPU`,
    )
})
