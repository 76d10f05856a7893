// The networks that the experiment compares, at the size of CIFAR-10.
import { type BlockType, EfficientVMamba, EvssBlock, efficientVMambaDefaults } from './model.js'

/** Three stages on grids of 16, 8 and 4. */
const config = {
  ...efficientVMambaDefaults,
  in_chans: 3,
  num_classes: 10,
  dims: 16,
  depths: [2, 2, 2],
  stage_types: ['scan', 'scan', 'inverted-residual'] as readonly BlockType[],
  ssm_d_state: 4,
  patch_size: 2,
  drop_path_rate: 0,
}

export const efficientMini = (): EfficientVMamba => new EfficientVMamba(config)
/** Scans of every position. */
export const denseMini = (): EfficientVMamba =>
  new EfficientVMamba(config, (width, rate) => new EvssBlock(width, config, rate, { skip: false }))
/** Without the convolution branch. */
export const scanOnlyMini = (): EfficientVMamba =>
  new EfficientVMamba(config, (width, rate) => new EvssBlock(width, config, rate, { convolve: false }))
/** Convolutions in the early stages, scans in the last. */
export const reversedMini = (): EfficientVMamba =>
  new EfficientVMamba({ ...config, stage_types: ['inverted-residual', 'inverted-residual', 'scan'] })
