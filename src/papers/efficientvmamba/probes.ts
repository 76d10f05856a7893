// EfficientVMamba, its blocks, and its scan path alone, for the recorded cases.
import { inverse, scanPath } from '../../ssm/scan-paths.js'
import { embedding, mul, permute, reshape, slice, type Tensor, tensor } from '../../tensor/index.js'
import {
  channelsFirst,
  channelsLast,
  makeLeaves,
  modulePart,
  type PartProbes,
  type Probe,
  required,
  withGradients,
} from '../probe.js'
import { wholeBackbone, wholeModel } from '../vmamba-probes.js'
import {
  EfficientVMamba,
  EfficientVMambaBackbone,
  type EfficientVMambaConfig,
  EvssBlock,
  efficientVMambaDefaults,
  evenSides,
  InvertedResidual,
  SkipSS2D,
} from './model.js'

const configOf = (config: object) => ({ ...efficientVMambaDefaults, ...config }) as unknown as EfficientVMambaConfig

/** The steps of the scans of a map, and the map of scaled steps: what the path alone does. One image. */
const scanAndMerge: Probe = (given) => {
  makeLeaves(given, ['scale'])
  const map = channelsLast(required(given, 'x'))
  const [, height, width, channels] = map.shape
  const even = evenSides(map)
  const [, h, w] = even.shape
  const path = scanPath('skip', h, w)
  const order = path.directions.flatMap((steps) => [...steps])
  const at = (table: Tensor, rows: ArrayLike<number>) =>
    embedding(table, tensor(Int32Array.from(rows), { backend: map.backend }))
  const visited = reshape(at(reshape(even, [h * w, channels]), order), [1, 4, path.steps, channels])
  const xs = permute(visited, [0, 1, 3, 2])
  const scaled = permute(mul(xs, required(given, 'scale')), [0, 1, 3, 2])
  const merged = at(reshape(scaled, [h * w, channels]), inverse(Int32Array.from(order)))
  const cropped = slice(slice(reshape(merged, [1, h, w, channels]), 1, 0, height), 2, 0, width)
  const output = reshape(channelsFirst(cropped), [1, channels, height * width])
  const outputs = withGradients(given, { xs, output })
  return { ...outputs, 'grad.input': required(given, 'x').grad! }
}

export const probes: PartProbes = {
  'EfficientScan+EfficientMerge': () => ({ answer: scanAndMerge }),
  SS2D: (config) => {
    const { d_model, d_state, ssm_ratio } = config as { d_model: number; d_state: number; ssm_ratio: number }
    return modulePart(new SkipSS2D({ d_model, d_state, ssm_ratio }), 'x', (module, input) => ({
      output: module.forward(input),
    }))
  },
  VSSBlock: (config) =>
    modulePart(new EvssBlock(config.hidden_dim as number, configOf(config)), 'input', (module, input) => ({
      output: module.forward(input),
    })),
  InvertedResidual: (config) =>
    modulePart(new InvertedResidual(config.in_channels as number), 'x', (module, input) => ({
      output: channelsFirst(module.forward(channelsLast(input))),
    })),
  EfficientVSSM: (config) => wholeModel(new EfficientVMamba(configOf(config))),
  Backbone_EfficientVSSM: (config) => wholeBackbone(new EfficientVMambaBackbone(configOf(config))),
}
