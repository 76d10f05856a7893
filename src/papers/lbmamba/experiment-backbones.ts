// Part 4: the scan with windows in place of the ordinary one in other backbones, nothing else changed. A unit trains both
// backbones, so that a comparison is of their mean.
import type { Measured, Part, UnitContext } from '../../experiments/experiment.js'
import { accuracyPoints, imageSizes, trainOnCifar } from '../../experiments/image-recipe.js'
import { backbones, window } from './experiment-models.js'

async function measure(context: UnitContext): Promise<Measured> {
  const numbers: Record<string, number> = {}
  const correct: number[] = []
  for (const [name, build] of Object.entries(backbones)) {
    const model = build(context.method === 'lb' ? window : 0)
    const measured = await trainOnCifar(context, model, { name })
    model.dispose()
    numbers[`accuracy of ${name}`] = measured.numbers.accuracy
    numbers[`parameters of ${name}`] = measured.numbers.parameters
    correct.push(...measured.items.correct)
  }
  return { numbers, items: { correct }, series: {} }
}

const tuned = { learningRate: 2e-3 }

export const backbonesPart: Part = {
  name: 'backbones',
  title: 'Other backbones on CIFAR-10',
  version: 1,
  only: ['quick', 'full'],
  seeds: 2,
  data: ['cifar10'],
  sizes: imageSizes,
  methods: {
    lb: { label: 'scans with windows', tuned, grid: [], seconds: 280 },
    ordinary: { label: 'ordinary scans', tuned, grid: [], seconds: 275 },
  },
  standIns: { lb: 'ordinary' },
  criteria: [
    {
      name: 'mean',
      statement: 'accuracy over ordinary scans, in the mean of PlainMamba-mini and VMamba-mini',
      method: 'lb',
      minus: 'ordinary',
      expected: 0,
      failure: -0.01,
      ...accuracyPoints,
    },
  ],
  plots: [],
  measure,
}
