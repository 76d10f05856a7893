// Runs an experiment: its units one after another, each from the store where it is there, then criteria and verdict.
// Node only.
import { cpuUsage } from 'node:process'
import type { Backend } from '../backend/types.js'
import { dataSets } from '../data/registry.js'
import { openDataSet } from '../data/registry.node.js'
import { MambakitError } from '../errors.js'
import { type Confusion, meanIou } from '../tasks/confusion.js'
import {
  type Criterion,
  type Experiment,
  type Measured,
  type Method,
  type Part,
  runsAt,
  type Scale,
  type Settings,
  sizesOf,
} from './experiment.js'
import { trainInFolder } from './training.node.js'
import { type UnitKey, type UnitRecord, UnitStore } from './units.node.js'
import {
  bootstrap,
  bootstrapInterval,
  type CriterionState,
  combine,
  type Interval,
  judge,
  overallVerdict,
  type Summary,
  summarize,
  type Verdict,
} from './verdict.js'

export interface RunOptions {
  readonly backend: Backend
  readonly scale: Exclude<Scale, 'sweep'>
  readonly seeds: readonly number[]
  /** The baselines take the methods' places. Default false. */
  readonly null?: boolean
  /** Names of parts; default all of the scale. */
  readonly parts?: readonly string[]
  /** runs/<slug>. */
  readonly folder: string
  readonly dataRoot?: string
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: UnitProgress) => void
}

export interface UnitProgress {
  readonly part: string
  readonly method: string
  readonly seed: number
  /** From 1. */
  readonly unit: number
  readonly units: number
  readonly what: string
  /** Share of the unit, 0 to 1. */
  readonly done: number
  /** Of everything that is left, at the pace so far; null until there is one. */
  readonly secondsLeft: number | null
  /** True where the store had it. */
  readonly cached: boolean
}

export interface JudgedCriterion {
  readonly criterion: Criterion
  /** Of all scores, in the metric's own unit. */
  readonly interval: Interval
  readonly perSeed: readonly number[]
  readonly state: CriterionState
}

/** Units of one method of one part, a seed each. */
export interface MethodOutcome {
  readonly name: string
  readonly label: string
  readonly settings: Settings
  readonly units: readonly UnitRecord[]
}

export interface PartOutcome {
  readonly part: Part
  readonly sizes: Settings
  readonly methods: readonly MethodOutcome[]
  readonly criteria: readonly JudgedCriterion[]
  /** Of the criteria that decide, taken together; 'smoke' at quick scale. */
  readonly state: CriterionState | 'smoke'
}

export interface Outcome {
  readonly experiment: Experiment
  readonly scale: Exclude<Scale, 'sweep'>
  readonly null: boolean
  /** True where only some parts were asked for. */
  readonly partial: boolean
  readonly seeds: readonly number[]
  /** Devices that measured the units. */
  readonly devices: readonly string[]
  readonly parts: readonly PartOutcome[]
  /** 'smoke' at quick scale, which decides nothing. */
  readonly verdict: Verdict | 'smoke'
  /** Of all units, also those that earlier runs measured. */
  readonly seconds: number
  readonly cpuSeconds: number
}

/** Added to a stand-in's seed, so that with --null a second training of the baseline is compared with the first. */
const nullSeedOffset = 1000

/** One unit to be there. */
export interface PlannedUnit {
  readonly part: Part
  readonly method: string
  readonly key: UnitKey
  /** Declared seconds, for the time that is left. */
  readonly seconds: number
}

export async function runExperiment(experiment: Experiment, options: RunOptions): Promise<Outcome> {
  const { scale, seeds, null: isNull = false } = options
  const parts = chosenParts(experiment, scale, options.parts)
  const roster = parts.map((part) =>
    Object.entries(part.methods)
      .filter(([, method]) => runsAt(method, scale))
      .map(([name, method]) => {
        const stand = isNull ? part.standIns[name] : undefined
        const plan = seeds.slice(0, method.seeds ?? part.seeds ?? seeds.length).map((seed) =>
          planUnit(experiment, part, {
            method: stand ?? name,
            sizes: sizesOf(part, scale),
            settings: part.methods[stand ?? name].tuned,
            seed: stand === undefined ? seed : seed + nullSeedOffset,
            backend: options.backend,
          }),
        )
        const label = stand === undefined ? method.label : `${part.methods[stand].label} in place of ${method.label}`
        return { name, label, settings: part.methods[stand ?? name].tuned, plan }
      }),
  )
  const records = await measureUnits(
    roster.flatMap((methods) => methods.flatMap(({ plan }) => plan)),
    options,
  )
  const outcomes = parts.map((part, p): PartOutcome => {
    const methods = roster[p].map(({ plan, ...method }) => ({
      ...method,
      units: plan.map((unit) => records.get(unit)!),
    }))
    const criteria = part.criteria
      .filter(({ method, minus }) => [method, minus ?? method].every((name) => methods.some((m) => m.name === name)))
      .map((criterion) => judgeCriterion(criterion, methods))
    const deciding = criteria.filter(({ criterion }) => criterion.decides ?? true)
    return {
      part,
      sizes: sizesOf(part, scale),
      methods,
      criteria,
      state: scale === 'quick' ? 'smoke' : combine(deciding.map((c) => c.state)),
    }
  })
  const states = outcomes.flatMap(({ criteria }) =>
    criteria.filter((c) => c.criterion.decides ?? true).map((c) => c.state),
  )
  const all = [...records.values()]
  return {
    experiment,
    scale,
    null: isNull,
    partial: parts.length < chosenParts(experiment, scale).length,
    seeds,
    devices: [...new Set(all.map(({ device }) => device))].sort(),
    parts: outcomes,
    verdict: scale === 'quick' ? 'smoke' : overallVerdict(states),
    seconds: all.reduce((sum, { seconds }) => sum + seconds, 0),
    cpuSeconds: all.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0),
  }
}

