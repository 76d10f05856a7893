// Small networks that several experiments compare, for CIFAR-10 or any size in patches of 4.
import { PlainMamba, type PlainMambaConfig, plainMambaDefaults } from '../models/plainmamba.js'
import { lbVimDefaults, type VimConfig, VisionMamba, vimDefaults } from '../models/vim.js'
import { ViT } from '../models/vit.js'
import { VMamba, vMambaDefaults } from '../models/vmamba.js'

const classes = { num_classes: 10 }

/** With a `window`, by LBMamba's scan; `changes` are for ablations and dense tasks. */
export const plainMini = (img_size = 32, window = 0, changes: Partial<PlainMambaConfig> = {}): PlainMamba =>
  new PlainMamba({
    ...plainMambaDefaults,
    ...classes,
    img_size,
    in_channels: 3,
    patch_size: 4,
    stem_channels: 32,
    embed_dims: 48,
    num_layers: 4,
    num_convs_patch_embed: 1,
    d_state: 4,
    out_indices: [3],
    window,
    ...changes,
  })

const vimSizes = { ...classes, channels: 3, patch_size: 4, stride: 4, depth: 4, d_state: 4 }

export const vimMini = (embed_dim = 56, img_size = 32, changes: Partial<VimConfig> = {}): VisionMamba =>
  new VisionMamba({ ...vimDefaults, ...vimSizes, img_size, embed_dim, ...changes })

/** One way in each layer, alternating; locally bidirectional with a `window`. */
export const lbVimMini = (embed_dim: number, window: number): VisionMamba =>
  new VisionMamba({ ...lbVimDefaults, ...vimSizes, img_size: 32, embed_dim, window })

/** Three stages on grids of 16, 8 and 4; with a `window`, by LBMamba's scan. */
export const vmambaMini = (window = 0): VMamba =>
  new VMamba({
    ...vMambaDefaults,
    ...classes,
    in_chans: 3,
    patch_size: 2,
    dims: 32,
    depths: [1, 2, 1],
    ssm_ratio: 1,
    drop_path_rate: 0,
    window,
  })

/** As many parameters as the others at 8 x 8 tokens. */
export const vitMini = (img_size = 32): ViT =>
  new ViT({
    ...classes,
    img_size,
    in_chans: 3,
    patch_size: 4,
    embed_dim: 44,
    depth: 4,
    num_heads: 4,
    mlp_ratio: 4,
    drop_path_rate: 0,
  })
