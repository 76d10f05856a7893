// The claims of EfficientVMamba (arXiv 2403.09977) at the scale of two processor cores: scans that skip every other position,
// beside convolutions, classify better than Vim at no more operations, and as well as scans of every position at a quarter
// of the scanned tokens.
import type { Experiment } from '../../experiments/experiment.js'
import { classificationPart } from './experiment-classification.js'
import { scanPart } from './experiment-scan.js'

export const experiment: Experiment = {
  slug: 'efficientvmamba',
  claim:
    'Four scans that each visit a quarter of the positions, beside a convolution branch, classify images better than Vim at no more operations, and as well as four scans of every position at a fraction of the scan time.',
  headline: 'classification/vim',
  notes: [
    'CIFAR-10 at 32 x 32 in place of ImageNet: 10,000 training and 2,000 test images (JPEG), 1,500 steps of 64. Compared at equal operations: 4.8 million an image; the network has 153 thousand parameters, Vim-mini 60 thousand (as the published pair differs in parameters, too).',
    'Scans are timed twenty in a row, as a network runs them. One alone, with its start and the waking of threads, takes 0.3 to 0.4 of the time of one of every position.',
    'Detection and segmentation are not part of this experiment.',
  ],
  parts: [classificationPart, scanPart],
}
