// The claims of GroupMamba (arXiv 2407.13772) at the scale of two processor cores: a quarter of the channels in each scan
// direction is as accurate as all channels in four, with fewer parameters and in less time; and a teacher helps.
import type { Experiment } from '../../experiments/experiment.js'
import { segmentationNote } from '../../experiments/segmentation-recipe.js'
import { classificationPart, speedPart } from './experiment-images.js'
import { segmentationPart } from './experiment-segmentation.js'

export const experiment: Experiment = {
  slug: 'groupmamba',
  claim:
    'Scanning a quarter of the channels in each of four directions, with a gate that mixes the quarters, is as accurate as scanning all channels in four directions, with fewer parameters and a faster training step; learning from a convolutional teacher by a second head does not hurt.',
  headline: 'classification/same parameters',
  notes: [
    'CIFAR-10 at 32 x 32 in place of ImageNet: 10,000 training and 2,000 test images (JPEG), 1,500 steps of 64, networks of 370 to 420 thousand parameters.',
    'The teacher is a network of gated convolutions of 708 thousand parameters, trained for twice the steps, in place of RegNetY-16GF; only with `--full`, since it takes as long as all else.',
    segmentationNote,
    'Detection and instance segmentation are not part of this experiment.',
  ],
  parts: [classificationPart, speedPart, segmentationPart],
}
