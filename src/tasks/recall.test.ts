import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ignored, inductionHeads, type RecallBatch, selectiveCopying } from './recall.js'

const rowsOf = ({ ids, targets, batch, length }: RecallBatch) =>
  Array.from({ length: batch }, (_, row) => ({
    ids: [...ids.subarray(row * length, (row + 1) * length)],
    targets: [...targets.subarray(row * length, (row + 1) * length)],
  }))
const seeds = fc.integer({ min: 0, max: 1e6 })
const starts = fc.integer({ min: 0, max: 2 ** 31 })

test('selective copying asks for the data tokens in order, at the markers and nowhere else', () => {
  const sizes = fc.record({ length: fc.integer({ min: 4, max: 40 }), dataTokens: fc.integer({ min: 1, max: 4 }) })
  fc.assert(
    fc.property(seeds, starts, sizes, (seed, first, size) => {
      const task = selectiveCopying({ seed, vocabSize: 16, ...size })
      for (const { ids, targets } of rowsOf(task(first, 3))) {
        const [body, markers] = [ids.slice(0, size.length), ids.slice(size.length)]
        assert.ok(markers.every((id) => id === 1))
        const data = body.filter((id) => id !== 0)
        assert.ok(data.every((id) => id >= 2 && id < 16))
        assert.deepEqual(targets.slice(size.length), data)
        assert.ok(targets.slice(0, size.length).every((target) => target === ignored))
      }
    }),
  )
})

test('induction heads ask at the end for what followed the trigger', () => {
  fc.assert(
    fc.property(seeds, starts, fc.integer({ min: 3, max: 60 }), (seed, first, length) => {
      for (const { ids, targets } of rowsOf(inductionHeads({ seed, vocabSize: 16, length })(first, 3))) {
        const places = ids.flatMap((id, t) => (id === 0 ? [t] : []))
        assert.equal(places.length, 2)
        assert.equal(places[1], length - 1)
        assert.equal(targets[length - 1], ids[places[0] + 1])
        assert.ok(targets[length - 1] > 0)
        assert.ok(targets.slice(0, -1).every((target) => target === ignored))
      }
    }),
  )
})

test('a sequence is the same in whatever batch it comes, and sequences and seeds differ', () => {
  for (const make of [
    (seed: number) => selectiveCopying({ seed, vocabSize: 16, length: 64, dataTokens: 8 }),
    (seed: number) => inductionHeads({ seed, vocabSize: 16, length: 64 }),
  ]) {
    const whole = rowsOf(make(3)(10, 6))
    assert.deepEqual([...rowsOf(make(3)(10, 2)), ...rowsOf(make(3)(12, 4))], whole)
    assert.equal(new Set(whole.map((row) => row.ids.join())).size, 6)
    assert.notDeepEqual(rowsOf(make(4)(10, 6)), whole)
  }
})

test('data tokens, their places and the trigger’s place are spread evenly', () => {
  const count = 4000
  const places = new Array(32).fill(0)
  const tokens = new Array(16).fill(0)
  for (const { ids } of rowsOf(selectiveCopying({ seed: 0, vocabSize: 16, length: 32, dataTokens: 4 })(0, count)))
    ids.slice(0, 32).forEach((id, t) => {
      if (id !== 0) places[t]++
      tokens[id]++
    })
  assert.ok(
    places.every((n) => Math.abs(n - (count * 4) / 32) < 0.2 * ((count * 4) / 32)),
    `${places}`,
  )
  assert.ok(
    tokens.slice(2).every((n) => Math.abs(n - (count * 4) / 14) < 0.15 * ((count * 4) / 14)),
    `${tokens}`,
  )
  const triggers = new Array(30).fill(0)
  for (const { ids } of rowsOf(inductionHeads({ seed: 0, vocabSize: 16, length: 32 })(0, count)))
    triggers[ids.indexOf(0)]++
  assert.ok(
    triggers.every((n) => Math.abs(n - count / 30) < 0.35 * (count / 30)),
    `${triggers}`,
  )
})

test('sizes that no task can have are refused', () => {
  assert.throws(
    () => selectiveCopying({ seed: 0, vocabSize: 16, length: 4, dataTokens: 5 }),
    /expected a vocabulary of at least 3 and 1 to 4 data tokens, got 16 and 5/,
  )
  assert.throws(
    () => inductionHeads({ seed: 0, vocabSize: 16, length: 2 }),
    /expected length and vocabulary of at least 3/,
  )
})
