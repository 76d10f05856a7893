// The networks that the experiment compares, at the size of CIFAR-10.
import { lbVimMini, plainMini, vimMini, vmambaMini } from '../../experiments/image-minis.js'
import type { ImageClassifier } from '../../models/image-classifier.js'

/** Steps of a window of every locally bidirectional scan; by the rule for 64 tokens it would be 4. */
export const window = 8

/**
 * No width takes the time of Vim-mini's training step: 32 takes 0.75 of it, 36 1.15 and 40 1.1 (medians of ratios in one
 * run, two threads of AVX-512, whose vectors are 16 wide). So LBVim-mini has a width of 40 and trains for 0.9 of the steps.
 */
const lbWidth = 40
export const lbSteps = 0.9

/** Vim, LBVim, and LBVim without the local backward scan. */
export const vims = {
  lb: () => lbVimMini(lbWidth, window),
  vim: () => vimMini(24),
  uni: () => lbVimMini(lbWidth, 0),
} as const satisfies Record<string, () => ImageClassifier>

/** Other backbones, by the window of their scans. */
export const backbones = {
  PlainMamba: (window: number) => plainMini(32, window),
  VMamba: vmambaMini,
} as const satisfies Record<string, (window: number) => ImageClassifier>
