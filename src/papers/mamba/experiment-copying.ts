// Part 1: selective copying. Eight data tokens lie among noise and are to be said in order; only a model whose dynamics
// depend on the token can leave the noise out (section 4.1.1 of the paper).
import type { Measured, Part, UnitContext } from '../../experiments/experiment.js'
import { selectiveCopying } from '../../tasks/recall.js'
import { RecallTraining, recallAccuracy } from '../../tasks/recall-training.js'
import { mambaOf, timeInvariantOf } from './experiment-models.js'

const size = { dModel: 32, nLayer: 2, vocabSize: 16 }
const models: Record<string, typeof mambaOf> = { mamba: mambaOf, lti: timeInvariantOf }
const learningRates = [{ learningRate: 2e-3 }, { learningRate: 4e-3 }]

async function measure({ method, sizes, settings, seed, backend, train, progress }: UnitContext): Promise<Measured> {
  // The data: the same sequences for every method of a seed.
  const task = selectiveCopying({ seed, vocabSize: size.vocabSize, length: sizes.length, dataTokens: sizes.dataTokens })

  // The model, and its training.
  const model = models[method](size).initialize({ seed, backend })
  const training = new RecallTraining(model, task, { batch: 32, checkSequences: 200 })
  const test = () => recallAccuracy(model, task, sizes.testSequences, 100)
  const curve = await train(training, {
    steps: sizes.steps,
    schedule: 'constant',
    learningRate: settings.learningRate,
    warmup: Math.min(50, sizes.steps),
    betas: [0.9, 0.95],
    weightDecay: 0,
    clipNorm: 1,
    evaluateEvery: sizes.evaluateEvery,
    halfway: { step: sizes.early, measure: test },
    seed,
  })

  // The measurements: accuracy on fresh sequences, early and at the end.
  progress('testing', 0.96)
  const late = await test()
  const checks = curve.evaluations.map(({ step, measurements }) => [step, measurements.accuracy] as const)
  const measured = {
    numbers: { parameters: model.parameterCount(), 'check accuracy': checks[checks.length - 1][1] },
    items: { early: curve.halfway, late },
    series: { accuracy: checks },
  }
  model.dispose()
  return measured
}

export const copyingPart: Part = {
  name: 'selective-copying',
  title: 'Selective copying',
  version: 2,
  sizes: {
    quick: { length: 24, dataTokens: 4, steps: 60, early: 30, evaluateEvery: 30, testSequences: 100 },
    default: { length: 64, dataTokens: 8, steps: 4000, early: 1500, evaluateEvery: 250, testSequences: 2000 },
    full: { length: 64, dataTokens: 8, steps: 4000, early: 1500, evaluateEvery: 250, testSequences: 2000 },
    sweep: { length: 64, dataTokens: 8, steps: 1500, early: 1500, evaluateEvery: 250, testSequences: 200 },
  },
  methods: {
    mamba: { label: 'Mamba', tuned: { learningRate: 2e-3 }, grid: learningRates, seconds: 55 },
    lti: { label: 'time-invariant block', tuned: { learningRate: 4e-3 }, grid: learningRates, seconds: 58 },
  },
  standIns: { mamba: 'lti' },
  // When a training finds the rule differs from seed to seed.
  tuneBy: { number: 'check accuracy', better: 'higher', seeds: 3 },
  criteria: [
    {
      name: 'advantage',
      statement: 'token accuracy at step 1500 over the time-invariant block',
      metric: 'early',
      method: 'mamba',
      minus: 'lti',
      better: 'higher',
      expected: 0.2,
      factor: 100,
      unit: 'points',
      digits: 1,
    },
    {
      name: 'accuracy',
      statement: 'token accuracy of Mamba at the end',
      metric: 'late',
      method: 'mamba',
      better: 'higher',
      expected: 0.95,
      factor: 100,
      unit: '%',
      digits: 1,
    },
    {
      name: 'late advantage',
      statement: 'token accuracy at the end over the time-invariant block',
      metric: 'late',
      method: 'mamba',
      minus: 'lti',
      better: 'higher',
      expected: 0.2,
      decides: false,
      factor: 100,
      unit: 'points',
      digits: 1,
    },
  ],
  plots: [
    {
      name: 'accuracy',
      title: 'Token accuracy during training',
      series: 'accuracy',
      x: { label: 'step' },
      y: { label: 'token accuracy', domain: [0, 1] },
      marks: [{ y: 1 / 14, label: 'chance' }],
    },
  ],
  measure,
}
