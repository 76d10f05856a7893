// Part 4: DNA, one token a base, cut into contexts of growing length; longer contexts must not hurt (section 4.3 of the
// paper, with E. coli for the human genome).
import { baseLetters, joinBases, readFasta } from '../../data/fasta.js'
import { tokenRange, tokensInMemory } from '../../data/text.js'
import type { Criterion, Measured, Method, Part, UnitContext } from '../../experiments/experiment.js'
import { LanguageModeling, windowBits } from '../../tasks/language-modeling.js'
import { mambaOf, timeInvariantOf } from './experiment-models.js'

const size = { dModel: 64, nLayer: 2, vocabSize: baseLetters.length }
const testBases = 500_000
/** Bases of a step, and of an item of the test whatever the context. */
const blockBases = 16_384
const contexts = [256, 1024, 4096, 16_384]

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
  // The data: the genome's end to test on; the stretch before it to tune by.
  const fasta = await (await data('dna-ecoli')).read('NC_008253.fna.gz')
  const genome = joinBases(readFasta('NC_008253.fna', fasta))
  const bases = tokensInMemory('NC_008253', genome, size.vocabSize)
  const testStart = genome.length - testBases
  const test = tokenRange(bases, testStart, testStart + sizes.testBlocks * blockBases + 1)
  const text = {
    train: tokenRange(bases, 0, testStart - 2 * blockBases),
    heldOut: tokenRange(bases, testStart - 2 * blockBases, testStart),
  }
  if (method === 'counts') return countModel(genome.subarray(0, testStart), genome.subarray(testStart), sizes)

  // The model, trained at the context at which it is tested.
  const { context } = sizes
  const [kind, length] = [method.split('-')[0], Math.min(context, Number(method.split('-')[1]))]
  const model = (kind === 'mamba' ? mambaOf : timeInvariantOf)(size).initialize({ seed, backend })
  const windows = { length, batch: Math.max(1, sizes.stepBases / length), seed }
  const curve = await train(new LanguageModeling(model, text, windows), {
    steps: sizes.steps,
    schedule: 'cosine',
    learningRate: settings.learningRate,
    warmup: Math.floor(sizes.steps / 10),
    finalRate: 0.01,
    betas: [0.9, 0.95],
    weightDecay: 0.1,
    clipNorm: 1,
    seed,
  })

  // The measurements: bits per base of each block of the test.
  progress('scoring', 0.97)
  const bits = await windowBits(model, test, windows)
  const perBlock = blockBases / length
  const blocks = Array.from({ length: sizes.testBlocks }, (_, i) => mean(bits.slice(i * perBlock, (i + 1) * perBlock)))
  const measured = {
    numbers: {
      parameters: model.parameterCount(),
      'bits per base': mean(blocks),
      'tuning bits per base': curve.evaluations[curve.evaluations.length - 1].measurements['bits per token'],
    },
    items: { bits: blocks },
    series: {},
  }
  model.dispose()
  return measured
}

const order = 6

/** How well counts of what follows each six bases predict, with one added to every count. */
function countModel(train: Uint8Array, test: Uint8Array, { testBlocks }: UnitContext['sizes']): Measured {
  const letters = size.vocabSize
  const counts = new Float64Array(letters ** (order + 1)).fill(1)
  const placeOf = (bases: Uint8Array, at: number) => {
    let place = 0
    for (let i = at - order; i < at; i++) place = place * letters + bases[i]
    return place * letters
  }
  for (let at = order; at < train.length; at++) counts[placeOf(train, at) + train[at]]++
  const blocks = Array.from({ length: testBlocks }, (_, block) => {
    let bits = 0
    const start = Math.max(order, block * blockBases)
    const end = (block + 1) * blockBases
    for (let at = start; at < end; at++) {
      const place = placeOf(test, at)
      // The unknown base does not occur and gets no share.
      const total = counts[place] + counts[place + 1] + counts[place + 2] + counts[place + 3]
      bits -= Math.log2(counts[place + test[at]] / total)
    }
    return bits / (end - start)
  })
  return { numbers: { 'bits per base': mean(blocks) }, items: { bits: blocks }, series: {} }
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

const tuned = { mamba: { learningRate: 3e-3 }, lti: { learningRate: 6e-3 } }
const learningRates = [{ learningRate: 1.5e-3 }, { learningRate: 3e-3 }, { learningRate: 6e-3 }]
const longest = contexts[contexts.length - 1]
/** Compared by criteria, and so trained with every seed. */
const compared = [1024, longest]

/** A method for each context; the rate is tuned at the longest one. */
const methodsOf = (kind: 'mamba' | 'lti', label: string, lengths: readonly number[]): [string, Method][] =>
  lengths.map((length) => [
    `${kind}-${length}`,
    {
      label: `${label}, context ${length}`,
      tuned: tuned[kind],
      grid: length === longest ? learningRates : [],
      seconds: 50,
      ...(!compared.includes(length) && { seeds: 1 }),
    },
  ])

const bitsPerBase = { metric: 'bits', better: 'lower', unit: 'bits per base', digits: 4 } as const
const criteria: Criterion[] = [
  {
    name: 'context',
    statement: 'Mamba at context 16,384 over Mamba at 1,024',
    method: `mamba-${longest}`,
    minus: 'mamba-1024',
    expected: 0.005,
    ...bitsPerBase,
  },
  {
    name: 'lti',
    statement: 'Mamba over the time-invariant block at context 16,384',
    method: `mamba-${longest}`,
    minus: `lti-${longest}`,
    expected: 0,
    ...bitsPerBase,
  },
  {
    name: 'counts',
    statement: 'Mamba at context 16,384 over counts of what follows six bases',
    method: `mamba-${longest}`,
    minus: 'counts',
    expected: 0,
    decides: false,
    ...bitsPerBase,
  },
]

export const dnaPart: Part = {
  name: 'dna',
  title: 'DNA by context',
  version: 1,
  only: ['quick', 'full', 'sweep'],
  data: ['dna-ecoli'],
  sizes: {
    quick: { context: 512, steps: 3, stepBases: 1024, testBlocks: 1 },
    default: { context: longest, steps: 250, stepBases: blockBases, testBlocks: 30 },
    full: { context: longest, steps: 250, stepBases: blockBases, testBlocks: 30 },
    sweep: { context: longest, steps: 125, stepBases: blockBases, testBlocks: 1 },
  },
  methods: {
    ...Object.fromEntries(methodsOf('mamba', 'Mamba', contexts)),
    ...Object.fromEntries(methodsOf('lti', 'time-invariant block', [256, longest])),
    counts: { label: 'counts of order 6', tuned: {}, grid: [], seconds: 2 },
  },
  tuneBy: { number: 'tuning bits per base', better: 'lower' },
  standIns: { [`mamba-${longest}`]: `lti-${longest}` },
  criteria,
  plots: [],
  measure,
}
