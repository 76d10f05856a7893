import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { permutation, uniformInteger } from './permutation.js'
import type { TokenSource } from './text.js'
import { evaluationBatches, WindowSampler } from './windows.js'

/** Tokens that equal their position. */
const counting = (length: number): TokenSource => ({
  name: 'counting.txt',
  length,
  vocabSize: length,
  async read(offset, count) {
    assert.ok(offset >= 0 && offset + count <= length, `read of [${offset}, ${offset + count}) outside [0, ${length})`)
    return Int32Array.from({ length: count }, (_, i) => offset + i)
  },
})

describe('training windows', () => {
  test('are L + 1 adjacent tokens, and predict each token at most once an epoch and almost all of them', async () => {
    const [tokens, length, batch] = [10_007, 16, 5]
    const sampler = new WindowSampler(counting(tokens), { length, batch, seed: 3 })
    const seen = new Set<number>()
    for (let step = 0; step < Math.floor(sampler.windowsPerEpoch / batch); step++) {
      const windows = await sampler.batch(step)
      assert.equal(windows.length, batch * (length + 1))
      for (let row = 0; row < batch; row++) {
        const window = windows.subarray(row * (length + 1), (row + 1) * (length + 1))
        for (let i = 1; i <= length; i++) {
          assert.equal(window[i], window[0] + i)
          assert.ok(!seen.has(window[i]))
          seen.add(window[i])
        }
      }
    }
    assert.ok(seen.size > tokens - 2 * length - batch * length)
  })

  test('follow from the seed and the step alone', async () => {
    const options = { length: 8, batch: 4, seed: 11 }
    const sampler = new WindowSampler(counting(5000), options)
    const inOrder: Int32Array[] = []
    for (let step = 0; step < 400; step++) inOrder.push(await sampler.batch(step))
    const resumed = new WindowSampler(counting(5000), options)
    for (const step of [399, 0, 157]) assert.deepEqual(await resumed.batch(step), inOrder[step])
    const other = new WindowSampler(counting(5000), { ...options, seed: 12 })
    assert.notDeepEqual(await other.batch(0), inOrder[0])
    const epoch = Math.ceil(sampler.windowsPerEpoch / options.batch)
    assert.notDeepEqual(inOrder[epoch], inOrder[0])
  })

  test('never reach outside the text, however short it is', () =>
    fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 9 }), fc.nat(40), fc.nat(), async (length, extra, seed) => {
        const sampler = new WindowSampler(counting(length + 1 + extra), { length, batch: 3, seed })
        for (let step = 0; step < 20; step++) await sampler.batch(step)
      }),
    ))

  test('need a text longer than the window', () => {
    assert.throws(
      () => new WindowSampler(counting(16), { length: 16, batch: 1, seed: 0 }),
      /counting\.txt: holds 16 tokens, too few for a window of 17; give more text or choose a shorter window/,
    )
  })
})

describe('evaluation windows', () => {
  test('predict every token but the first exactly once, in order', () =>
    fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 2, max: 200 }),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 5 }),
        async (size, length, batch) => {
          const predicted: number[] = []
          for await (const part of evaluationBatches(counting(size), { length, batch })) {
            assert.equal(part.tokens.length, part.batch * (part.length + 1))
            assert.ok(part.batch <= batch && part.length <= length)
            part.tokens.forEach((token, i) => {
              if (i % (part.length + 1) > 0) predicted.push(token)
            })
          }
          assert.deepEqual(
            predicted,
            Array.from({ length: size - 1 }, (_, i) => i + 1),
          )
        },
      ),
    ))

  test('stop at the limit', async () => {
    let predicted = 0
    for await (const part of evaluationBatches(counting(1000), { length: 16, batch: 4, limit: 100 })) {
      predicted += part.batch * part.length
    }
    assert.equal(predicted, 100)
    await assert.rejects(evaluationBatches(counting(1), { length: 4, batch: 1 }).next(), /too few/)
  })
})

describe('random order without memory', () => {
  test('is a bijection for every size, and differs between seeds and streams', () => {
    for (const size of [1, 2, 3, 7, 64, 65, 1000]) {
      const order = Array.from({ length: size }, (_, i) => permutation(i, size, 5, 0))
      assert.deepEqual(
        [...order].sort((a, b) => a - b),
        Array.from({ length: size }, (_, i) => i),
      )
    }
    const first = (seed: number, stream: number) =>
      Array.from({ length: 20 }, (_, i) => permutation(i, 1e6, seed, stream))
    assert.notDeepEqual(first(1, 0), first(2, 0))
    assert.notDeepEqual(first(1, 0), first(1, 1))
    assert.notDeepEqual(first(1, 0), first(1 + 2 ** 32, 0))
  })

  test('shuffles: positions are uniform and uncorrelated with where they came from', () => {
    const size = 100_000
    let correlation = 0
    const low = new Array<number>(10).fill(0)
    for (let i = 0; i < size; i++) {
      const to = permutation(i, size, 9, 4)
      correlation += (i / size - 0.5) * (to / size - 0.5) * 12
      if (i < 10_000) low[Math.floor((to / size) * 10)]++
    }
    assert.ok(Math.abs(correlation / size) < 0.02)
    assert.ok(
      low.every((count) => Math.abs(count - 1000) < 150),
      low.join(),
    )
  })

  test('gives integers that fill their range evenly', () => {
    const counts = new Array<number>(7).fill(0)
    for (let stream = 0; stream < 70_000; stream++) counts[uniformInteger(7, 2, stream)]++
    assert.ok(
      counts.every((count) => Math.abs(count - 10_000) < 400),
      counts.join(),
    )
  })
})
