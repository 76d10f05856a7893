// PlainMamba and its mixer, for the recorded cases.

import {
  PlainMamba,
  PlainMamba2D,
  type PlainMamba2DConfig,
  type PlainMambaConfig,
  plainMambaDefaults,
} from '../../models/plainmamba.js'
import { reshape } from '../../tensor/index.js'
import { channelsFirst, channelsLast, modulePart, type PartProbes } from '../probe.js'

/** The official configuration nests the mixer's. */
interface OfficialConfig {
  readonly num_classes: number
  readonly backbone: Omit<PlainMambaConfig, 'num_classes' | 'in_channels'> & {
    readonly layer_cfgs: { readonly mamba_cfg: Partial<PlainMamba2DConfig> }
  }
}

export const probes: PartProbes = {
  PlainMamba2D: (config) => {
    const mixer = new PlainMamba2D({ ...plainMambaDefaults, ...(config as unknown as PlainMamba2DConfig) })
    return modulePart(mixer, 'x', (module, tokens, { hw_shape: [height, width] }) => {
      const [batch, length, channels] = tokens.shape
      const map = module.forward(reshape(tokens, [batch, height, width, channels]))
      return { output: reshape(map, [batch, length, channels]) }
    })
  },
  'ImageClassifier(PlainMamba, CustomAveragePooling, LinearClsHead)': (config) => {
    const { num_classes, backbone } = config as unknown as OfficialConfig
    const whole = { ...plainMambaDefaults, in_channels: 3, ...backbone, ...backbone.layer_cfgs.mamba_cfg, num_classes }
    return modulePart(new PlainMamba(whole), 'x', (module, input) => {
      const images = channelsLast(input)
      const maps = module.features(images).map((map, i) => [`feature${whole.out_indices[i]}`, channelsFirst(map)])
      return { output: module.forward(images), ...Object.fromEntries(maps) }
    })
  },
}
