// EfficientVMamba: Atrous Selective Scan for Light Weight Visual Mamba (arXiv 2403.09977)
import { type ImageModelEntry, withSettings } from '../../models/image-catalogue.js'
import { EfficientVMamba, efficientVMambaDefaults } from './model.js'

export {
  EfficientVMamba,
  EfficientVMambaBackbone,
  type EfficientVMambaConfig,
  EvssBlock,
  efficientVMambaDefaults,
  InvertedResidual,
} from './model.js'

const published = (dims: number, depths: readonly number[], parameters: number, gflops: number): ImageModelEntry => ({
  build: async ({ classes, channels }, settings) => {
    const chosen = withSettings('efficientvmamba', { ...efficientVMambaDefaults, dims, depths }, settings)
    return new EfficientVMamba({ ...chosen, in_chans: channels, num_classes: classes })
  },
  shape: { classes: 1000, channels: 3, size: 224 },
  parameters,
  flops: gflops * 1e9,
  note: 'TerryPei/EfficientVMamba, arXiv 2403.09977',
})

export const imageModels: Readonly<Record<string, ImageModelEntry>> = {
  'efficientvmamba-t': published(48, [2, 2, 4, 2], 6_493_660, 0.79),
  'efficientvmamba-s': published(64, [2, 2, 4, 2], 11_273_688, 1.32),
  'efficientvmamba-b': published(96, [2, 2, 9, 2], 33_717_136, 3.95),
}
