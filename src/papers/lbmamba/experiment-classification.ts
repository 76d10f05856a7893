// Part 1: classifying small images, beside Vim at equal time of training, and beside the same network without the local
// backward scan.
import type { Measured, Part, UnitContext } from '../../experiments/experiment.js'
import {
  accuracyPlot,
  accuracyPoints,
  imageGrid,
  imageSizes,
  imageTuneBy,
  trainOnCifar,
} from '../../experiments/image-recipe.js'
import { lbSteps, vims } from './experiment-models.js'

async function measure(context: UnitContext): Promise<Measured> {
  const { method, sizes } = context
  const model = vims[method as keyof typeof vims]()
  const measured = await trainOnCifar(context, model, {
    steps: Math.round((method === 'vim' ? 1 : lbSteps) * sizes.steps),
  })
  model.dispose()
  return measured
}

const tuned = { learningRate: 4e-3 }

export const classificationPart: Part = {
  name: 'classification',
  title: 'Images of CIFAR-10',
  version: 1,
  data: ['cifar10'],
  sizes: imageSizes,
  methods: {
    lb: { label: 'LBVim-mini', tuned, grid: imageGrid, seconds: 60 },
    vim: { label: 'Vim-mini', tuned, grid: imageGrid, seconds: 60 },
    uni: { label: 'LBVim-mini without windows', tuned, grid: imageGrid, seconds: 55 },
  },
  standIns: { lb: 'vim' },
  tuneBy: imageTuneBy,
  criteria: [
    {
      name: 'vim',
      statement: 'accuracy over Vim-mini of equal time',
      method: 'lb',
      minus: 'vim',
      expected: 0.01,
      failure: 0,
      ...accuracyPoints,
    },
    {
      name: 'windows',
      statement: 'accuracy over the network without the local backward scan',
      method: 'lb',
      minus: 'uni',
      expected: -0.01,
      ...accuracyPoints,
    },
  ],
  plots: [accuracyPlot],
  measure,
}
