import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { bootstrap, bootstrapInterval, judge, overallVerdict } from './verdict.js'

/** Standard normal numbers that a seed decides. */
function normals(count: number, seed: number): number[] {
  let state = seed * 2654435761 + 1
  const uniform = () => {
    state = (state * 48271) % 2147483647
    return state / 2147483647
  }
  return Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()))
}

test('scores that are all alike have an interval of no width', () => {
  assert.deepEqual(bootstrapInterval([[0.3, 0.3], [0.3]]), { mean: 0.3, low: 0.3, high: 0.3 })
})

test('with one seed the interval is that of a mean: 1.96 standard errors to each side', () => {
  const items = normals(400, 7)
  const mean = items.reduce((a, b) => a + b) / 400
  const deviation = Math.sqrt(items.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 400)
  const { low, high } = bootstrapInterval([items], { resamples: 4000 })
  const half = (1.96 * deviation) / 20
  assert.ok(Math.abs(low - (mean - half)) < 0.12 * half, `${low}`)
  assert.ok(Math.abs(high - (mean + half)) < 0.12 * half, `${high}`)
})

test('seeds that differ widen the interval beyond what items alone would give', () => {
  const alike = [0, 0, 0].map((shift, s) => normals(100, s + 1).map((x) => x + shift))
  const apart = [-1, 0, 1].map((shift, s) => normals(100, s + 1).map((x) => x + shift))
  const width = (scores: number[][]) => {
    const { low, high } = bootstrapInterval(scores)
    return high - low
  }
  assert.ok(width(apart) > 3 * width(alike))
})

test('the same scores and seed give the same interval, which holds the mean and moves with the scores', () => {
  const scores = fc.array(fc.array(fc.double({ min: -100, max: 100, noNaN: true }), { minLength: 1, maxLength: 8 }), {
    minLength: 1,
    maxLength: 4,
  })
  fc.assert(
    fc.property(scores, (given) => {
      const interval = bootstrapInterval(given, { resamples: 200 })
      assert.deepEqual(bootstrapInterval(given, { resamples: 200 }), interval)
      const all = given.flat()
      assert.ok(interval.low >= Math.min(...all) - 1e-9 && interval.high <= Math.max(...all) + 1e-9)
      const moved = bootstrapInterval(
        given.map((items) => items.map((x) => x + 5)),
        { resamples: 200 },
      )
      assert.ok(Math.abs(moved.low - interval.low - 5) < 1e-9)
    }),
    { numRuns: 100 },
  )
})

test('medians pass over an item that something else disturbed', () => {
  const times = [[1, 1.02, 0.98, 1.01, 16, 0.99, 1, 1.03, 0.97]]
  assert.equal(bootstrapInterval(times, { statistic: 'median' }).mean, 1)
  assert.ok(bootstrapInterval(times, { statistic: 'median' }).high < 1.1)
  assert.ok(bootstrapInterval(times).high > 2)
  assert.equal(bootstrapInterval([[1, 2, 3, 10]], { statistic: 'median' }).mean, 2.5)
})

test('what is no mean of items is summed up from the items that were drawn', () => {
  // A ratio of sums: 1 of 10 and 9 of 10.
  const items = [
    { right: 1, all: 10 },
    { right: 90, all: 100 },
  ]
  const share = (drawn: readonly { right: number; all: number }[]) =>
    drawn.reduce((sum, { right }) => sum + right, 0) / drawn.reduce((sum, { all }) => sum + all, 0)
  const { mean, low, high } = bootstrap([items, items], share)
  assert.equal(mean, 91 / 110)
  assert.equal(high, 0.9)
  assert.ok(low >= 0.1 && low < 91 / 110)
  assert.throws(() => bootstrap([items, []], share), /expected at least one seed/)
})

test('no seed, no item and scores that are not finite are refused', () => {
  for (const scores of [[], [[]], [[1], []], [[Number.NaN]], [[Number.POSITIVE_INFINITY]]])
    assert.throws(() => bootstrapInterval(scores), /expected at least one seed, each with finite scores/)
})

test('a criterion holds, fails or stays open by where the whole interval lies', () => {
  const interval = (low: number, high: number) => ({ mean: (low + high) / 2, low, high })
  const limits = { better: 'higher', expected: 0.95, failure: 0.9 } as const
  assert.equal(judge(interval(0.95, 1), limits), 'holds')
  assert.equal(judge(interval(0.94, 1), limits), 'open')
  assert.equal(judge(interval(0.91, 0.93), limits), 'open')
  assert.equal(judge(interval(0.85, 0.91), limits), 'open')
  assert.equal(judge(interval(0.8, 0.89), limits), 'fails')
  const lower = { better: 'lower', expected: 0.02, failure: 0.05 } as const
  assert.equal(judge(interval(-0.3, 0.02), lower), 'holds')
  assert.equal(judge(interval(0, 0.03), lower), 'open')
  assert.equal(judge(interval(0.051, 0.2), lower), 'fails')
  assert.equal(judge(interval(1.1, 1.19), { better: 'lower', expected: 1.2 }), 'holds')
  assert.equal(judge(interval(1.21, 1.3), { better: 'lower', expected: 1.2 }), 'fails')
})

test('a limit of failure that is better than the claim is refused', () => {
  assert.throws(
    () => judge({ mean: 0, low: 0, high: 0 }, { better: 'higher', expected: 0.9, failure: 0.95 }),
    /expected the limit of failure \(0\.95\) to be no better than what is claimed \(0\.9\)/,
  )
})

test('a claim is reproduced only where all criteria hold', () => {
  assert.equal(overallVerdict(['holds', 'holds']), 'reproduced')
  assert.equal(overallVerdict(['holds', 'open']), 'undecided')
  assert.equal(overallVerdict(['open', 'fails', 'holds']), 'not reproduced')
  assert.equal(overallVerdict([]), 'undecided')
})

test('two trainings of one method are hardly ever told apart by a margin', () => {
  // What --null rests on: the baseline twice, with the noise of seeds and items, against an advantage of 0.5.
  for (let trial = 0; trial < 50; trial++) {
    const differences = [0, 1, 2].map((seed) => {
      const [a, b] = [normals(200, 1000 + trial * 10 + seed), normals(200, 5000 + trial * 10 + seed)]
      return a.map((x, i) => x - b[i])
    })
    const interval = bootstrapInterval(differences, { resamples: 400 })
    assert.notEqual(judge(interval, { better: 'higher', expected: 0.5 }), 'holds')
  }
})
