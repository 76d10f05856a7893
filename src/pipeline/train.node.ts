// Training on the user's own files by one call: data, model, trainer and run folder put together. Node only.
import type { Backend } from '../backend/types.js'
import { openTokenFiles, type TokenKind } from '../data/tokens.node.js'
import { MambakitError } from '../errors.js'
import { LanguageModeling } from '../tasks/language-modeling.js'
import { defaultBackend } from '../tensor/index.js'
import { RunFolder } from '../train/run-folder.node.js'
import { Trainer, type TrainerOptions, type TrainingEvent } from '../train/trainer.js'
import { sequenceModel } from './sequence-models.node.js'

export interface LanguageModelTraining extends Omit<TrainerOptions, 'steps' | 'learningRate'> {
  /** Text files, folders or .jsonl files; FASTA or WAV files for other tokens. */
  data: string | readonly string[]
  /** Text to measure on. Default: the last 10 % of the data. */
  heldOut?: readonly string[]
  /** Field of a JSON-lines record that holds its text. Default 'text'. */
  field?: string
  /** 'bases' (one token a base of DNA), 'mulaw' (one a sample of sound), or 'bytes' of text. Default 'bytes'. */
  tokens?: TokenKind
  /** A preset's name or a config.json. Default 'mamba-small'. */
  model?: string
  /** Where checkpoints and the log go. */
  out: string
  /** Continue the run in `out`. Default false. */
  resume?: boolean
  /** Default 1000. */
  steps?: number
  /** Peak learning rate. Default 0.003. */
  learningRate?: number
  /** Windows a batch. Default 8. */
  batch?: number
  /** Tokens a window. Default 256. */
  length?: number
  /** Held-out tokens to measure on at most. Default 262144. */
  evaluationTokens?: number
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
      readonly trainingTokens: number
      readonly heldOutTokens: number
    }
  | TrainingEvent

/** A run under way: iterate it to let it go on. */
export interface TrainingRun extends AsyncIterable<RunEvent> {
  /** Ends the run after the step under way; its checkpoint is saved. */
  stop(): void
}

/** Trains a model of a task on files; events come as they happen. The only task so far is 'lm'. */
export function train(task: 'lm', options: LanguageModelTraining): TrainingRun {
  if (task !== 'lm') throw new MambakitError(`train: expected task 'lm', got '${task}'`)
  const control = { stopped: false, stop: () => {} }
  return {
    stop() {
      control.stopped = true
      control.stop()
    },
    [Symbol.asyncIterator]: () => trainLanguageModel(options, control),
  }
}

async function* trainLanguageModel(
  options: LanguageModelTraining,
  control: { stopped: boolean; stop: () => void },
): AsyncGenerator<RunEvent> {
  const {
    data,
    heldOut,
    field,
    tokens: kind = 'bytes',
    model: modelName = 'mamba-small',
    out,
    resume = false,
    backend = defaultBackend(),
  } = options
  const { batch = 8, length = 256, evaluationTokens = 262_144, steps = 1000, learningRate = 0.003, seed = 0 } = options
  const { model, config } = await sequenceModel(modelName, kind)
  const text = await openTokenFiles(kind, [data].flat() as string[], { heldOut, field })
  let trainer: Trainer<never> | null = null
  try {
    // What decides the numbers of a run, and so must be the same when it is resumed.
    const decisive = {
      steps,
      learningRate,
      schedule: options.schedule ?? ('cosine' as const),
      warmup: options.warmup ?? Math.floor(steps / 10),
      finalRate: options.finalRate ?? 0.01,
      betas: options.betas ?? ([0.9, 0.95] as const),
      weightDecay: options.weightDecay ?? 0.1,
      clipNorm: options.clipNorm ?? 1,
      accumulation: options.accumulation ?? 1,
      averageDecay: options.averageDecay,
      // Absent in runs from before there was a choice.
      precision: options.precision === 'f32' ? undefined : options.precision,
      seed,
    }
    const folder = await RunFolder.open(out, {
      config,
      settings: { ...decisive, batch, length, trainingTokens: text.train.length },
      resume,
    })
    model.initialize({ seed, backend })
    const modeling = new LanguageModeling(model, text, { length, batch, seed, evaluationTokens })
    const cadence = {
      evaluateEvery: options.evaluateEvery,
      evaluateFirst: options.evaluateFirst,
      checkpointEvery: options.checkpointEvery ?? Math.max(1, Math.floor(steps / 10)),
    }
    trainer = new Trainer(modeling, { ...decisive, ...cadence }, folder) as Trainer<never>
    if (resume) await folder.resume(trainer)
    control.stop = () => trainer?.stop()
    if (control.stopped) trainer.stop()
    yield {
      type: 'start',
      step: trainer.step,
      steps,
      parameters: model.parameterCount(),
      trainingTokens: text.train.length,
      heldOutTokens: text.heldOut.length,
    }
    yield* trainer.run()
  } finally {
    trainer?.dispose()
    model.dispose()
    await text.close()
  }
}
