// The claims of MambaOut (arXiv 2405.07992) at the scale of two processor cores: to classify images the state-space model
// is not needed (the same network without it is as accurate, and faster); where a task is long and autoregressive it helps.
import type { Experiment } from '../../experiments/experiment.js'
import { segmentationNote } from '../../experiments/segmentation-recipe.js'
import { classificationPart, speedPart } from './experiment-images.js'
import { segmentationPart } from './experiment-segmentation.js'
import { textPart } from './experiment-text.js'

export const experiment: Experiment = {
  slug: 'mambaout',
  claim:
    'To classify images a network needs no state-space model: gated convolutions alone are as accurate as the same network with a selective scan behind every convolution, and train faster; on a long autoregressive task the scan helps.',
  headline: 'classification/four directions',
  notes: [
    'CIFAR-10 at 32 x 32 in place of ImageNet: 10,000 training and 2,000 test images (JPEG), 1,500 steps of 64, networks of 184 to 204 thousand parameters. The networks with scans have 3 and 10 % more parameters, in their favour.',
    'The second hypothesis is tested by two proxies: characters of Shakespeare at context 512, and (`--full`) segmentation of aerial images, in place of COCO and ADE20K.',
    segmentationNote,
    'The gap between scans in four directions and none is to be read beside the same gap of the classification part: the hypothesis is that it is larger here and not negative. It does not touch the verdict.',
  ],
  parts: [classificationPart, speedPart, textPart, segmentationPart],
}
