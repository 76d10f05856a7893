// LBMamba: Locally Bi-directional Mamba (arXiv 2506.15976). Vim, which it starts from, is src/models/vim.ts, its scan the
// `window` of selectiveScan.
import type { ImageModelEntry } from '../../models/image-catalogue.js'
import { buildVim, lbVimDefaults } from '../../models/vim.js'

export { lbVimDefaults, type VimConfig, VisionMamba, vimDefaults } from '../../models/vim.js'
export { VimMixer, type VimMixerConfig } from '../../ssm/vim-mixer.js'
export { MambaMil, type MambaMilConfig, mambaMilDefaults } from './mil.js'

const lbVim = (
  settings: Partial<typeof lbVimDefaults>,
  shape: ImageModelEntry['shape'],
  parameters: number,
  gflops: number,
  note = 'cvlab-stonybrook/LBMamba, arXiv 2506.15976; the backward part of the scan is not counted',
): ImageModelEntry => ({
  build: async (given, chosen) => buildVim({ ...lbVimDefaults, ...settings }, given, chosen),
  shape,
  parameters,
  flops: gflops * 1e9,
  note,
})
const imageNet = { classes: 1000, channels: 3, size: 224 }
const rate = { drop_path_rate: 0.05 }

export const imageModels: Readonly<Record<string, ImageModelEntry>> = {
  'lbvim-ti': lbVim({ ...rate }, imageNet, 6_419_560, 1.44),
  'lbvim-300': lbVim({ ...rate, embed_dim: 300 }, imageNet, 14_897_200, 3.2),
  'lbvim-s': lbVim({ ...rate, embed_dim: 384 }, imageNet, 23_897_320, 5.05),
  'lbvim-528': lbVim({ ...rate, embed_dim: 528, head_type: 'attention' }, imageNet, 44_823_448, 9.18),
  'lbvim-mini': lbVim(
    { patch_size: 4, stride: 4, depth: 4, d_state: 4, embed_dim: 36, window: 8 },
    { classes: 10, channels: 3, size: 32 },
    42_922,
    0.0031,
    'LBVim with patches of 4, 4 layers and windows of 8: the model of small-scale experiments',
  ),
}
