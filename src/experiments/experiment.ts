// What an experiment is: the claim of a paper, and parts that each train some methods on the same data and hold what was
// measured against the claim. A paper's experiment.ts is one such value and reads as a recipe; runner.node.ts runs it.
import type { Backend } from '../backend/types.js'
import type { Confusion } from '../tasks/confusion.js'
import type { TrainerOptions, TrainingTask } from '../train/trainer.js'
import type { Limits, Statistic } from './verdict.js'

/**
 * How much is done: 'quick' shows within a minute or two that everything runs and decides nothing, 'default' takes one
 * seed, 'full' several and the parts that only it has. 'sweep' is the size at which settings are tuned.
 */
export const scales = ['quick', 'default', 'full', 'sweep'] as const
export type Scale = (typeof scales)[number]

/** Named numbers: sizes of a part, or the tuned settings of a method. */
export type Settings = Readonly<Record<string, number>>

export interface Method {
  /** For people: 'Mamba', 'Transformer, rotary'. */
  readonly label: string
  /** The settings that the sweep chose. */
  readonly tuned: Settings
  /** What the sweep tries; every method of a part gets as many tries. */
  readonly grid: readonly Settings[]
  /** Seconds of a training at default scale on two quiet cores, for the time that is left. */
  readonly seconds: number
  /** Only at these scales. Default: all. */
  readonly only?: readonly Scale[]
  /** Most trainings of this method; what is compared with it then takes these seeds only. Default: the part's. */
  readonly seeds?: number
}

/** What one unit (a training, or a timing) found out. */
export interface Measured {
  /** One value each. */
  readonly numbers: Readonly<Record<string, number>>
  /** One score a test item; item i is the same for every method of the part. */
  readonly items: Readonly<Record<string, readonly number[]>>
  /** Confusion counts of each test item, for measures that are no mean over items (see tasks/confusion.ts). */
  readonly counts?: Readonly<Record<string, readonly Confusion[]>>
  /** Points for plots. */
  readonly series: Readonly<Record<string, readonly (readonly [x: number, y: number])[]>>
}

export interface Criterion extends Limits {
  readonly name: string
  /** What has to hold, in a sentence. */
  readonly statement: string
  /** A name among the items; or among the numbers, which then are one item; or, of the statistic 'mIoU', among the counts. */
  readonly metric: string
  readonly method: string
  /** Compare with this method, item by item: the score is method - minus. */
  readonly minus?: string
  /** How the items of a seed are summed up; 'mIoU' adds their confusion counts up before it divides. Default 'mean'. */
  readonly statistic?: Statistic | 'mIoU'
  /** False for what is reported beside the claim. Default true. */
  readonly decides?: boolean
  /** How to print: value * factor with a unit. */
  readonly factor?: number
  readonly unit?: string
  readonly digits?: number
}

export interface PlotSpec {
  readonly name: string
  readonly title: string
  /** A name among the series; one line a method. */
  readonly series: string
  readonly x: { readonly label: string; readonly log?: boolean }
  readonly y: { readonly label: string; readonly log?: boolean; readonly domain?: readonly [number, number] }
  /** A dashed line across, such as chance or a length trained on. */
  readonly marks?: readonly { readonly x?: number; readonly y?: number; readonly label: string }[]
}

/** The files of a data set, opened; every file's sha256 has been compared. */
export interface OpenDataSet {
  /** The bytes of a file, decompressed where its name ends in .gz. */
  read(file: string): Promise<Uint8Array>
}

export interface UnitContext {
  readonly backend: Backend
  readonly method: string
  readonly sizes: Settings
  readonly settings: Settings
  readonly seed: number
  /** Aborted when the user interrupts. */
  readonly signal?: AbortSignal
  data(set: string): Promise<OpenDataSet>
  /** Trains with checkpoints, from the last one where an earlier run was cut off. */
  train<Batch>(task: TrainingTask<Batch>, options: UnitTraining): Promise<TrainingCurve>
  /** For the progress display: what is under way, and how much of it is done (0 to 1). */
  progress(what: string, done: number): void
}

export interface UnitTraining extends TrainerOptions {
  /** Tells the trainings of a unit apart where it has several. */
  readonly name?: string
  /** Measured after this step, while the training goes on. */
  readonly halfway?: { readonly step: number; readonly measure: () => Promise<readonly number[]> }
  /** Asked after each evaluation, with all so far; true ends the training. */
  readonly enough?: (evaluations: readonly Evaluation[]) => boolean
}

export interface Evaluation {
  readonly step: number
  readonly measurements: Readonly<Record<string, number>>
}

export interface TrainingCurve {
  /** Step and loss. */
  readonly losses: readonly (readonly [step: number, loss: number])[]
  /** Norm of the gradient at each step, before it is clipped. */
  readonly gradientNorms: readonly number[]
  readonly evaluations: readonly Evaluation[]
  /** What `halfway` measured; empty where the training was over before. */
  readonly halfway: readonly number[]
}

export interface Part {
  readonly name: string
  readonly title: string
  /** Raise it when the code changes what a unit measures: units of other versions are not used again. */
  readonly version: number
  /** Only at these scales. Default: all. */
  readonly only?: readonly Scale[]
  /** Most trainings of each method, where one more costs too much. Default: as many as asked for. */
  readonly seeds?: number
  /** True where time is measured: what another device measured then is not used. Default false. */
  readonly timed?: boolean
  /** Names of data sets in the registry; their sha256 belong to what decides a unit. */
  readonly data?: readonly string[]
  /** The 'sweep' size is by default the 'default' one. */
  readonly sizes: Readonly<Record<Exclude<Scale, 'sweep'>, Settings>> & { readonly sweep?: Settings }
  readonly methods: Readonly<Record<string, Method>>
  /** Which baseline takes the place of each method that the claim is about, with --null. */
  readonly standIns: Readonly<Record<string, string>>
  /** What the sweep chooses by: one of the numbers, measured on data that no criterion uses. Absent: nothing to tune. */
  readonly tuneBy?: {
    readonly number: string
    readonly better: 'higher' | 'lower'
    /** Trainings of each try, whose mean counts. Default 1. */
    readonly seeds?: number
  }
  readonly criteria: readonly Criterion[]
  readonly plots: readonly PlotSpec[]
  /** Trains (or times) one method and measures it. */
  measure(context: UnitContext): Promise<Measured>
}

export interface Experiment {
  readonly slug: string
  /** What is claimed, in a sentence. */
  readonly claim: string
  /** The criterion that the paper's page shows, as 'part/criterion'. */
  readonly headline: string
  /** What differs from the paper, and why. */
  readonly notes: readonly string[]
  readonly parts: readonly Part[]
}

export const runsAt = (what: { readonly only?: readonly Scale[] }, scale: Scale): boolean =>
  what.only?.includes(scale) ?? true

export function sizesOf(part: Part, scale: Scale): Settings {
  return scale === 'sweep' ? (part.sizes.sweep ?? part.sizes.default) : part.sizes[scale]
}
