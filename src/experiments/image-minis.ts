// Small networks that several experiments compare, for CIFAR-10 or any size in patches of 4.
import { PlainMamba, plainMambaDefaults } from '../models/plainmamba.js'
import { VisionMamba, vimDefaults } from '../models/vim.js'
import { ViT } from '../models/vit.js'

const classes = { num_classes: 10 }

export const plainMini = (img_size = 32): PlainMamba =>
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
  })

export const vimMini = (embed_dim = 56, img_size = 32): VisionMamba =>
  new VisionMamba({
    ...vimDefaults,
    ...classes,
    img_size,
    channels: 3,
    patch_size: 4,
    stride: 4,
    embed_dim,
    depth: 4,
    d_state: 4,
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
