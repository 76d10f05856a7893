// Trains a language model on sequences with targets at some positions, and scores each sequence of a test.
import type { LanguageModel } from '../models/language-model.js'
import { argmax, noGrad, scope, slice, type Tensor, tensor } from '../tensor/index.js'
import type { TrainingTask } from '../train/trainer.js'
import { ignored, type RecallBatch, type RecallTask } from './recall.js'

/** Sequences of a test are numbered from here, far beyond those of any training. */
const testStart = 2 ** 30

/** For each of `count` fresh sequences, the share of its targets that the model says (greedily). */
export async function recallAccuracy(
  model: LanguageModel,
  task: RecallTask,
  count: number,
  batch: number,
): Promise<number[]> {
  const { backend } = model.head.weight.value
  const scores: number[] = []
  for (let first = 0; first < count; first += batch) {
    const { ids, targets, length, batch: rows } = task(testStart + first, Math.min(batch, count - first))
    // Only the positions from the first target on are turned into logits.
    const from = targets.subarray(0, length).findIndex((target) => target !== ignored)
    const said = scope(() =>
      noGrad(() => {
        const { hidden } = model.hidden(tensor(ids, { shape: [rows, length], backend }))
        return argmax(model.logits(slice(hidden, 1, from, length)))
      }),
    )
    const tokens = await said.data()
    said.dispose()
    const width = length - from
    for (let row = 0; row < rows; row++) {
      let right = 0
      let asked = 0
      for (let t = 0; t < width; t++) {
        const target = targets[row * length + from + t]
        if (target === ignored) continue
        asked++
        if (tokens[row * width + t] === target) right++
      }
      scores.push(right / asked)
    }
  }
  return scores
}

export interface RecallTrainingOptions {
  /** Sequences a batch. */
  batch: number
  /** Sequences of a measurement during training. */
  checkSequences: number
}

export class RecallTraining implements TrainingTask<RecallBatch> {
  readonly unit = 'sequences'
  readonly unitsPerBatch: number
  constructor(
    readonly model: LanguageModel,
    private readonly task: RecallTask,
    private readonly options: RecallTrainingOptions,
  ) {
    this.unitsPerBatch = options.batch
  }
  async batch(index: number): Promise<RecallBatch> {
    return this.task(index * this.options.batch, this.options.batch)
  }
  loss({ ids, targets, batch, length }: RecallBatch): Tensor {
    const { backend } = this.model.head.weight.value
    const [input, wanted] = [ids, targets].map((values) => tensor(values, { shape: [batch, length], backend }))
    return this.model.loss(input, wanted)
  }
  /** Share of targets missed on sequences that no test uses. */
  async evaluate(): Promise<Record<string, number>> {
    const { batch, checkSequences } = this.options
    const shifted: RecallTask = (first, rows) => this.task(first + testStart, rows)
    const scores = await recallAccuracy(this.model, shifted, checkSequences, Math.max(batch, 64))
    const accuracy = scores.reduce((sum, score) => sum + score, 0) / scores.length
    return { missed: 1 - accuracy, accuracy }
  }
  observe({ ids, batch, length }: RecallBatch, visit: (layer: string, output: Tensor) => void): void {
    const { backend } = this.model.head.weight.value
    const { hidden } = this.model.hidden(tensor(ids, { shape: [batch, length], backend }), { observe: visit })
    visit('head', this.model.logits(hidden))
  }
}
