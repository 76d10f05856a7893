// The result file of an experiment, results/<slug>.json, and what --json prints: commands write it, nobody else. Node only.
import { execFile } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { MambakitError } from '../errors.js'
import { replaceFile, writeAll } from '../hub/atomic.node.js'
import { formatLimits, formatMeasured } from './report.node.js'
import type { JudgedCriterion, Outcome } from './runner.node.js'

/** The commit of the clone in `folder`; throws where there is none. */
export async function currentCommit(folder: string): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)('git', ['rev-parse', 'HEAD'], { cwd: folder })
    return stdout.trim()
  } catch {
    throw new MambakitError(`${folder}: expected a git clone, whose commit the result names`)
  }
}

export interface RecordFacts {
  readonly command: string
  readonly commit: string
  /** ISO day. */
  readonly date: string
}

/** The result as JSON; `measurements`, `interval` and `threshold` are what the paper's page shows. */
export function resultOf(outcome: Outcome, facts: RecordFacts) {
  const { experiment, parts } = outcome
  const [headPart, headName] = experiment.headline.split('/')
  const head = parts
    .find(({ part }) => part.name === headPart)
    ?.criteria.find(({ criterion }) => criterion.name === headName)
  const sign = head?.criterion.better === 'lower' ? -1 : 1
  const ends = head && [sign * head.interval.low, sign * head.interval.high].sort((a, b) => a - b)
  return {
    ...facts,
    claim: experiment.claim,
    verdict: outcome.verdict,
    scale: outcome.scale,
    ...(outcome.null && { null: true }),
    ...(outcome.partial && { partial: true }),
    seeds: outcome.seeds,
    machine: { devices: outcome.devices },
    minutes: round(outcome.seconds / 60),
    processorMinutes: round(outcome.cpuSeconds / 60),
    measurements: measurementsOf(outcome),
    ...(head && { interval: ends!.map(round), threshold: round(sign * head.criterion.expected) }),
    parts: parts.map(({ part, sizes, methods, criteria, state: partState }) => ({
      name: part.name,
      state: partState,
      version: part.version,
      sizes,
      criteria: criteria.map(resultOfCriterion),
      methods: methods.map(({ name, label, settings, units }) => ({
        name,
        label,
        settings,
        seeds: units.map(({ key, measured }) => ({
          seed: key.seed,
          ...Object.fromEntries(Object.entries(measured.numbers).map(([n, value]) => [n, round(value)])),
        })),
      })),
    })),
  }
}

function resultOfCriterion(judged: JudgedCriterion) {
  const { criterion, interval, perSeed, state } = judged
  return {
    name: criterion.name,
    statement: criterion.statement,
    decides: criterion.decides ?? true,
    claimed: formatLimits(criterion),
    ...formatMeasured(judged),
    mean: round(interval.mean),
    interval: [round(interval.low), round(interval.high)],
    perSeed: perSeed.map(round),
    state,
  }
}

/** Every criterion's mean by 'part: statement', as the page lists them. */
function measurementsOf({ parts }: Outcome): Record<string, number> {
  return Object.fromEntries(
    parts.flatMap(({ part, criteria }) =>
      criteria.map(({ criterion, interval }) => [`${part.title}: ${criterion.statement}`, round(interval.mean)]),
    ),
  )
}

/** Six significant digits: what repeats, not what the last bit says. */
const round = (value: number): number => Number(value.toPrecision(6))

export async function writeJsonFile(path: string, value: unknown): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const bytes = new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`)
  await replaceFile(path, (handle) => writeAll(handle, bytes))
}
