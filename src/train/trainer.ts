// The training loop of every task: batches in, gradients, update, evaluation, checkpoints; events out. What a run does
// at a step follows from (seed, step) alone, so that a resumed run is bit-equal to an uninterrupted one.
import { MambakitError } from '../errors.js'
import type { Module } from '../nn/index.js'
import {
  add,
  autocast,
  backward,
  mul,
  noGrad,
  RandomStream,
  Scope,
  scope,
  type Tensor,
  withRandom,
} from '../tensor/index.js'
import { AdamW } from './adamw.js'
import { ExponentialAverage } from './average.js'
import { LossScale } from './loss-scale.js'
import { makeSchedule, type ScheduleOptions } from './schedule.js'

/** What a task brings to the loop. */
export interface TrainingTask<Batch> {
  readonly model: Module
  /** What one batch is worth in progress reports: tokens, images, ... */
  readonly unit: string
  readonly unitsPerBatch: number
  /** The batch with this number; the same number gives the same batch. */
  batch(index: number): Promise<Batch>
  /** The mean loss of a batch, shape (). */
  loss(batch: Batch): Tensor
  /** Measures the model on held-out data. The first measurement decides which checkpoint is best; smaller is better. */
  evaluate(): Promise<Record<string, number>>
  /** Runs the forward again and shows each layer's output, to find where numbers stop being finite. */
  observe(batch: Batch, visit: (layer: string, output: Tensor) => void): void
}

export const precisions = ['f32', 'mixed'] as const
export type Precision = (typeof precisions)[number]

export interface TrainerOptions {
  steps: number
  learningRate: number
  /** Default cosine. */
  schedule?: ScheduleOptions['kind']
  /** Steps of linear warm-up. Default 0. */
  warmup?: number
  /** Last learning rate as a factor of the peak. Default 0. */
  finalRate?: number
  betas?: readonly [number, number]
  epsilon?: number
  weightDecay?: number
  /** Default 1. */
  clipNorm?: number
  /** Batches whose gradients make one step. Default 1. */
  accumulation?: number
  /** 'mixed' computes in float16, with float32 weights and a scaled loss (see `autocast` and `LossScale`). Default 'f32'. */
  precision?: Precision
  /** Keep an exponential average of the weights and evaluate that. Default none. */
  averageDecay?: number
  /** Default: at the end only. */
  evaluateEvery?: number
  /** Also before the first step. Default false. */
  evaluateFirst?: boolean
  /** Default: at the end only. */
  checkpointEvery?: number
  seed?: number
}

/** Where a run keeps its checkpoints and log; absent in memory-only runs. */
export interface RunStore {
  /** Saves everything needed to continue after `trainer.step`, atomically. */
  saveLast(trainer: Trainer<never>): Promise<void>
  saveBest(trainer: Trainer<never>, measurements: Record<string, number>): Promise<void>
  log(event: TrainingEvent): Promise<void>
}

export type TrainingEvent =
  | {
      readonly type: 'step'
      /** Steps done. */
      readonly step: number
      readonly loss: number
      readonly learningRate: number
      readonly gradientNorm: number
      readonly unitsPerSecond: number
      /** Seconds until the batch was there, the device idle. */
      readonly waited: number
      /** In mixed precision: what the loss was multiplied by, and whether float16 overflowed, so that the step changed nothing. */
      readonly lossScale?: number
      readonly skipped?: boolean
    }
  | {
      readonly type: 'evaluation'
      readonly step: number
      readonly measurements: Record<string, number>
      readonly best: boolean
    }
  | { readonly type: 'checkpoint'; readonly step: number }

/** The loss or its gradient stopped being finite. The weights are those before the step. */
export class NonFiniteError extends MambakitError {
  override name = 'NonFiniteError'
  constructor(
    readonly step: number,
    readonly layer: string,
    readonly what: 'loss' | 'gradient',
  ) {
    super(
      `the ${what} is not finite at step ${step}, first in ${layer}; the weights are those before this step. ` +
        'Lower the learning rate or look at the data of this step',
    )
  }
}

