// Part 3: dense prediction, scans of quarters beside scans of all channels, with a stem of stride 4 under one head.
import type { Part } from '../../experiments/experiment.js'
import {
  miouPoints,
  pyramidSegmentation,
  pyramidSegmenter,
  trainSegmenter,
} from '../../experiments/segmentation-recipe.js'
import { GroupMambaMini, widths } from './experiment-models.js'

const backbone = (grouped: boolean) => new GroupMambaMini({ widths, grouped, distilled: false, stemStride: 2 })
const models = {
  group: () => pyramidSegmenter(backbone(true), widths),
  ungrouped: () => pyramidSegmenter(backbone(false), widths),
}

const tuned = { learningRate: 1e-3 }

export const segmentationPart: Part = {
  ...pyramidSegmentation,
  version: 1,
  methods: {
    group: { label: 'GroupMamba-mini', tuned, grid: [], seconds: 220 },
    ungrouped: { label: 'all channels in four directions', tuned, grid: [], seconds: 550 },
  },
  standIns: { group: 'ungrouped' },
  criteria: [
    {
      name: 'same widths',
      statement: 'mIoU over the ungrouped network of the same widths',
      method: 'group',
      minus: 'ungrouped',
      expected: -0.02,
      failure: -0.03,
      ...miouPoints,
    },
  ],
  measure: trainSegmenter(models),
}
