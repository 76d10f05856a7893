// The claims of LBMamba (arXiv 2506.15976) at the scale of two processor cores: a scan that also looks back inside short
// windows costs little more than an ordinary one, so that Vim with one such scan a layer, instead of two scans, classifies
// better in the same time; other backbones gain from it, or lose nothing.
import type { Experiment } from '../../experiments/experiment.js'
import { backbonesPart } from './experiment-backbones.js'
import { bagsPart } from './experiment-bags.js'
import { classificationPart } from './experiment-classification.js'
import { kernelPart } from './experiment-kernel.js'
import { speedPart } from './experiment-speed.js'

export const experiment: Experiment = {
  slug: 'lbmamba',
  claim:
    'A scan that is bidirectional inside short windows costs little more than one in a single direction, and Vim with one such scan a layer, from the other end in every other layer, classifies images better than Vim with two scans a layer at the same time of training.',
  headline: 'classification/vim',
  notes: [
    'CIFAR-10 at 32 x 32 in place of ImageNet: 10,000 training and 2,000 test images (JPEG), 1,500 steps of 64, networks of 26 thousand (Vim-mini) and 52 thousand parameters on 8 x 8 tokens. Windows of 8 steps, where the rule of the official kernel would give 4 at this length.',
    'Compared at equal time of training on a processor: width 24 for Vim-mini, 40 for LBVim-mini, whose step takes 1.1 times as long and which therefore trains for 1,350 steps. No width has steps of equal time, since vectors are 16 numbers wide.',
    'Bags of MNIST digits stand in for slides of tissue; there the window follows the length.',
    'Detection and segmentation are not part of this experiment.',
  ],
  parts: [classificationPart, speedPart, kernelPart, backbonesPart, bagsPart],
}