/** A step that the device is working on. */
interface PendingStep {
  readonly owned: Scope
  readonly loss: Tensor
  readonly norm: Tensor
  readonly learningRate: number
}

export class Trainer<Batch> {
  /** Steps done. */
  step = 0
  /** Smallest first measurement so far. */
  best = Number.POSITIVE_INFINITY
  readonly optimizer: AdamW
  readonly average: ExponentialAverage | null
  /** In mixed precision only. */
  readonly lossScale: LossScale | null
  readonly #schedule: (step: number) => number
  #stopping = false

  constructor(
    readonly task: TrainingTask<Batch>,
    readonly options: TrainerOptions,
    private readonly store: RunStore | null = null,
  ) {
    const { steps, learningRate, schedule = 'cosine', warmup, finalRate, clipNorm = 1, averageDecay } = options
    if (!(Number.isInteger(steps) && steps > 0))
      throw new MambakitError(`steps: expected a positive integer, got ${steps}`)
    if (!(learningRate > 0)) throw new MambakitError(`learningRate: expected a positive number, got ${learningRate}`)
    this.#schedule = makeSchedule({ kind: schedule, steps, warmup, final: finalRate })
    const { betas, epsilon, weightDecay } = options
    const given = Object.fromEntries(Object.entries({ betas, epsilon, weightDecay }).filter(([, v]) => v !== undefined))
    this.optimizer = new AdamW(task.model.namedParameters(), { ...given, clipNorm })
    const { precision = 'f32' } = options
    if (!precisions.includes(precision))
      throw new MambakitError(`precision: expected ${precisions.join(' or ')}, got ${precision}`)
    this.lossScale = precision === 'mixed' ? new LossScale() : null
    this.average = averageDecay ? new ExponentialAverage(task.model.namedParameters(), averageDecay) : null
  }