function chosenParts(experiment: Experiment, scale: Scale, names?: readonly string[]): Part[] {
  const available = experiment.parts.filter((part) => runsAt(part, scale))
  for (const name of names ?? [])
    if (!available.some((part) => part.name === name)) {
      const list = available.map((part) => part.name).join(', ')
      throw new MambakitError(`${experiment.slug}: expected a part among ${list} at this scale, got '${name}'`)
    }
  return available.filter((part) => names?.includes(part.name) ?? true)
}

/** Device and instruction set without the number of threads. */
export function deviceWords({ device, description }: Backend): string {
  return `${device} (${description.replace(/,? *\d+ threads?/, '')})`
}

export function planUnit(
  experiment: Experiment,
  part: Part,
  { method, backend, ...rest }: { method: string; sizes: Settings; settings: Settings; seed: number; backend: Backend },
): PlannedUnit {
  const files = (part.data ?? []).flatMap((set) =>
    Object.entries(dataSets[set].files).map(([file, { sha256 }]) => [`${set}/${file}`, sha256] as const),
  )
  const key: UnitKey = {
    experiment: experiment.slug,
    part: part.name,
    version: part.version,
    method,
    ...rest,
    data: Object.fromEntries(files),
    ...(part.timed && { device: deviceWords(backend) }),
  }
  return { part, method, key, seconds: part.methods[method].seconds }
}

export type MeasureOptions = Pick<RunOptions, 'backend' | 'folder' | 'dataRoot' | 'signal' | 'onProgress'>

/** Measures what the store does not have yet, in order. */
export async function measureUnits(
  planned: readonly PlannedUnit[],
  options: MeasureOptions,
): Promise<Map<PlannedUnit, UnitRecord>> {
  const store = new UnitStore(`${options.folder}/units`)
  const records = new Map<PlannedUnit, UnitRecord>()
  for (const unit of planned) {
    const record = await store.read(unit.key)
    if (record) records.set(unit, record)
  }
  const started = performance.now()
  let declaredDone = 0
  for (const [i, unit] of planned.entries()) {
    const declaredLeft = planned.slice(i).reduce((sum, u) => (records.has(u) ? sum : sum + u.seconds), 0)
    const report = (what: string, done: number, cached = false) => {
      const declared = declaredDone + unit.seconds * done
      const pace = declared > 0 ? (performance.now() - started) / 1000 / declared : null
      options.onProgress?.({
        part: unit.part.name,
        method: unit.part.methods[unit.method].label,
        seed: unit.key.seed,
        unit: i + 1,
        units: planned.length,
        what,
        done,
        secondsLeft: pace === null ? null : pace * (declaredLeft - unit.seconds * done),
        cached,
      })
    }
    if (records.has(unit)) {
      report('measured before', 1, true)
      continue
    }
    options.signal?.throwIfAborted()
    const record = await measureUnit(unit, store, options, report)
    await store.write(record)
    records.set(unit, record)
    declaredDone += unit.seconds
    report('done', 0)
  }
  return records
}

async function measureUnit(
  { part, method, key }: PlannedUnit,
  store: UnitStore,
  { backend, dataRoot, signal }: MeasureOptions,
  progress: (what: string, done: number) => void,
): Promise<UnitRecord> {
  const started = performance.now()
  const before = cpuUsage()
  progress('starting', 0)
  const measured = await part.measure({
    backend,
    method,
    sizes: key.sizes,
    settings: key.settings,
    seed: key.seed,
    signal,
    progress,
    data: async (set) => openDataSet(set, dataRoot),
    train: (task, training) =>
      trainInFolder(task, training, {
        folder: store.workFolder(key),
        signal,
        onStep: (step, steps, loss) =>
          progress(`step ${step}/${steps}  loss ${loss.toFixed(4)}`, (0.95 * step) / steps),
      }),
  })
  const { user, system } = cpuUsage(before)
  return {
    key,
    measured,
    device: deviceWords(backend),
    seconds: (performance.now() - started) / 1000,
    cpuSeconds: (user + system) / 1e6,
  }
}

