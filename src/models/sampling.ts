// Choosing the next token from logits, on the host: repetition penalty, temperature, top-k, top-p, min-p, a seed; and what
// the model thought of its choice.
import { uniformInteger } from '../data/permutation.js'
import { MambakitError } from '../errors.js'

export interface SamplingOptions {
  /** 0 takes the most likely token. Default 1. */
  temperature?: number
  /** Only the k most likely tokens; 0 for all, 1 takes the most likely one. Default 0. */
  topK?: number
  /** Only the most likely tokens that together reach this probability. Default 1. */
  topP?: number
  /** Only tokens at least this times as likely as the most likely one; 0 for all. Default 0. */
  minP?: number
  /**
   * 'probability' is the usual rule. 'mamba_ssm' is what the official code does instead: without top-k, it drops tokens
   * whose logit is below minP times the logit of token 0 (where that lies between 0 and 1), and ignores topP. Default
   * 'probability'.
   */
  minPMode?: 'probability' | 'mamba_ssm'
  /**
   * Logits of tokens that the prompt or the text so far contains are divided by this where positive and multiplied by it
   * where negative, once a token. Default 1.
   */
  repetitionPenalty?: number
  /** Default 0. */
  seed?: number
}

/** What the model gave a token, before penalty, temperature and cuts: natural logarithms of probabilities. */
export interface TokenScore {
  readonly token: number
  readonly logprob: number
  /** The most likely tokens, most likely first, as many as were asked for. */
  readonly top: readonly { readonly token: number; readonly logprob: number }[]
}

/** Checks sampling options. Throws a MambakitError that names the option. */
export function checkSampling(options: SamplingOptions): void {
  const { temperature = 1, topK = 0, topP = 1, minP = 0, minPMode, repetitionPenalty = 1, seed = 0 } = options
  const fail = (name: string, expected: string, got: unknown): never => {
    throw new MambakitError(`${name}: expected ${expected}, got ${got}`)
  }
  if (!(temperature >= 0 && temperature < Number.POSITIVE_INFINITY))
    fail('temperature', 'a number of at least 0', temperature)
  if (!(Number.isInteger(topK) && topK >= 0)) fail('topK', 'an integer of at least 0', topK)
  if (!(topP > 0 && topP <= 1)) fail('topP', 'a number in (0, 1]', topP)
  if (!(minP >= 0 && minP <= 1)) fail('minP', 'a number in [0, 1]', minP)
  if (!['probability', 'mamba_ssm', undefined].includes(minPMode))
    fail('minPMode', "'probability' or 'mamba_ssm'", `'${minPMode}'`)
  if (!(repetitionPenalty > 0 && repetitionPenalty < Number.POSITIVE_INFINITY))
    fail('repetitionPenalty', 'a number above 0', repetitionPenalty)
  if (!(Number.isSafeInteger(seed) && seed >= 0)) fail('seed', 'an integer of at least 0', seed)
}

/** The index of the largest value; the first of equals. */
export function mostLikely(logits: Float32Array): number {
  let best = 0
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i
  return best
}

/**
 * Draws one token. Tokens in `seen` are penalised; the k most likely are kept, divided by the temperature, cut to the
 * nucleus and by min-p, and drawn from, in order of their ids; number `position` of `seed` decides, so that the same seed
 * gives the same text. The kernel `sample` does the same on a device.
 * mirrors: sample and modify_logit_for_repetition_penalty of state-spaces/mamba (utils/generation.py)
 */
export function sampleToken(
  given: Float32Array,
  options: SamplingOptions,
  position: number,
  seen: Iterable<number> = [],
): number {
  const { temperature = 1, topK = 0, topP = 1, minP = 0, minPMode, repetitionPenalty = 1, seed = 0 } = options
  const logits = repetitionPenalty === 1 ? given : penalized(given, seen, repetitionPenalty)
  const best = mostLikely(logits)
  if (temperature === 0 || topK === 1) return best
  const peak = logits[best]
  const official = minPMode === 'mamba_ssm' && minP > 0 && topK === 0
  const bound = minP * logits[0]
  let tokens =
    official && bound > 0 && bound < 1
      ? atLeast(logits, bound)
      : topK > 0 && topK < logits.length
        ? largest(logits, topK).sort()
        : // Less likely ones never come up: a draw has 32 bits.
          atLeast(logits, peak - 40 * temperature)
  // The official rule may drop every token.
  if (tokens.length === 0) return best
  let weights = weightsOf(logits, tokens, peak, temperature)
  if (!official && topP < 1) {
    tokens = nucleus(logits, tokens, weights, topP)
    weights = weightsOf(logits, tokens, peak, temperature)
  }
  if (!official) for (let i = 0; i < weights.length; i++) if (weights[i] < minP) weights[i] = 0
  return tokens[draw(weights, seed, position)]
}