  /** What forward and backward compute in, where it is not float32. */
  get #compute(): 'float16' | null {
    return this.lossScale && 'float16'
  }

  /** Ends the run after the step under way; the last checkpoint is saved. */
  stop(): void {
    this.#stopping = true
  }

  /** Trains until the last step or `stop`, yielding events as they happen. */
  async *run(): AsyncGenerator<TrainingEvent> {
    const { steps, evaluateEvery, checkpointEvery } = this.options
    this.task.model.train()
    let next = this.step < steps ? this.#batches(this.step) : null
    // A batch that is never used must not surface as an unhandled rejection.
    next?.catch(() => {})
    if (this.options.evaluateFirst && this.step === 0) yield* this.#evaluate()
    while (this.step < steps && !this.#stopping) {
      const started = performance.now()
      const batches = await next!
      const waited = (performance.now() - started) / 1000
      const pending = this.#enqueueStep(batches)
      next = this.step + 1 < steps ? this.#batches(this.step + 1) : null
      next?.catch(() => {})
      const finished = await this.#finishStep(pending, batches)
      this.step++
      const seconds = (performance.now() - started) / 1000
      const unitsPerSecond = (this.task.unitsPerBatch * batches.length) / seconds
      yield* this.#emit({ type: 'step', step: this.step, ...finished, unitsPerSecond, waited })
      const last = this.step === steps || this.#stopping
      if (last || (evaluateEvery && this.step % evaluateEvery === 0)) yield* this.#evaluate()
      if (this.store && (last || (checkpointEvery && this.step % checkpointEvery === 0))) yield* this.#checkpoint()
    }
  }

  #batches(step: number): Promise<Batch[]> {
    const { accumulation = 1 } = this.options
    return Promise.all(Array.from({ length: accumulation }, (_, i) => this.task.batch(step * accumulation + i)))
  }

  /** Enqueues forward, backward and update of one step; nothing is waited for. */
  #enqueueStep(batches: readonly Batch[]): PendingStep {
    const owned = new Scope()
    const { seed = 0, learningRate: peak } = this.options
    const learningRate = peak * this.#schedule(this.step)
    const scale = this.lossScale?.value ?? 1
    const factor = scale / batches.length
    const losses = batches.map((batch, i) => {
      const stream = new RandomStream(seed, 1 + this.step * batches.length + i)
      const run = () => {
        const loss = withRandom(stream, () => this.task.loss(batch))
        backward(factor === 1 ? loss : mul(loss, factor))
        return loss
      }
      return owned.run(() => scope(() => autocast(this.#compute, run)))
    })
    const loss = owned.run(() =>
      noGrad(() =>
        mul(
          losses.reduce((a, b) => add(a, b)),
          1 / losses.length,
        ),
      ),
    )
    const norm = owned.run(() => this.optimizer.step(learningRate, scale))
    return { owned, loss, norm, learningRate }
  }

  async #finishStep(
    { owned, loss, norm, learningRate }: PendingStep,
    batches: readonly Batch[],
  ): Promise<Omit<Extract<TrainingEvent, { type: 'step' }>, 'type' | 'step' | 'unitsPerSecond' | 'waited'>> {
    try {
      const [lossValue, gradientNorm] = await Promise.all([loss.item(), norm.item()])
      const finite = Number.isFinite(lossValue) && Number.isFinite(gradientNorm)
      const { lossScale } = this
      const scale = lossScale?.value
      if (lossScale?.update(finite) === false || (!finite && !lossScale)) throw await this.#locate(batches, lossValue)
      this.task.model.clearGradients()
      if (finite) this.average?.update()
      else this.optimizer.stepCount--
      const mixed = lossScale ? { lossScale: scale, skipped: !finite } : {}
      return { loss: lossValue, gradientNorm, learningRate, ...mixed }
    } finally {
      owned.dispose()
    }
  }

  /** Finds the first layer whose output, or else the parameter whose gradient, is not finite. */
  async #locate(batches: readonly Batch[], loss: number): Promise<NonFiniteError> {
    const step = this.step + 1
    if (Number.isFinite(loss)) {
      const named = [...this.task.model.namedParameters()].reverse()
      for (const [name, { value }] of named)
        if (value.grad && !(await allFinite(value.grad))) return new NonFiniteError(step, name, 'gradient')
    }
    for (const batch of batches) {
      const owned = new Scope()
      const seen: [string, Tensor][] = []
      const observe = () => this.task.observe(batch, (layer, output) => seen.push([layer, output.view()]))
      owned.run(() => noGrad(() => autocast(this.#compute, observe)))
      try {
        for (const [layer, output] of seen)
          if (!(await allFinite(output))) return new NonFiniteError(step, layer, 'loss')
      } finally {
        owned.dispose()
      }
    }
    return new NonFiniteError(step, 'the loss itself', 'loss')
  }

  async *#evaluate(): AsyncGenerator<TrainingEvent> {
    this.task.model.eval()
    this.average?.swap()
    try {
      const measurements = await this.task.evaluate()
      const [first] = Object.values(measurements)
      const best = first < this.best
      if (best) {
        this.best = first
        await this.store?.saveBest(this as never, measurements)
      }
      yield* this.#emit({ type: 'evaluation', step: this.step, measurements, best })
    } finally {
      this.average?.swap()
      this.task.model.train()
    }
  }

  async *#checkpoint(): AsyncGenerator<TrainingEvent> {
    await this.store!.saveLast(this as never)
    yield* this.#emit({ type: 'checkpoint', step: this.step })
  }

  async *#emit(event: TrainingEvent): AsyncGenerator<TrainingEvent> {
    await this.store?.log(event)
    yield event
  }

  dispose(): void {
    this.optimizer.dispose()
    this.average?.dispose()
  }
}

async function allFinite(tensor: Tensor): Promise<boolean> {
  return (await tensor.data()).every((value) => Number.isFinite(value))
}
