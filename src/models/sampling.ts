// Choosing the next token from logits, on the host: temperature, top-k, top-p, a seed.
import { uniformInteger } from '../data/permutation.js'
import { MambakitError } from '../errors.js'

export interface SamplingOptions {
  /** 0 takes the most likely token. Default 1. */
  temperature?: number
  /** Only the k most likely tokens; 0 for all. Default 0. */
  topK?: number
  /** Only the most likely tokens that together reach this probability. Default 1. */
  topP?: number
  /** Default 0. */
  seed?: number
}

/** Checks sampling options. Throws a MambakitError that names the option. */
export function checkSampling({ temperature = 1, topK = 0, topP = 1, seed = 0 }: SamplingOptions): void {
  const fail = (name: string, expected: string, got: unknown): never => {
    throw new MambakitError(`${name}: expected ${expected}, got ${got}`)
  }
  if (!(temperature >= 0 && temperature < Number.POSITIVE_INFINITY))
    fail('temperature', 'a number of at least 0', temperature)
  if (!(Number.isInteger(topK) && topK >= 0)) fail('topK', 'an integer of at least 0', topK)
  if (!(topP > 0 && topP <= 1)) fail('topP', 'a number in (0, 1]', topP)
  if (!(Number.isSafeInteger(seed) && seed >= 0)) fail('seed', 'an integer of at least 0', seed)
}

/** The index of the largest value; the first of equals. */
export function mostLikely(logits: Float32Array): number {
  let best = 0
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i
  return best
}

/**
 * Draws one token. The k most likely are kept, divided by the temperature, cut to the nucleus, and drawn from; number
 * `position` of `seed` decides, so that the same seed gives the same text.
 * mirrors: sample of state-spaces/mamba (utils/generation.py)
 */
export function sampleToken(logits: Float32Array, options: SamplingOptions, position: number): number {
  const { temperature = 1, topK = 0, topP = 1, seed = 0 } = options
  if (temperature === 0 || topK === 1) return mostLikely(logits)
  const kept = topK > 0 && topK < logits.length
  const order = kept || topP < 1 ? sortedByLogit(logits, kept ? topK : logits.length) : null
  const at = (i: number) => (order ? order[i] : i)
  const count = order ? order.length : logits.length
  const largest = logits[order ? order[0] : mostLikely(logits)]
  const weights = new Float64Array(count)
  let total = 0
  for (let i = 0; i < count; i++) total += weights[i] = Math.exp((logits[at(i)] - largest) / temperature)
  let nucleus = count
  if (topP < 1) {
    let sum = 0
    for (nucleus = 0; nucleus < count && sum < topP * total; nucleus++) sum += weights[nucleus]
    total = sum
  }
  const bits = 2 ** 32
  let left = ((uniformInteger(bits, seed, position) + 0.5) / bits) * total
  for (let i = 0; i < nucleus; i++) if ((left -= weights[i]) <= 0) return at(i)
  return at(nucleus - 1)
}

/** Indices of the `count` largest logits, largest first, earlier ones first among equals. */
function sortedByLogit(logits: Float32Array, count: number): Uint32Array {
  const order = Uint32Array.from(logits, (_, i) => i)
  order.sort((a, b) => logits[b] - logits[a] || a - b)
  return order.subarray(0, count)
}
