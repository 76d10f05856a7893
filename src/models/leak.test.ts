// Memory does not grow with use: allocator bytes and resident memory over 10,000 decoded tokens, over training steps, and
// over operations in a scope.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { openNative } from '../backend/native/index.js'
import * as T from '../tensor/index.js'
import { AdamW } from '../train/adamw.js'
import { Decoder } from './decoding.js'
import { mambaDefaults } from './mamba-config.js'
import { MambaLM } from './mamba-lm.js'

setFlagsFromString('--expose_gc')
const collectGarbage = runInNewContext('gc') as () => void

const config = { ...mambaDefaults, dModel: 16, nLayer: 2, vocabSize: 64 }

/** Bytes a call that resident memory grows by: the slope of a line through samples, which noise hardly moves. */
async function residentSlope(calls: number, call: (i: number) => Promise<unknown>): Promise<number> {
  const samples: number[] = []
  const every = Math.floor(calls / 50)
  for (let i = 0; i < calls; i++) {
    await call(i)
    if (i >= calls / 5 && i % every === 0) {
      collectGarbage()
      samples.push(process.memoryUsage.rss())
    }
  }
  const middle = (samples.length - 1) / 2
  const mean = samples.reduce((a, b) => a + b) / samples.length
  const covariance = samples.reduce((sum, rss, i) => sum + (i - middle) * (rss - mean), 0)
  const variance = samples.reduce((sum, _, i) => sum + (i - middle) ** 2, 0)
  return covariance / variance / every
}

test('10,000 decoded tokens leave allocator bytes where they were and resident memory flat', async () => {
  const backend = openNative({ threads: 1 })
  T.setDefaultBackend(backend)
  const decoder = new Decoder(new MambaLM(config).initialize().eval())
  await decoder.prefill(Int32Array.of(1, 2, 3))
  await decoder.step(Int32Array.of(4))
  const before = backend.memory()
  const operations = backend.operationCount
  const slope = await residentSlope(10_000, (i) => decoder.step(Int32Array.of(i % 64)))
  assert.deepEqual(backend.memory(), before)
  // The same captured operations each time, nothing more.
  assert.equal((backend.operationCount - operations) % 10_000, 0)
  assert.ok(slope < 400, `resident memory grows by ${slope.toFixed(1)} bytes a token`)
  decoder.dispose()
  await backend.close()
})

test('training steps leave allocator bytes where they were', async () => {
  const backend = openNative({ threads: 1 })
  T.setDefaultBackend(backend)
  const model = new MambaLM(config).initialize()
  const optimizer = new AdamW(model.namedParameters())
  const step = async () => {
    using owned = new T.Scope()
    const loss = owned.run(() =>
      T.scope(() => {
        const ids = T.randomIntegers([2, 33], 0, 64)
        const value = model.loss(T.slice(ids, 1, 0, 32), T.slice(ids, 1, 1, 33))
        T.backward(value)
        return value
      }),
    )
    owned.run(() => optimizer.step(1e-3))
    await loss.item()
    model.clearGradients()
  }
  for (let i = 0; i < 5; i++) await step()
  const before = backend.memory()
  for (let i = 0; i < 300; i++) await step()
  assert.deepEqual(backend.memory(), before)
  optimizer.dispose()
  model.dispose()
  assert.equal(backend.memory().inUse, 0)
  await backend.close()
})

test('memory while training grows linearly in the length', async () => {
  const peaks: number[] = []
  for (const length of [256, 512, 1024, 2048]) {
    const backend = openNative({ threads: 2 })
    T.setDefaultBackend(backend)
    const model = new MambaLM(config).initialize()
    T.scope(() => {
      const ids = T.randomIntegers([1, length], 0, 64)
      T.backward(model.loss(ids, ids))
    })
    peaks.push(backend.memory().reserved)
    await backend.close()
  }
  // Doubling the length adds about twice as much each time; a quadratic term would add four times as much.
  const added = peaks.slice(1).map((peak, i) => peak - peaks[i])
  for (const i of [1, 2]) assert.ok(added[i] < 2.6 * added[i - 1], `reserved bytes ${peaks.join(', ')}`)
})

test('a promise-returning function is refused by scope and noGrad', () => {
  const asynchronous = (async () => 1) as unknown as () => never
  assert.throws(() => T.scope(asynchronous), /synchronous/)
  assert.throws(() => T.noGrad(asynchronous), /synchronous/)
})
