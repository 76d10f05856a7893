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
 * nucleus and by min-p, and drawn from; number `position` of `seed` decides, so that the same seed gives the same text.
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
  if (temperature === 0 || topK === 1) return mostLikely(logits)
  const official = minPMode === 'mamba_ssm' && minP > 0 && topK === 0
  const peak = logits[mostLikely(logits)]
  const weight = (token: number) => Math.exp((logits[token] - peak) / temperature)
  let tokens = topK > 0 && topK < logits.length ? largest(logits, topK) : range(logits.length)
  if (official) {
    const least = minP * logits[0]
    if (least > 0 && least < 1) tokens = tokens.filter((token) => logits[token] >= least)
  } else {
    if (topP < 1) tokens = nucleus(logits, tokens, weight, topP)
    if (minP > 0) tokens = tokens.filter((token) => weight(token) >= minP)
  }
  // The official rule may drop every token.
  return tokens.length === 0 ? mostLikely(logits) : draw(tokens, weight, seed, position)
}

function penalized(logits: Float32Array, seen: Iterable<number>, penalty: number): Float32Array {
  const out = logits.slice()
  for (const token of new Set(seen)) out[token] = logits[token] < 0 ? logits[token] * penalty : logits[token] / penalty
  return out
}

/** One of the tokens, with probabilities in proportion to their weights. */
function draw(tokens: Uint32Array, weight: (token: number) => number, seed: number, position: number): number {
  const weights = Float64Array.from(tokens, weight)
  const bits = 2 ** 32
  let left = ((uniformInteger(bits, seed, position) + 0.5) / bits) * weights.reduce((a, b) => a + b)
  for (let i = 0; i < tokens.length; i++) if ((left -= weights[i]) <= 0) return tokens[i]
  return tokens[tokens.length - 1]
}

/** The most likely of `tokens`, largest first, that together reach the share `topP` of all of them. */
function nucleus(
  logits: Float32Array,
  tokens: Uint32Array,
  weight: (token: number) => number,
  topP: number,
): Uint32Array {
  const weights = Float64Array.from(tokens, weight)
  const total = weights.reduce((a, b) => a + b)
  // All tokens below this weight make up less than 1 - topP of the total, so none of them is needed to reach topP.
  const least = ((1 - topP) * total) / tokens.length
  const sorted = descending(
    logits,
    tokens.filter((_, i) => weights[i] >= least),
  )
  let count = 0
  for (let sum = 0; count < sorted.length && sum < topP * total; count++) sum += weight(sorted[count])
  return sorted.subarray(0, count)
}

/** The tokens with the `count` largest logits, largest first. */
function largest(logits: Float32Array, count: number): Uint32Array {
  const least = logits.slice().sort()[logits.length - count]
  const enough = range(logits.length).filter((token) => logits[token] >= least)
  return descending(logits, enough).subarray(0, count)
}

/** Sorted by logit, largest first; earlier ones first among equals. */
const descending = (logits: Float32Array, tokens: Uint32Array): Uint32Array =>
  tokens.sort((a, b) => logits[b] - logits[a] || a - b)

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
