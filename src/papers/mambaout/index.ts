// MambaOut: Do We Really Need Mamba for Vision? (arXiv 2405.07992)
import { type ImageModelEntry, withSettings } from '../../models/image-catalogue.js'
import { MambaOut, mambaOutDefaults } from './model.js'

export { GatedCnnBlock, type GatedCnnConfig } from '../../models/gated-cnn.js'
export { MambaOut, type MambaOutConfig, mambaOutDefaults } from './model.js'

const published = (
  dims: readonly number[],
  depths: readonly number[],
  dropPathRate: number,
  parameters: number,
  gflops: number,
): ImageModelEntry => ({
  build: async ({ classes, channels }, settings) => {
    const chosen = withSettings(
      'mambaout',
      { ...mambaOutDefaults, dims, depths, drop_path_rate: dropPathRate },
      settings,
    )
    return new MambaOut({ ...chosen, in_chans: channels, num_classes: classes })
  },
  shape: { classes: 1000, channels: 3, size: 224 },
  parameters,
  flops: gflops * 1e9,
  note: 'yuweihao/MambaOut, arXiv 2405.07992',
})

export const imageModels: Readonly<Record<string, ImageModelEntry>> = {
  'mambaout-femto': published([48, 96, 192, 288], [3, 3, 9, 3], 0.025, 7_304_536, 1.15),
  'mambaout-kobe': published([48, 96, 192, 288], [3, 3, 15, 3], 0.025, 9_141_208, 1.51),
  'mambaout-tiny': published([96, 192, 384, 576], [3, 3, 9, 3], 0.2, 26_545_096, 4.47),
  'mambaout-small': published([96, 192, 384, 576], [3, 4, 27, 3], 0.4, 48_488_072, 8.94),
  'mambaout-base': published([128, 256, 512, 768], [3, 4, 27, 3], 0.6, 84_813_092, 15.79),
}
