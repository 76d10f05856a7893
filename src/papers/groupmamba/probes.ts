// GroupMamba and its parts, for the recorded cases; tokens are recorded as (B, L, C).
import { reshape, type Tensor } from '../../tensor/index.js'
import { channelsLast, modulePart, type PartProbes } from '../probe.js'
import {
  GroupMamba,
  type GroupMambaConfig,
  GroupScan,
  groupMambaDefaults,
  groupPatterns,
  ModulatedGroupMamba,
  scanGroups,
} from './model.js'

const tokens = (map: Tensor) => reshape(map, [map.shape[0], map.shape[1] * map.shape[2], map.shape[3]])

export const probes: PartProbes = {
  SS2D: ({ d_model, d_state, direction }) => {
    const pattern = groupPatterns[(direction as number) - 1]
    const module = new GroupScan(d_model as number, d_state as number, pattern)
    return modulePart(module, 'x', (scan, input) => ({ output: scanGroups([scan], pattern, input) }))
  },
  GroupMambaLayer: ({ input_dim }) =>
    modulePart(new ModulatedGroupMamba(input_dim as number), 'x', (layer, input, { H, W }) => {
      const [batch, , channels] = input.shape
      const [height, width] = [H[0], W[0]]
      return { output: tokens(layer.forward(reshape(input, [batch, height, width, channels]))) }
    }),
  GroupMamba: (config) => {
    const model = new GroupMamba({ ...groupMambaDefaults, ...(config as unknown as GroupMambaConfig) })
    return modulePart(model, 'x', (module, input) => {
      const images = channelsLast(input)
      const [head, distilled] = module.bothLogits(images)
      return {
        output: module.forward(images),
        ...Object.fromEntries(module.stages(images).map((map, i) => [`block${i + 1}`, tokens(map)])),
        head,
        dist_head: distilled,
      }
    })
  },
}
