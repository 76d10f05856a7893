// Part 3: dense prediction on 32 x 32 tokens, beside Vim at equal parameters: layers 2 and 4 side by side under one linear
// head. Both networks give the sums after a layer, each of which goes through one norm before it.
import type { Part } from '../../experiments/experiment.js'
import { plainMini, vimMini } from '../../experiments/image-minis.js'
import { miouPoints, plainSegmentation, plainSegmenter, trainSegmenter } from '../../experiments/segmentation-recipe.js'

const out_indices = [1, 3]
const [plainWidth, vimWidth] = [48, 56]

const models = {
  // The backbone has the norms of its layers.
  plain: (crop: number) =>
    plainSegmenter(plainMini(crop, 0, { out_indices }), [plainWidth, plainWidth], { norms: false }),
  vim: (crop: number) => {
    const backbone = vimMini(vimWidth, crop, { out_indices })
    return plainSegmenter(backbone, [vimWidth, vimWidth], { maps: (images) => backbone.sums(images) })
  },
}

const tuned = { learningRate: 1e-3 }

export const segmentationPart: Part = {
  ...plainSegmentation,
  version: 1,
  methods: {
    plain: { label: 'PlainMamba-mini', tuned, grid: [], seconds: 480 },
    vim: { label: 'Vim-mini', tuned, grid: [], seconds: 260 },
  },
  standIns: { plain: 'vim' },
  criteria: [
    {
      name: 'vim',
      statement: 'mIoU over Vim-mini of equal parameters',
      method: 'plain',
      minus: 'vim',
      expected: -0.02,
      ...miouPoints,
    },
  ],
  measure: trainSegmenter(models),
}
