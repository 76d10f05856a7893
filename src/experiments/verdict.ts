// From measurements to a verdict: a bootstrap interval over seeds and test items, held against a criterion's limits.
import { uniformInteger } from '../data/permutation.js'
import { MambakitError } from '../errors.js'

export const verdicts = ['reproduced', 'not reproduced', 'undecided'] as const
export type Verdict = (typeof verdicts)[number]

export interface Interval {
  readonly mean: number
  /** Ends of the 95 % interval. */
  readonly low: number
  readonly high: number
}

export interface BootstrapOptions {
  /** Default 2000. */
  readonly resamples?: number
  /** Default 0. */
  readonly seed?: number
  /** What sums up the items of a seed; the median for times, whose outliers are the machine's. Default 'mean'. */
  readonly statistic?: Statistic
}

export type Statistic = 'mean' | 'median'

/** Sums up the items of a seed, whatever an item is. */
export type Summary<Item> = (items: readonly Item[]) => number

const statistics: Readonly<Record<Statistic, Summary<number>>> = {
  mean: (values) => values.reduce((sum, value) => sum + value, 0) / values.length,
  median(values) {
    const sorted = [...values].sort((a, b) => a - b)
    return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.floor(sorted.length / 2)]) / 2
  },
}

/** The items of a seed in one number. */
export const summarize = (items: readonly number[], statistic: Statistic = 'mean'): number =>
  statistics[statistic](items)

/**
 * Mean over seeds of each seed's mean (or median), and its 95 % percentile interval, of scores[seed][item]. Of a
 * comparison, the scores are the differences of the two methods on the same item, which makes the interval a paired one.
 * See `bootstrap`.
 */
export function bootstrapInterval(scores: readonly (readonly number[])[], options: BootstrapOptions = {}): Interval {
  if (!scores.every((items) => items.every(Number.isFinite))) throw unfit()
  return bootstrap(scores, statistics[options.statistic ?? 'mean'], options)
}

const unfit = () =>
  new MambakitError('interval: expected at least one seed, each with finite scores of at least one item')

/**
 * Mean over seeds of what `summary` makes of each seed's items, and its 95 % percentile interval by the hierarchical
 * bootstrap: every resample draws seeds with replacement, then items within each drawn seed, so that it carries both how
 * trainings differ and how test items differ (Davison & Hinkley, Bootstrap Methods and their Application, 1997,
 * section 3.8; for comparing learned systems: Saravanan, Berman & Sober, arXiv 2007.07797). With one seed it knows nothing
 * of how trainings differ, and with three it knows little: a verdict of one seed is therefore called provisional. The same
 * items and seed give the same interval.
 */
export function bootstrap<Item>(
  seeds: readonly (readonly Item[])[],
  summary: Summary<Item>,
  { resamples = 2000, seed = 0 }: Pick<BootstrapOptions, 'resamples' | 'seed'> = {},
): Interval {
  if (seeds.length === 0 || seeds.some((items) => items.length === 0)) throw unfit()
  const mean = summarize(seeds.map(summary))
  const draw = linearCongruential(1 + uniformInteger(2 ** 31 - 2, seed, 0))
  const means = new Float64Array(resamples)
  for (let r = 0; r < resamples; r++) {
    let total = 0
    for (let s = 0; s < seeds.length; s++) {
      const items = seeds[draw(seeds.length)]
      const drawn = new Array<Item>(items.length)
      for (let i = 0; i < items.length; i++) drawn[i] = items[draw(items.length)]
      total += summary(drawn)
    }
    means[r] = total / seeds.length
  }
  means.sort()
  return { mean, low: quantile(means, 0.025), high: quantile(means, 0.975) }
}

/** Integers below a bound by Lehmer's generator (48271, modulus 2^31 - 1). */
function linearCongruential(start: number): (bound: number) => number {
  let state = start
  return (bound) => {
    state = (state * 48271) % 2147483647
    return Math.floor((state / 2147483647) * bound)
  }
}

/** Of sorted values, between neighbours in proportion. */
function quantile(sorted: Float64Array, share: number): number {
  const place = share * (sorted.length - 1)
  const below = Math.floor(place)
  const above = Math.min(below + 1, sorted.length - 1)
  return sorted[below] + (sorted[above] - sorted[below]) * (place - below)
}

export interface Limits {
  /** Which way is better. */
  readonly better: 'higher' | 'lower'
  /** What the claim says: it holds where the whole interval is on the better side, this value included. */
  readonly expected: number
  /** It fails where the whole interval is on the worse side of this. Default: `expected`. */
  readonly failure?: number
}

/** One criterion: held, failed, or open between the two. */
export type CriterionState = 'holds' | 'fails' | 'open'

export function judge(interval: Interval, { better, expected, failure = expected }: Limits): CriterionState {
  const sign = better === 'higher' ? 1 : -1
  if ((failure - expected) * sign > 0)
    throw new MambakitError(
      `criterion: expected the limit of failure (${failure}) to be no better than what is claimed (${expected})`,
    )
  const worst = sign > 0 ? interval.low : -interval.high
  const best = sign > 0 ? interval.high : -interval.low
  if (worst >= sign * expected) return 'holds'
  return best < sign * failure ? 'fails' : 'open'
}

/** Several criteria in one word: they fail where one fails, and hold where all hold. */
export function combine(states: readonly CriterionState[]): CriterionState {
  if (states.includes('fails')) return 'fails'
  return states.length > 0 && states.every((state) => state === 'holds') ? 'holds' : 'open'
}

const verdictOf: Readonly<Record<CriterionState, Verdict>> = {
  holds: 'reproduced',
  fails: 'not reproduced',
  open: 'undecided',
}

/** A claim is reproduced where all its criteria hold, and not where one fails. */
export const overallVerdict = (states: readonly CriterionState[]): Verdict => verdictOf[combine(states)]
