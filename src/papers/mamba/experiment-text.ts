// Part 3a: bytes of real text. Mamba beside a Transformer of its size and beside the time-invariant block (section 4.2 of
// the paper, at byte level and small scale).
import { tokenRange, tokensInMemory } from '../../data/text.js'
import type { Measured, Part, UnitContext } from '../../experiments/experiment.js'
import type { LanguageModel } from '../../models/language-model.js'
import { LanguageModeling, windowBits } from '../../tasks/language-modeling.js'
import { mambaOf, timeInvariantOf, transformerOf } from './experiment-models.js'

const size = { dModel: 128, nLayer: 4, vocabSize: 256 }
const parameters = mambaOf(size).parameterCount()
/** A pair of attention and MLP counts as two of Mamba's layers. */
const transformer = { ...size, nLayer: 2, heads: 4, positions: 'rotary' } as const
const models: Record<string, () => LanguageModel> = {
  mamba: () => mambaOf(size),
  lti: () => timeInvariantOf(size),
  transformer: () => transformerOf({ ...transformer, parameters }),
  doubled: () => transformerOf({ ...transformer, nLayer: 4, parameters: 2 * parameters }),
}
const learningRates = [{ learningRate: 3e-3 }, { learningRate: 6e-3 }]

async function measure({
  method,
  sizes,
  settings,
  seed,
  backend,
  data,
  train,
  progress,
}: UnitContext): Promise<Measured> {
  // The data: WikiText-2's test part to train on, its validation part to score and, further on, to tune by.
  const set = await data('text-wikitext2')
  const valid = tokensInMemory('valid.txt', await set.read('valid.txt.gz'), 256)
  const scored = tokenRange(valid, 0, sizes.scoredBytes)
  const tuning = tokenRange(valid, sizes.scoredBytes, sizes.scoredBytes + 32_768)
  const text = { train: tokensInMemory('test.txt', await set.read('test.txt.gz'), 256), heldOut: tuning }

  // The model, and its training: the same batches for every method of a seed.
  const model = models[method]().initialize({ seed, backend }) as LanguageModel
  const windows = { length: sizes.length, batch: 8, seed }
  const curve = await train(new LanguageModeling(model, text, windows), {
    steps: sizes.steps,
    schedule: 'cosine',
    learningRate: settings.learningRate,
    warmup: Math.floor(sizes.steps / 15),
    finalRate: 0.01,
    betas: [0.9, 0.95],
    weightDecay: 0.1,
    clipNorm: 1,
    evaluateEvery: Math.floor(sizes.steps / 5),
    seed,
  })

  // The measurements: bits per byte of each window of the scored text.
  progress('scoring', 0.97)
  const bits = await windowBits(model, scored, windows)
  const checks = curve.evaluations.map(({ step, measurements }) => [step, measurements['bits per token']] as const)
  const measured = {
    numbers: {
      parameters: model.parameterCount(),
      'bits per byte': bits.reduce((sum, value) => sum + value, 0) / bits.length,
      'tuning bits per byte': checks[checks.length - 1][1],
    },
    items: { bits },
    series: { bits: checks },
  }
  model.dispose()
  return measured
}

const bitsPerByte = { metric: 'bits', better: 'lower', unit: 'bits per byte', digits: 4 } as const

export const textPart: Part = {
  name: 'text',
  title: 'Bytes of real text',
  version: 1,
  data: ['text-wikitext2'],
  sizes: {
    quick: { length: 64, steps: 10, scoredBytes: 2048 },
    default: { length: 256, steps: 1500, scoredBytes: 65_536 },
    full: { length: 256, steps: 1500, scoredBytes: 65_536 },
    sweep: { length: 256, steps: 200, scoredBytes: 65_536 },
  },
  methods: {
    mamba: { label: 'Mamba', tuned: { learningRate: 6e-3 }, grid: learningRates, seconds: 135 },
    transformer: { label: 'Transformer', tuned: { learningRate: 6e-3 }, grid: learningRates, seconds: 100 },
    lti: { label: 'time-invariant block', tuned: { learningRate: 6e-3 }, grid: learningRates, seconds: 140 },
    doubled: {
      label: 'Transformer of twice the size',
      tuned: { learningRate: 6e-3 },
      grid: [],
      seconds: 260,
      only: ['full'],
      seeds: 1,
    },
  },
  standIns: { mamba: 'lti' },
  tuneBy: { number: 'tuning bits per byte', better: 'lower' },
  criteria: [
    {
      name: 'transformer',
      statement: 'Mamba over the Transformer of its size',
      method: 'mamba',
      minus: 'transformer',
      expected: 0.02,
      failure: 0.05,
      ...bitsPerByte,
    },
    {
      name: 'lti',
      statement: 'Mamba over the time-invariant block',
      method: 'mamba',
      minus: 'lti',
      expected: 0,
      ...bitsPerByte,
    },
    {
      name: 'doubled',
      statement: 'Mamba over the Transformer of twice its size',
      method: 'mamba',
      minus: 'doubled',
      expected: 0.02,
      decides: false,
      ...bitsPerByte,
    },
  ],
  plots: [
    {
      name: 'bits',
      title: 'Bits per byte of held-out text during training',
      series: 'bits',
      x: { label: 'step' },
      y: { label: 'bits per byte' },
    },
  ],
  measure,
}
