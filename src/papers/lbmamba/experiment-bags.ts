// Part 5: bags of digits, positive where a 9 is among them (a stand-in for slides with few diseased patches): MambaMIL
// with windows, beside itself with the ordinary scan.
import { Draws } from '../../data/draws.js'
import { type ImageSet, readImage } from '../../data/images/image-set.js'
import { openImageDataSet } from '../../data/images/registered.js'
import type { Measured, Part, UnitContext } from '../../experiments/experiment.js'
import { accuracyPoints } from '../../experiments/image-recipe.js'
import { aucItems, type Bag, BagClassification, measureBags } from '../../tasks/bag-classification.js'
import { MambaMil, mambaMilDefaults } from './mil.js'

/** What makes a bag positive. */
const wanted = 9
/** Of the number of digits in a bag. */
const [meanCount, deviation, leastCount] = [40, 8, 10]
const mostWanted = 4

/**
 * Bags of grey images, each as a row of its pixels from 0 to 1: every other one is positive, with 1 to 4 of the wanted
 * digit in random places. They follow from (stream, number) alone.
 */
export function digitBags({ images, labels, items }: ImageSet, count: number, stream: number): Promise<Bag[]> {
  const [others, found] = [false, true].map((is) => items.filter((item) => (labels[item] === wanted) === is))
  const bag = async (number: number): Promise<Bag> => {
    const draws = new Draws(stream, number)
    const digits = Math.max(leastCount, Math.round(draws.normal(meanCount, deviation)))
    const chosen = Array.from({ length: digits }, () => others[draws.integer(others.length)])
    const label = number % 2
    const replaced = label * (1 + draws.integer(mostWanted))
    const places = new Set<number>()
    while (places.size < replaced) places.add(draws.integer(digits))
    for (const place of places) chosen[place] = found[draws.integer(found.length)]
    const rows = await Promise.all(chosen.map((item) => readImage(images, item, 1)))
    const features = rows[0].data.length
    return {
      instances: Float32Array.from(
        rows.flatMap(({ data }) => [...data]),
        (value) => value / 255,
      ),
      features,
      label,
    }
  }
  return Promise.all(Array.from({ length: count }, (_, number) => bag(number)))
}

async function measure(context: UnitContext): Promise<Measured> {
  const { method, sizes, settings, seed, backend, data, train, progress } = context
  // The data: the same bags for every seed.
  const digits = await openImageDataSet('mnist', await data('mnist'))
  const bags = {
    train: await digitBags(digits.train, sizes.trainBags, 0),
    heldOut: await digitBags(digits.heldOut, sizes.testBags, 1),
  }

  // The model and its training, a bag a step.
  const model = new MambaMil({
    ...mambaMilDefaults,
    in_dim: bags.train[0].features,
    n_classes: 2,
    d_model: 64,
    attention_hidden: 32,
    window: method === 'lb' ? 'by length' : 0,
  }).initialize({ seed, backend })
  const curve = await train(new BagClassification(model, bags, { seed }), {
    steps: sizes.epochs * sizes.trainBags,
    schedule: 'constant',
    learningRate: settings.learningRate,
    weightDecay: 1e-4,
    clipNorm: 0,
    evaluateEvery: sizes.trainBags,
    seed,
  })

  // The measurements.
  progress('testing', 0.97)
  const report = await measureBags(model, bags.heldOut)
  const measured = {
    numbers: { parameters: model.parameterCount(), AUC: report.auc, F1: report.f1, accuracy: report.accuracy },
    items: { auc: aucItems(report), correct: report.correct },
    series: { auc: curve.evaluations.map(({ step, measurements }) => [step, measurements.auc] as const) },
  }
  model.dispose()
  return measured
}

const beside = { method: 'lb', minus: 'ordinary', ...accuracyPoints } as const
const tuned = { learningRate: 2e-4 }

export const bagsPart: Part = {
  name: 'bags',
  title: 'Bags of digits',
  version: 1,
  only: ['quick', 'full'],
  seeds: 3,
  data: ['mnist'],
  sizes: {
    quick: { trainBags: 8, testBags: 8, epochs: 1 },
    default: { trainBags: 400, testBags: 200, epochs: 8 },
    full: { trainBags: 400, testBags: 200, epochs: 8 },
  },
  methods: {
    lb: { label: 'MambaMIL with windows', tuned, grid: [], seconds: 42 },
    ordinary: { label: 'MambaMIL', tuned, grid: [], seconds: 40 },
  },
  standIns: { lb: 'ordinary' },
  criteria: [
    {
      name: 'auc',
      statement: 'area under the ROC curve over that of the ordinary scan',
      expected: -0.02,
      ...beside,
      metric: 'auc',
    },
    {
      name: 'f1',
      statement: 'F1 at a probability of 0.5 over that of the ordinary scan',
      expected: -0.02,
      decides: false,
      ...beside,
      metric: 'F1',
    },
    {
      name: 'accuracy',
      statement: 'accuracy over that of the ordinary scan',
      expected: -0.02,
      decides: false,
      ...beside,
    },
  ],
  plots: [
    {
      name: 'auc',
      title: 'Area under the ROC curve of test bags during training',
      series: 'auc',
      x: { label: 'step' },
      y: { label: 'AUC' },
      marks: [{ y: 0.5, label: 'chance' }],
    },
  ],
  measure,
}
