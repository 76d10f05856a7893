// Part 3, beside the claim: dense prediction, where the paper's second hypothesis gives a state-space model a chance, because
// sequences are long there (L > 6 D): the same three networks with the published stem under one head.
import type { Part } from '../../experiments/experiment.js'
import {
  miouPoints,
  pyramidSegmentation,
  pyramidSegmenter,
  trainSegmenter,
} from '../../experiments/segmentation-recipe.js'
import { miniOf, widths } from './experiment-models.js'

const models = {
  mambaout: () => pyramidSegmenter(miniOf(null, 2), widths),
  one: () => pyramidSegmenter(miniOf('rows', 2), widths),
  four: () => pyramidSegmenter(miniOf('cross', 2), widths),
}

const tuned = { learningRate: 1e-3 }

export const segmentationPart: Part = {
  ...pyramidSegmentation,
  version: 1,
  methods: {
    mambaout: { label: 'MambaOut-mini', tuned, grid: [], seconds: 180 },
    one: { label: 'with scans in one direction', tuned, grid: [], seconds: 260 },
    four: { label: 'with scans in four directions', tuned, grid: [], seconds: 350 },
  },
  standIns: { four: 'mambaout', one: 'mambaout' },
  criteria: [
    {
      name: 'four directions',
      statement: 'mIoU with scans in four directions over MambaOut-mini’s',
      method: 'four',
      minus: 'mambaout',
      expected: 0,
      failure: -0.01,
      decides: false,
      ...miouPoints,
    },
    {
      name: 'one direction',
      statement: 'mIoU with scans in one direction over MambaOut-mini’s',
      method: 'one',
      minus: 'mambaout',
      expected: 0,
      failure: -0.01,
      decides: false,
      ...miouPoints,
    },
  ],
  measure: trainSegmenter(models),
}
