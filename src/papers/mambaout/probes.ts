// MambaOut and its block, for the recorded cases.

import { GatedCnnBlock, type GatedCnnConfig } from '../../models/gated-cnn.js'
import { channelsLast, modulePart, type PartProbes } from '../probe.js'
import { MambaOut, type MambaOutConfig, mambaOutDefaults } from './model.js'

export const probes: PartProbes = {
  GatedCNNBlock: (config) => {
    const block = new GatedCnnBlock(config.dim as number, config as unknown as GatedCnnConfig)
    return modulePart(block, 'x', (module, input) => ({ output: module.forward(input) }))
  },
  MambaOut: (config) => {
    const model = new MambaOut({ ...mambaOutDefaults, ...(config as unknown as MambaOutConfig) })
    return modulePart(model, 'x', (module, input) => {
      const images = channelsLast(input)
      const stages = module.features(images)
      return {
        output: module.forward(images),
        stem: module.stem(images),
        ...Object.fromEntries(stages.map((map, i) => [`stage${i}`, map])),
        features: module.pool(stages[stages.length - 1]),
      }
    })
  },
}
