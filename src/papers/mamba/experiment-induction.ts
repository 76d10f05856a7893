// Part 2: induction heads. What followed the trigger the first time is to be said at its second occurrence; trained at
// length 64, tested far beyond (section 4.1.2 of the paper).
import type { Measured, Part, UnitContext } from '../../experiments/experiment.js'
import type { LanguageModel } from '../../models/language-model.js'
import { inductionHeads } from '../../tasks/recall.js'
import { RecallTraining, recallAccuracy } from '../../tasks/recall-training.js'
import { mambaOf, timeInvariantOf, transformerOf } from './experiment-models.js'

const trainedLength = 64
const size = { dModel: 32, nLayer: 2, vocabSize: 16 }
const attention = { ...size, heads: 2, parameters: mambaOf(size).parameterCount() }
const models: Record<string, () => LanguageModel> = {
  mamba: () => mambaOf(size),
  lti: () => timeInvariantOf(size),
  absolute: () => transformerOf({ ...attention, positions: trainedLength }),
  rotary: () => transformerOf({ ...attention, positions: 'rotary' }),
}
const learningRates = [{ learningRate: 1e-3 }, { learningRate: 2e-3 }, { learningRate: 4e-3 }]
const chance = 1 / (size.vocabSize - 1)

async function measure({ method, sizes, settings, seed, backend, train, progress }: UnitContext): Promise<Measured> {
  // The data: sequences of the trained length, the same for every method of a seed.
  const task = inductionHeads({ seed, vocabSize: size.vocabSize, length: trainedLength })

  // The model, trained until it is right five checks in a row.
  const model = models[method]().initialize({ seed, backend }) as LanguageModel
  const training = new RecallTraining(model, task, { batch: 16, checkSequences: 400 })
  const curve = await train(training, {
    steps: sizes.steps,
    schedule: 'constant',
    learningRate: settings.learningRate,
    warmup: Math.min(50, sizes.steps),
    betas: [0.9, 0.95],
    weightDecay: 0,
    clipNorm: 1,
    evaluateEvery: sizes.evaluateEvery,
    enough: (checks) =>
      checks.length >= 5 && checks.slice(-5).every(({ measurements }) => measurements.accuracy >= 0.995),
    seed,
  })

  // The measurements: accuracy at each length, on fresh sequences.
  const items: Record<string, number[]> = {}
  const extrapolation: [number, number][] = []
  for (let length = trainedLength; length <= sizes.longest; length *= 2) {
    progress(`testing at length ${length}`, 0.95)
    const sequences = length <= 2048 ? sizes.testSequences : Math.min(sizes.testSequences, 64)
    const longer = inductionHeads({ seed, vocabSize: size.vocabSize, length })
    const scores = await recallAccuracy(model, longer, sequences, Math.max(1, Math.floor(32_768 / length)))
    items[`length ${length}`] = scores
    extrapolation.push([length, scores.reduce((sum, score) => sum + score, 0) / scores.length])
  }
  const checks = curve.evaluations.map(({ step, measurements }) => [step, measurements.accuracy] as const)
  const steps = checks[checks.length - 1][0]
  const meanCheck = checks.reduce((sum, [, accuracy]) => sum + accuracy, 0) / (sizes.steps / sizes.evaluateEvery)
  const measured = {
    numbers: {
      parameters: model.parameterCount(),
      steps,
      // Checks after an early end count as right, so that learning sooner is better.
      'learning score': meanCheck + (sizes.steps - steps) / sizes.steps,
      ...Object.fromEntries(extrapolation.map(([length, accuracy]) => [`at ${length}`, accuracy])),
    },
    items,
    series: { extrapolation, accuracy: checks },
  }
  model.dispose()
  return measured
}

const percent = { factor: 100, unit: '%', digits: 1 } as const

export const inductionPart: Part = {
  name: 'induction-heads',
  title: 'Induction heads',
  version: 2,
  sizes: {
    quick: { steps: 40, evaluateEvery: 20, longest: 512, testSequences: 16 },
    default: { steps: 10_000, evaluateEvery: 500, longest: 16_384, testSequences: 256 },
    full: { steps: 10_000, evaluateEvery: 500, longest: 16_384, testSequences: 256 },
    sweep: { steps: 4000, evaluateEvery: 250, longest: 64, testSequences: 16 },
  },
  methods: {
    mamba: { label: 'Mamba', tuned: { learningRate: 2e-3 }, grid: learningRates, seconds: 30 },
    lti: { label: 'time-invariant block', tuned: { learningRate: 4e-3 }, grid: learningRates, seconds: 35 },
    absolute: {
      label: 'attention, learned positions',
      tuned: { learningRate: 1e-3 },
      grid: learningRates,
      seconds: 40,
    },
    rotary: { label: 'attention, rotary', tuned: { learningRate: 1e-3 }, grid: learningRates, seconds: 35 },
  },
  standIns: { mamba: 'lti' },
  tuneBy: { number: 'learning score', better: 'higher' },
  criteria: [
    {
      name: 'extrapolation',
      statement: 'accuracy of Mamba at length 512, 8 times the trained one',
      metric: 'length 512',
      method: 'mamba',
      better: 'higher',
      expected: 0.95,
      failure: 0.9,
      ...percent,
    },
    {
      name: 'absolute',
      statement: 'accuracy of attention with learned positions at length 512 (chance is 6.7 %)',
      metric: 'length 512',
      method: 'absolute',
      better: 'lower',
      expected: 2 * chance,
      decides: false,
      ...percent,
    },
    {
      name: 'rotary',
      statement: 'accuracy of attention with rotary positions at length 512',
      metric: 'length 512',
      method: 'rotary',
      better: 'lower',
      expected: 0.5,
      decides: false,
      ...percent,
    },
    {
      name: 'lti',
      statement: 'accuracy of the time-invariant block at the trained length',
      metric: 'length 64',
      method: 'lti',
      better: 'lower',
      expected: 0.5,
      decides: false,
      ...percent,
    },
  ],
  plots: [
    {
      name: 'extrapolation',
      title: 'Accuracy by length',
      series: 'extrapolation',
      x: { label: 'length of the test', log: true },
      y: { label: 'accuracy', domain: [0, 1] },
      marks: [
        { y: chance, label: 'chance' },
        { x: trainedLength, label: 'trained' },
      ],
    },
    {
      name: 'training',
      title: 'Accuracy at length 64 during training',
      series: 'accuracy',
      x: { label: 'step' },
      y: { label: 'accuracy', domain: [0, 1] },
    },
  ],
  measure,
}
