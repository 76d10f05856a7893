// Part 1: classifying small images, beside Vim at equal operations and beside the network whose scans visit every position.
import type { Part } from '../../experiments/experiment.js'
import { vimMini } from '../../experiments/image-minis.js'
import {
  accuracyPlot,
  accuracyPoints,
  imageGrid,
  imageSizes,
  imageTuneBy,
  trainMethod,
} from '../../experiments/image-recipe.js'
import { denseMini, efficientMini, reversedMini, scanOnlyMini } from './experiment-models.js'

const models = {
  efficient: efficientMini,
  vim: () => vimMini(40),
  dense: denseMini,
  reversed: reversedMini,
  'scan only': scanOnlyMini,
}

const tuned = { learningRate: 4e-3 }
const beside = ['quick', 'full'] as const

export const classificationPart: Part = {
  name: 'classification',
  title: 'Images of CIFAR-10',
  version: 1,
  data: ['cifar10'],
  sizes: imageSizes,
  methods: {
    efficient: { label: 'EfficientVMamba-mini', tuned, grid: imageGrid, seconds: 110 },
    vim: { label: 'Vim-mini', tuned: { learningRate: 2e-3 }, grid: imageGrid, seconds: 90 },
    dense: { label: 'scans of every position', tuned, grid: imageGrid, seconds: 140 },
    reversed: { label: 'convolutions first, scans last', tuned, grid: [], seconds: 110, only: beside },
    'scan only': { label: 'without the convolution branch', tuned, grid: [], seconds: 90, only: beside },
  },
  standIns: { efficient: 'vim' },
  tuneBy: imageTuneBy,
  criteria: [
    {
      name: 'vim',
      statement: 'accuracy over Vim-mini of equal operations',
      method: 'efficient',
      minus: 'vim',
      expected: 0.05,
      failure: 0.02,
      ...accuracyPoints,
    },
    {
      name: 'dense',
      statement: 'accuracy over scans of every position',
      method: 'efficient',
      minus: 'dense',
      expected: -0.02,
      ...accuracyPoints,
    },
    {
      name: 'reversed',
      statement: 'accuracy over convolutions first and scans last',
      method: 'efficient',
      minus: 'reversed',
      expected: 0,
      decides: false,
      ...accuracyPoints,
    },
    {
      name: 'branch',
      statement: 'accuracy over the network without the convolution branch',
      method: 'efficient',
      minus: 'scan only',
      expected: 0,
      decides: false,
      ...accuracyPoints,
    },
  ],
  plots: [accuracyPlot],
  measure: trainMethod(models),
}