/** Scores a criterion: the method's items, less the other method's of the same seed and item. */
function judgeCriterion(criterion: Criterion, methods: readonly MethodOutcome[]): JudgedCriterion {
  const { statistic } = criterion
  if (statistic === 'mIoU') {
    const pairs = pairedItems(criterion, methods, countsOf)
    const summary: Summary<Paired<Confusion>> = (items) => {
      const own = meanIou(items.map((item) => item.own))
      return criterion.minus === undefined ? own : own - meanIou(items.map((item) => item.other!))
    }
    return judged(criterion, bootstrap(pairs, summary), pairs.map(summary))
  }
  const pairs = pairedItems(criterion, methods, itemsOf)
  const scores = pairs.map((items) => items.map(({ own, other = 0 }) => own - other))
  const perSeed = scores.map((items) => summarize(items, statistic))
  return judged(criterion, bootstrapInterval(scores, { statistic }), perSeed)
}

const judged = (criterion: Criterion, interval: Interval, perSeed: readonly number[]): JudgedCriterion => ({
  ...{ criterion, interval, perSeed },
  state: judge(interval, criterion),
})

/** A test item's score by the criterion's method, and by the one that it is compared with. */
interface Paired<Score> {
  readonly own: Score
  readonly other?: Score
}

/** By seed and item; of a comparison, the seeds that both methods have. */
function pairedItems<Score>(
  criterion: Criterion,
  methods: readonly MethodOutcome[],
  scoresOf: (measured: Measured, criterion: Criterion, method: string) => readonly Score[],
): Paired<Score>[][] {
  const bySeed = (name: string) =>
    methods
      .find((method) => method.name === name)!
      .units.map(({ measured }): readonly Score[] => scoresOf(measured, criterion, name))
  const own = bySeed(criterion.method)
  if (criterion.minus === undefined) return own.map((items) => items.map((score) => ({ own: score })))
  const other = bySeed(criterion.minus)
  return own
    .slice(0, other.length)
    .map((items, s) => items.map((score, i): Paired<Score> => ({ own: score, other: other[s][i] })))
}

function itemsOf({ items, numbers }: Measured, { metric, name }: Criterion, method: string): readonly number[] {
  const found = items[metric] ?? (metric in numbers ? [numbers[metric]] : null)
  if (!found) throw new MambakitError(`criterion ${name}: expected '${method}' to measure '${metric}', it did not`)
  return found
}

function countsOf({ counts }: Measured, { metric, name }: Criterion, method: string): readonly Confusion[] {
  const found = counts?.[metric]
  if (!found) throw new MambakitError(`criterion ${name}: expected '${method}' to count '${metric}', it did not`)
  return found
}

/** What one try of the sweep gave. */
export interface SweepRow {
  readonly part: string
  readonly method: Method
  readonly settings: Settings
  readonly seeds: number
  /** The mean over seeds. */
  readonly value: number
  readonly devices: readonly string[]
  readonly best: boolean
  /** Whether the recipe uses it. */
  readonly tuned: boolean
}

/** Seeds of the tries start here; no experiment uses them. */
const sweepSeed = 500

/** Tries every setting of every method of every part, each with the same number of seeds. */
export async function runSweep(
  experiment: Experiment,
  options: MeasureOptions & Pick<RunOptions, 'parts'>,
): Promise<SweepRow[]> {
  const tries = chosenParts(experiment, 'sweep', options.parts)
    .filter((part) => part.tuneBy)
    .flatMap((part) =>
      Object.keys(part.methods)
        .filter((name) => runsAt(part.methods[name], 'sweep'))
        .flatMap((method) => part.methods[method].grid.map((settings) => ({ part, method, settings }))),
    )
    .map(({ part, method, settings }) => ({
      part,
      method,
      settings,
      units: Array.from({ length: part.tuneBy!.seeds ?? 1 }, (_, i) =>
        planUnit(experiment, part, {
          method,
          settings,
          sizes: sizesOf(part, 'sweep'),
          seed: sweepSeed + i,
          backend: options.backend,
        }),
      ),
    }))
  const records = await measureUnits(
    tries.flatMap(({ units }) => units),
    options,
  )
  const values = tries.map(({ part, units }) => {
    const found = units.map((unit) => records.get(unit)!.measured.numbers[part.tuneBy!.number])
    return found.reduce((sum, value) => sum + value, 0) / found.length
  })
  return tries.map(({ part, method: name, settings, units }, i): SweepRow => {
    const rivals = values.filter((_, j) => tries[j].part === part && tries[j].method === name)
    const best = part.tuneBy!.better === 'higher' ? Math.max(...rivals) : Math.min(...rivals)
    const method = part.methods[name]
    const tuned = JSON.stringify(settings) === JSON.stringify(method.tuned)
    return {
      part: part.name,
      method,
      settings,
      seeds: units.length,
      value: values[i],
      devices: units.map((unit) => records.get(unit)!.device),
      best: values[i] === best,
      tuned,
    }
  })
}
