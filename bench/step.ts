// A training step of a language model split by kernel, and how much longer it takes than its matrix products and scans
// alone. The steps are the trainer's own, on random tokens.
import type { NativeBackend } from '../src/backend/native/index.js'
import { languageModels } from '../src/models/catalogue.js'
import { MambaLM } from '../src/models/mamba-lm.js'
import { inputsAndTargets, type TokenBatch } from '../src/tasks/language-modeling.js'
import { Trainer, type TrainingTask } from '../src/train/trainer.js'
import { type Section, stepShares } from './report.js'

export interface StepShape {
  /** A preset. */
  readonly model: string
  readonly batch: number
  readonly length: number
  /** Steps to measure, after one to warm up. */
  readonly steps: number
  /** Most that a step should take of its GEMMs and scans alone. */
  readonly goal: number
}

/** Kernels that a step cannot do without. */
const essential = new Set(['gemm', 'selectiveScan', 'selectiveScanGrad'])

/** The task of training on random tokens. */
export function randomTokens(
  model: MambaLM,
  { batch, length }: Pick<StepShape, 'batch' | 'length'>,
): TrainingTask<TokenBatch> {
  return {
    model,
    unit: 'tokens',
    unitsPerBatch: batch * length,
    async batch(index) {
      // Any spread of ids does; the same step sees the same ones.
      const count = batch * (length + 1)
      const tokens = Int32Array.from({ length: count }, (_, i) => ((i + index * count) * 7919) % model.config.vocabSize)
      return { tokens, batch, length }
    },
    loss(tokens) {
      const { ids, targets } = inputsAndTargets(tokens, model.head.weight.value.backend)
      return model.loss(ids, targets)
    },
    evaluate: async () => ({ loss: 0 }),
    observe() {},
  }
}

export async function benchStep(backend: NativeBackend, shape: StepShape): Promise<Section> {
  const { model: name, batch, length, steps, goal } = shape
  const model = new MambaLM(languageModels[name].config).initialize({ seed: 1, backend })
  const trainer = new Trainer(randomTokens(model, shape), { steps: steps + 1, learningRate: 1e-4 })
  try {
    const events = trainer.run()
    await events.next()
    let seconds = 0
    const times = await backend.profile(async () => {
      const start = performance.now()
      for (let step = 0; step < steps; step++) await events.next()
      seconds = (performance.now() - start) / 1000 / steps
    })
    await events.return(undefined)
    const spent = times.reduce((sum, time) => sum + time.seconds, 0) / steps
    const alone = times.reduce((sum, time) => sum + (essential.has(time.kernel) ? time.seconds : 0), 0) / steps
    const kernels = stepShares(times, steps, seconds)
    const title = `step of ${name} B=${batch} L=${length}`
    return {
      title,
      ratios: [
        { name: 'time of its GEMMs and scans alone', value: seconds / alone, unit: 'times', goal: `at most ${goal}` },
        { name: 'device idle, of the step', value: Math.max(0, 1 - spent / seconds), unit: 'percent' },
      ],
      measurements: [
        { name: 'a step', value: 1000 * seconds, unit: 'ms' },
        { name: 'tokens', value: (batch * length) / seconds, unit: '1/s' },
      ],
      peers: [],
      remarks: [],
      kernels,
    }
  } finally {
    trainer.dispose()
    model.dispose()
  }
}
