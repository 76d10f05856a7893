// PlainMamba: Improving Non-Hierarchical Mamba in Visual Recognition (arXiv 2403.17695)
import { type ImageModelEntry, withSettings } from '../../models/image-catalogue.js'
import { PlainMamba, type PlainMambaConfig, plainMambaDefaults } from '../../models/plainmamba.js'

export {
  PlainMamba,
  PlainMamba2D,
  type PlainMamba2DConfig,
  type PlainMambaConfig,
  plainMambaDefaults,
} from '../../models/plainmamba.js'

type Size = Pick<PlainMambaConfig, 'embed_dims' | 'num_layers' | 'num_convs_patch_embed'> & Partial<PlainMambaConfig>

const build =
  (size: Size): ImageModelEntry['build'] =>
  async (shape, settings) => {
    const preset = { ...plainMambaDefaults, out_indices: [size.num_layers - 1], ...size }
    const { classes: num_classes, channels: in_channels, size: img_size } = shape
    return new PlainMamba({ ...withSettings('plainmamba', preset, settings), num_classes, in_channels, img_size })
  }

const published = (size: Size, parameters: number, gflops: number): ImageModelEntry => ({
  build: build(size),
  shape: { classes: 1000, channels: 3, size: 224 },
  parameters,
  flops: gflops * 1e9,
  note: 'ChenhongyiYang/PlainMamba, arXiv 2403.17695; the repository counts no head',
})

export const imageModels: Readonly<Record<string, ImageModelEntry>> = {
  'plainmamba-l1': published(
    { embed_dims: 192, num_layers: 24, num_convs_patch_embed: 1, layers_with_dwconv: [0], drop_path_rate: 0.2 },
    7_551_656,
    3.01,
  ),
  'plainmamba-l2': published(
    { embed_dims: 384, num_layers: 24, num_convs_patch_embed: 2, drop_path_rate: 0.2 },
    26_145_832,
    8.08,
  ),
  'plainmamba-l3': published(
    { embed_dims: 448, num_layers: 36, num_convs_patch_embed: 2, drop_path_rate: 0.4 },
    50_956_456,
    14.43,
  ),
  'plainmamba-mini': {
    build: build({
      ...{ embed_dims: 48, num_layers: 4, num_convs_patch_embed: 1, d_state: 4 },
      ...{ patch_size: 4, stem_channels: 32 },
    }),
    shape: { classes: 10, channels: 3, size: 32 },
    parameters: 107_498,
    flops: 12.7e6,
    note: 'for 8 x 8 tokens of small images: the model of small-scale experiments',
  },
}
