// Part 1: classifying small images, beside Vim at equal parameters (and, beside the claim, at equal operations).
import type { Part } from '../../experiments/experiment.js'
import { plainMini, vimMini } from '../../experiments/image-minis.js'
import {
  accuracyPlot,
  accuracyPoints,
  imageGrid,
  imageSizes,
  imageTuneBy,
  trainMethod,
} from '../../experiments/image-recipe.js'

const models = { plain: () => plainMini(), vim: () => vimMini(), wide: () => vimMini(72) }

export const classificationPart: Part = {
  name: 'classification',
  title: 'Images of CIFAR-10',
  version: 1,
  data: ['cifar10'],
  sizes: imageSizes,
  methods: {
    plain: { label: 'PlainMamba-mini', tuned: { learningRate: 2e-3 }, grid: imageGrid, seconds: 120 },
    vim: { label: 'Vim-mini', tuned: { learningRate: 2e-3 }, grid: imageGrid, seconds: 110 },
    wide: {
      label: 'Vim-mini of equal operations',
      tuned: { learningRate: 2e-3 },
      grid: [],
      seconds: 140,
      only: ['quick', 'full'],
    },
  },
  standIns: { plain: 'vim' },
  tuneBy: imageTuneBy,
  criteria: [
    {
      name: 'vim',
      statement: 'accuracy over Vim-mini of equal parameters',
      method: 'plain',
      minus: 'vim',
      expected: 0.03,
      failure: 0.01,
      ...accuracyPoints,
    },
    {
      name: 'operations',
      statement: 'accuracy over Vim-mini of equal operations',
      method: 'plain',
      minus: 'wide',
      expected: 0,
      decides: false,
      ...accuracyPoints,
    },
  ],
  plots: [accuracyPlot],
  measure: trainMethod(models),
}
