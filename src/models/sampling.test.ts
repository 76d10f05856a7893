// The rules of sampling, each beside its definition written out plainly.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { checkSampling, type SamplingOptions, sampleToken, scoreToken } from './sampling.js'

const logitsOf = fc
  .array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: 1, maxLength: 40 })
  .map((values) => Float32Array.from(values))

/** Every token that comes up in many draws. */
function drawn(logits: Float32Array, options: SamplingOptions, seen: number[] = []): Set<number> {
  return new Set(Array.from({ length: 3000 }, (_, position) => sampleToken(logits, options, position, seen)))
}

/** Softmax at a temperature, in double precision. */
function probabilities(logits: Float32Array, temperature = 1): number[] {
  const peak = Math.max(...logits)
  const weights = Array.from(logits, (x) => Math.exp((x - peak) / temperature))
  const total = weights.reduce((a, b) => a + b)
  return weights.map((w) => w / total)
}

test('temperature 0 and top-k 1 take the most likely token, the first of equals', () => {
  fc.assert(
    fc.property(logitsOf, fc.nat(), (logits, position) => {
      const best = logits.indexOf(Math.max(...logits))
      for (const options of [{ temperature: 0 }, { topK: 1 }, { temperature: 0, topP: 0.5, minP: 0.5 }])
        assert.equal(sampleToken(logits, options, position), best)
    }),
  )
})

test('draws have the frequencies of the softmax', () => {
  const logits = Float32Array.of(0, 1, 2, -1)
  const counts = [0, 0, 0, 0]
  for (let i = 0; i < 40_000; i++) counts[sampleToken(logits, { temperature: 0.7, seed: 3 }, i)]++
  probabilities(logits, 0.7).forEach((p, i) => {
    // Five standard deviations.
    assert.ok(Math.abs(counts[i] / 40_000 - p) < 5 * Math.sqrt((p * (1 - p)) / 40_000), `token ${i}`)
  })
})

test('top-k, top-p and min-p draw only tokens that their definitions keep', () => {
  fc.assert(
    fc.property(logitsOf, fc.nat({ max: 50 }), fc.double({ min: 0.05, max: 1, noNaN: true }), (logits, topK, share) => {
      const order = [...logits.keys()].sort((a, b) => logits[b] - logits[a] || a - b)
      const kept = topK === 0 ? order : order.slice(0, topK)
      for (let position = 0; position < 20; position++)
        assert.ok(kept.includes(sampleToken(logits, { topK }, position)), 'top-k')
      const p = probabilities(logits, 0.8)
      let sum = 0
      const nucleus = order.filter((token) => {
        const inside = sum < share + 1e-9
        sum += p[token]
        return inside
      })
      const top = Math.max(...p)
      for (let position = 0; position < 20; position++) {
        const options = { temperature: 0.8, seed: 1 }
        assert.ok(nucleus.includes(sampleToken(logits, { ...options, topP: share }, position)), 'top-p')
        assert.ok(p[sampleToken(logits, { ...options, minP: share }, position)] >= share * top * (1 - 1e-9), 'min-p')
      }
    }),
    { numRuns: 200 },
  )
})

test('top-p keeps the token that crosses the border, and min-p all that are likely enough', () => {
  const logits = Float32Array.from([0.4, 0.3, 0.2, 0.1], Math.log)
  assert.deepEqual(drawn(logits, { topP: 0.65 }), new Set([0, 1]))
  assert.deepEqual(drawn(logits, { topP: 0.75 }), new Set([0, 1, 2]))
  assert.deepEqual(drawn(logits, { minP: 0.45 }), new Set([0, 1, 2]))
  assert.deepEqual(drawn(logits, { minP: 1 }), new Set([0]))
  assert.deepEqual(drawn(logits, { topK: 3, topP: 0.5 }), new Set([0, 1]))
})

test('the official min-p compares logits with minP times the logit of token 0', () => {
  const options = { minP: 0.5, minPMode: 'mamba_ssm' } as const
  assert.deepEqual(drawn(Float32Array.of(1, 0.6, 0.4, 3), options), new Set([0, 1, 3]))
  // Outside (0, 1) the official code drops nothing.
  assert.deepEqual(drawn(Float32Array.of(-1, 0.6, 0.4), options), new Set([0, 1, 2]))
  assert.deepEqual(drawn(Float32Array.of(2, 0.6, 0.4), options), new Set([0, 1, 2]))
  assert.equal(sampleToken(Float32Array.of(0.9, 0, 0), { ...options, minP: 1 }, 0), 0)
})

test('the repetition penalty divides positive logits and multiplies negative ones, once a token', () => {
  const logits = Float32Array.of(2, 1.5, -1, -0.6)
  assert.equal(sampleToken(logits, { temperature: 0, repetitionPenalty: 2 }, 0, [0, 0, 0]), 1)
  assert.equal(sampleToken(logits, { temperature: 0, repetitionPenalty: 1.2 }, 0, [0, 0, 0]), 0)
  const below = Float32Array.of(-0.5, -0.6)
  assert.equal(sampleToken(below, { temperature: 0, repetitionPenalty: 1.1 }, 0, [0]), 0)
  assert.equal(sampleToken(below, { temperature: 0, repetitionPenalty: 1.3 }, 0, [0]), 1)
  assert.deepEqual([...logits], [2, 1.5, -1, -0.6].map(Math.fround))
})

test('scores are the log-softmax of the logits, and the top ones come largest first', () => {
  fc.assert(
    fc.property(logitsOf, fc.nat(), fc.nat({ max: 5 }), (logits, pick, count) => {
      const token = pick % logits.length
      const p = probabilities(logits)
      const score = scoreToken(logits, token, count)
      assert.equal(score.token, token)
      assert.ok(Math.abs(score.logprob - Math.log(p[token])) < 1e-6)
      assert.equal(score.top.length, Math.min(count, logits.length))
      const sorted = [...p].sort((a, b) => b - a)
      score.top.forEach((each, i) => {
        assert.ok(Math.abs(Math.exp(each.logprob) - sorted[i]) < 1e-6)
      })
    }),
  )
})

test('options that mean nothing are refused by name', () => {
  const wrong: [SamplingOptions, RegExp][] = [
    [{ temperature: -1 }, /^MambakitError: temperature: expected a number of at least 0, got -1$/],
    [{ topK: 1.5 }, /topK: expected an integer of at least 0, got 1.5/],
    [{ topP: 0 }, /topP: expected a number in \(0, 1\], got 0/],
    [{ minP: 1.5 }, /minP: expected a number in \[0, 1\], got 1.5/],
    [{ minPMode: 'official' as 'mamba_ssm' }, /minPMode: expected 'probability' or 'mamba_ssm', got 'official'/],
    [{ repetitionPenalty: 0 }, /repetitionPenalty: expected a number above 0, got 0/],
    [{ seed: -1 }, /seed: expected an integer of at least 0, got -1/],
  ]
  for (const [options, message] of wrong) assert.throws(() => checkSampling(options), message)
})