function penalized(logits: Float32Array, seen: Iterable<number>, penalty: number): Float32Array {
  const out = logits.slice()
  for (const token of new Set(seen)) out[token] = logits[token] < 0 ? logits[token] * penalty : logits[token] / penalty
  return out
}

/** Probabilities at a temperature, divided by that of a token with logit `peak`. */
function weightsOf(logits: Float32Array, tokens: Uint32Array, peak: number, temperature: number): Float64Array {
  const weights = new Float64Array(tokens.length)
  for (let i = 0; i < tokens.length; i++) weights[i] = Math.exp((logits[tokens[i]] - peak) / temperature)
  return weights
}

function sum(values: Float64Array): number {
  let total = 0
  for (let i = 0; i < values.length; i++) total += values[i]
  return total
}

/** Number `position` of a seed, in (0, 1). */
export function uniformDraw(seed: number, position: number): number {
  const bits = 2 ** 32
  return (uniformInteger(bits, seed, position) + 0.5) / bits
}

/** An index, with probabilities in proportion to the weights; never one of weight 0. */
function draw(weights: Float64Array, seed: number, position: number): number {
  let left = uniformDraw(seed, position) * sum(weights)
  let last = 0
  for (let i = 0; i < weights.length; i++) {
    if (weights[i] === 0) continue
    last = i
    if ((left -= weights[i]) <= 0) break
  }
  return last
}

/** The most likely of `tokens` that together reach the share `topP` of all their weights, in order of their ids. */
function nucleus(logits: Float32Array, tokens: Uint32Array, weights: Float64Array, topP: number): Uint32Array {
  const total = sum(weights)
  // All tokens below this weight make up less than 1 - topP of the total, so none of them is needed to reach topP.
  const least = ((1 - topP) * total) / tokens.length
  const order = range(tokens.length)
    .filter((i) => weights[i] >= least)
    .sort((i, j) => logits[tokens[j]] - logits[tokens[i]] || tokens[i] - tokens[j])
  let count = 0
  for (let reached = 0; count < order.length && reached < topP * total; count++) reached += weights[order[count]]
  return order
    .subarray(0, count)
    .map((i) => tokens[i])
    .sort()
}

/** The tokens whose logit is at least `bound`, in order of their ids. */
function atLeast(logits: Float32Array, bound: number): Uint32Array {
  const tokens = new Uint32Array(logits.length)
  let count = 0
  for (let i = 0; i < logits.length; i++) if (logits[i] >= bound) tokens[count++] = i
  return tokens.subarray(0, count)
}

/** The tokens with the `count` largest logits, largest first; earlier ones first among equals. */
function largest(logits: Float32Array, count: number): Uint32Array {
  return atLeast(logits, nthLargest(logits, count))
    .sort((a, b) => logits[b] - logits[a] || a - b)
    .subarray(0, count)
}

/** The value that `n` of the logits reach or exceed: the least of a heap of the n largest. */
function nthLargest(logits: Float32Array, n: number): number {
  const heap = logits.slice(0, n).sort()
  for (let i = n; i < logits.length; i++) {
    const value = logits[i]
    if (!(value > heap[0])) continue
    let at = 0
    for (let child = 1; child < n; child = 2 * at + 1) {
      if (child + 1 < n && heap[child + 1] < heap[child]) child++
      if (heap[child] >= value) break
      heap[at] = heap[child]
      at = child
    }
    heap[at] = value
  }
  return heap[0]
}

function range(count: number): Uint32Array {
  const out = new Uint32Array(count)
  for (let i = 0; i < count; i++) out[i] = i
  return out
}

/** Log-probabilities of a token and of the `count` most likely ones. */
export function scoreToken(logits: Float32Array, token: number, count: number): TokenScore {
  const peak = logits[mostLikely(logits)]
  let total = 0
  for (let i = 0; i < logits.length; i++) total += Math.exp(logits[i] - peak)
  const shift = peak + Math.log(total)
  const score = (i: number) => ({ token: i, logprob: logits[i] - shift })
  const top = count > 0 ? Array.from(largest(logits, Math.min(count, logits.length)), score) : []
  return { ...score(token), top }
}
