// GroupMamba: Parameter-Efficient and Accurate Group Visual State Space Model (arXiv 2407.13772)
import { type ImageModelEntry, withSettings } from '../../models/image-catalogue.js'
import { GroupMamba, groupMambaDefaults } from './model.js'

export { GroupMamba, type GroupMambaConfig, groupMambaDefaults, ModulatedGroupMamba } from './model.js'

const published = (
  stem_hidden_dim: number,
  embed_dims: readonly number[],
  mlp_ratios: readonly number[],
  depths: readonly number[],
  parameters: number,
  gflops: number,
): ImageModelEntry => ({
  build: async ({ classes, channels }, settings) => {
    const size = { ...groupMambaDefaults, stem_hidden_dim, embed_dims, mlp_ratios, depths }
    return new GroupMamba({ ...withSettings('groupmamba', size, settings), in_chans: channels, num_classes: classes })
  },
  shape: { classes: 1000, channels: 3, size: 224 },
  parameters,
  flops: gflops * 1e9,
  note: 'Amshaker/GroupMamba, arXiv 2407.13772; both heads',
})

export const imageModels: Readonly<Record<string, ImageModelEntry>> = {
  'groupmamba-tiny': published(32, [64, 128, 348, 448], [8, 8, 4, 4], [3, 4, 9, 3], 23_361_917, 4.67),
  'groupmamba-small': published(64, [64, 128, 348, 512], [8, 8, 4, 4], [3, 4, 16, 3], 34_781_555, 7.23),
  'groupmamba-base': published(64, [96, 192, 424, 512], [8, 8, 4, 4], [3, 6, 21, 3], 57_150_838, 14.1),
}
