// The claims of PlainMamba (arXiv 2403.17695) at the scale of two processor cores: continuous paths with direction-aware
// updates classify better than a bidirectional scan of the raster order, and time per token does not grow with the image.
import type { Experiment } from '../../experiments/experiment.js'
import { segmentationNote } from '../../experiments/segmentation-recipe.js'
import { classificationPart } from './experiment-classification.js'
import { resolutionPart } from './experiment-resolution.js'
import { segmentationPart } from './experiment-segmentation.js'

export const experiment: Experiment = {
  slug: 'plainmamba',
  claim:
    'A plain stack of scans along continuous paths, with updates that know the direction of each step, classifies images better than Vim at the same number of parameters, and its time per token does not grow with the resolution, where a ViT’s does.',
  headline: 'classification/vim',
  notes: [
    'CIFAR-10 at 32 x 32 in place of ImageNet: 10,000 training and 2,000 test images (JPEG), 1,500 steps of 64, networks of 107 thousand parameters on 8 x 8 tokens.',
    'At equal parameters PlainMamba-mini takes 1.5 times the operations of Vim-mini; a Vim of equal operations is compared beside it.',
    segmentationNote,
    'Segmentation here is at half size, in crops of 128 x 128 (32 x 32 tokens); Vim-mini gives the sums after its layers as PlainMamba-mini does, where its official code for dense tasks gives the mixers’ outputs alone. The specification names only where the criterion fails, 2 points below Vim-mini, so that is what it asks.',
    'The ablations (`--full`, one seed) are reported beside the claim; differences of a point are noise at this size.',
  ],
  parts: [classificationPart, resolutionPart, segmentationPart],
}
