// What every training on files is: options that all tasks share, a run folder, and events. A task sets a run up; this
// carries it out. Node only.
import type { Backend } from '../backend/types.js'
import type { Module } from '../nn/index.js'
import { defaultBackend } from '../tensor/index.js'
import { RunFolder } from '../train/run-folder.node.js'
import { Trainer, type TrainerOptions, type TrainingEvent, type TrainingTask } from '../train/trainer.js'

export interface CommonTraining extends Omit<TrainerOptions, 'steps' | 'learningRate'> {
  /** Where checkpoints and the log go. */
  out: string
  /** Continue the run in `out`. Default false. */
  resume?: boolean
  /** Default 1000. */
  steps?: number
  /** Peak learning rate; its default is the task's. */
  learningRate?: number
  /** Default: the default device. */
  backend?: Backend
}

export type RunEvent =
  | {
      readonly type: 'start'
      /** Steps done before, and in all. */
      readonly step: number
      readonly steps: number
      readonly parameters: number
      /** What training and held-out data are counted in: tokens, images. */
      readonly unit: string
      readonly training: number
      readonly heldOut: number
    }
  /** What the user should know of the set-up: a head that was replaced. */
  | { readonly type: 'note'; readonly message: string }
  | TrainingEvent

/** A run under way: iterate it to let it go on. */
export interface TrainingRun extends AsyncIterable<RunEvent> {
  /** Ends the run after the step under way; its checkpoint is saved. */
  stop(): void
}

/** What a task brings to a run: its model, without values, and what becomes of it. */
export interface TrainingSetup<Batch> {
  readonly model: Module
  /** The model's config.json. */
  readonly config: Record<string, unknown>
  /** Small files that go with the model, by name: its tokenizer's. */
  readonly files?: Readonly<Record<string, string>>
  /** Settings beside the trainer's that must be the same when the run is resumed. */
  readonly settings: Record<string, unknown>
  readonly defaults: Required<Pick<TrainerOptions, 'learningRate' | 'betas' | 'weightDecay' | 'clipNorm' | 'finalRate'>>
  /** How much there is to train on and to measure on. */
  readonly training: number
  readonly heldOut: number
  /** Gives the model values of a checkpoint, after it was initialised; yields what the user should know. Not asked when resuming. */
  load?(backend: Backend): AsyncIterable<string>
  /** The task, once the model has values. */
  begin(backend: Backend): Promise<TrainingTask<Batch>>
  close(): Promise<void>
}

/** The run of a task that `setUp` prepares when the run begins. */
export function trainingRun<Batch>(
  options: CommonTraining,
  setUp: (backend: Backend) => Promise<TrainingSetup<Batch>>,
): TrainingRun {
  const control = { stopped: false, stop: () => {} }
  return {
    stop() {
      control.stopped = true
      control.stop()
    },
    [Symbol.asyncIterator]: () => carryOut(options, setUp, control),
  }
}

async function* carryOut<Batch>(
  options: CommonTraining,
  setUp: (backend: Backend) => Promise<TrainingSetup<Batch>>,
  control: { stopped: boolean; stop: () => void },
): AsyncGenerator<RunEvent> {
  const { out, resume = false, backend = defaultBackend(), steps = 1000, seed = 0 } = options
  const setup = await setUp(backend)
  const { model, config, files, settings, defaults, training, heldOut } = setup
  let trainer: Trainer<Batch> | null = null
  try {
    // What decides the numbers of a run, and so must be the same when it is resumed.
    const decisive = {
      steps,
      learningRate: options.learningRate ?? defaults.learningRate,
      schedule: options.schedule ?? ('cosine' as const),
      warmup: options.warmup ?? Math.floor(steps / 10),
      finalRate: options.finalRate ?? defaults.finalRate,
      betas: options.betas ?? defaults.betas,
      weightDecay: options.weightDecay ?? defaults.weightDecay,
      clipNorm: options.clipNorm ?? defaults.clipNorm,
      accumulation: options.accumulation ?? 1,
      averageDecay: options.averageDecay,
      // Absent in runs from before there was a choice.
      precision: options.precision === 'f32' ? undefined : options.precision,
      seed,
    }
    const folder = await RunFolder.open(out, { config, files, settings: { ...decisive, ...settings }, resume })
    model.initialize({ seed, backend })
    if (setup.load && !resume) for await (const message of setup.load(backend)) yield { type: 'note', message }
    const task = await setup.begin(backend)
    const cadence = {
      evaluateEvery: options.evaluateEvery,
      evaluateFirst: options.evaluateFirst,
      checkpointEvery: options.checkpointEvery ?? Math.max(1, Math.floor(steps / 10)),
    }
    trainer = new Trainer(task, { ...decisive, ...cadence }, folder)
    if (resume) await folder.resume(trainer as Trainer<never>)
    control.stop = () => trainer?.stop()
    if (control.stopped) trainer.stop()
    const counts = { unit: task.unit, training, heldOut }
    yield { type: 'start', step: trainer.step, steps, parameters: model.parameterCount(), ...counts }
    yield* trainer.run()
  } finally {
    trainer?.dispose()
    model.dispose()
    await setup.close()
  }
}
