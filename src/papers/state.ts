// How far a paper has come, computed from what is there: its loader in the catalogue and its committed result. Never
// written by hand.
import { MambakitError } from '../errors.js'
import { type Verdict, verdicts } from '../experiments/verdict.js'
import type { Paper } from './index.js'

export type { Verdict }
export type PaperState = 'planned' | 'implemented' | Verdict

export const criterionStates = ['holds', 'open', 'fails'] as const

/** A measurement held against what the claim asks of it. */
export interface PaperCriterion {
  /** As in `measurements`. */
  readonly name: string
  /** The 95 % interval of the measured value. */
  readonly interval: readonly [low: number, high: number]
  /** In the unit of the claim: "97.9 %", and its interval, "93.8 to 100.0". */
  readonly measured: string
  readonly range: string
  /** What it is held against: "≥ 95.0 %". */
  readonly claimed: string
  readonly state: (typeof criterionStates)[number]
  /** False for one beside the claim. */
  readonly decides: boolean
}

/** What `results/<slug>.json` has to hold; an experiment writes more beside it, which is left there. */
export interface PaperResult {
  readonly command: string
  readonly commit: string
  readonly seeds: readonly number[]
  readonly verdict: Verdict
  /** What was tested, in a sentence. */
  readonly claim?: string
  /** Measured values by name, the method's and its baseline's. */
  readonly measurements?: Readonly<Record<string, number>>
  /** The paired 95 % interval that decides: where the measured advantage over the baseline lies. */
  readonly interval?: readonly [low: number, high: number]
  /** The advantage that the claim needs; 0 if absent. */
  readonly threshold?: number
  /** ISO day on which it was measured. */
  readonly date?: string
  /** What became of each measurement. In the file they stand in parts. */
  readonly criteria?: readonly PaperCriterion[]
}

/** A paper without a loader is planned whatever results lie about; one with a loader is as its result says. */
export function paperState(paper: Paper, result: PaperResult | null): PaperState {
  if (!paper.load) return 'planned'
  return result?.verdict ?? 'implemented'
}

/** Parses a result file. Throws a MambakitError that names the file and the field. */
export function parseResult(json: string, file: string): PaperResult {
  const fail = (expected: string) => new MambakitError(`${file}: expected ${expected}; run the experiment again`)
  let result: PaperResult & { readonly parts?: unknown }
  try {
    result = JSON.parse(json)
  } catch {
    throw fail('JSON')
  }
  if (typeof result !== 'object' || result === null) throw fail('a JSON object')
  if (!verdicts.includes(result.verdict)) throw fail(`verdict to be one of ${verdicts.join(', ')}`)
  if (typeof result.command !== 'string') throw fail('command to be the command that made it')
  if (typeof result.commit !== 'string' || !/^[0-9a-f]{7,40}$/.test(result.commit))
    throw fail('commit to be a commit hash')
  if (!Array.isArray(result.seeds) || !result.seeds.every(Number.isSafeInteger))
    throw fail('seeds to be a list of integers')
  checkOptional(result, fail)
  const { command, commit, seeds, verdict, claim, measurements, interval, threshold, date } = result
  const criteria = criteriaOf(result.parts, Object.keys(measurements ?? {}), fail)
  const all = { command, commit, seeds, verdict, claim, measurements, interval, threshold, date, criteria }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as unknown as PaperResult
}

/** The criteria of all parts, which stand in the order of the measurements. */
function criteriaOf(
  parts: unknown,
  names: readonly string[],
  fail: (expected: string) => MambakitError,
): PaperCriterion[] | undefined {
  if (parts === undefined) return undefined
  const all = (Array.isArray(parts) ? parts : [{}]).flatMap((part) => part?.criteria ?? [null])
  if (all.length !== names.length) throw fail('a measurement for each criterion of the parts')
  return all.map((each, i) => {
    const { statement, interval, measured, range, claimed, state, decides } = each ?? {}
    const named = typeof statement === 'string' && names[i].endsWith(statement)
    const words = [measured, range, claimed].every((text) => typeof text === 'string')
    if (!named || !words || !criterionStates.includes(state) || !isInterval(interval))
      throw fail(`parts to hold what '${names[i]}' came to`)
    return { name: names[i], interval, measured, range, claimed, state, decides: decides !== false }
  })
}

const isInterval = (value: unknown): value is readonly [number, number] =>
  Array.isArray(value) && value.length === 2 && value.every(Number.isFinite) && value[0] <= value[1]

function checkOptional(result: PaperResult, fail: (expected: string) => MambakitError): void {
  const { claim, measurements, interval, threshold, date } = result
  if (claim !== undefined && typeof claim !== 'string') throw fail('claim to be a sentence')
  if (measurements !== undefined) {
    const record = typeof measurements === 'object' && measurements !== null && !Array.isArray(measurements)
    if (!record || !Object.values(measurements).every(Number.isFinite)) throw fail('measurements to be named numbers')
  }
  if (interval !== undefined && !isInterval(interval)) throw fail('interval to be two numbers, the lower one first')
  if (threshold !== undefined && !Number.isFinite(threshold)) throw fail('threshold to be a number')
  if (date !== undefined && !/^\d{4}-\d\d-\d\d$/.test(`${date}`)) throw fail('date to be a day such as 2026-01-31')
}
