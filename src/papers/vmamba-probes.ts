// VMamba, which no paper of the catalogue is but several build on, and its mixer, for the recorded cases.
import type { ImageClassifier } from '../models/image-classifier.js'
import { VMamba, VMambaBackbone, type VMambaConfig, type VssPyramid } from '../models/vmamba.js'
import { SS2D, type SS2DConfig } from '../ssm/ss2d.js'
import type { Tensor } from '../tensor/index.js'
import { channelsFirst, channelsLast, modulePart, type PartProbes, type ProbedPart } from './probe.js'

/** 'stage0', ... of maps, under the cases' layout. */
export const stageOutputs = (maps: readonly Tensor[]): Record<string, Tensor> =>
  Object.fromEntries(maps.map((map, i) => [`stage${i}`, channelsFirst(map)]))

/** A whole classifier: logits, and each stage's map after it is halved. */
export const wholeModel = (model: ImageClassifier): ProbedPart =>
  modulePart(model, 'x', (module, input) => {
    const halved: Tensor[] = []
    const observe = (name: string, map: Tensor) => {
      if (/^layers\.\d+$/.test(name)) halved.push(map)
    }
    const output = module.forward(channelsLast(input), { observe })
    return { output, ...stageOutputs(halved) }
  })

/** A backbone: each stage's map. */
export const wholeBackbone = (model: VssPyramid): ProbedPart =>
  modulePart(model, 'x', (module, input) => stageOutputs(module.features(channelsLast(input))))

export const probes: PartProbes = {
  SS2D: (config) => {
    const asIs = (map: Tensor) => map
    const [enter, leave] = config.channel_first ? [channelsLast, channelsFirst] : [asIs, asIs]
    return modulePart(new SS2D(config as unknown as SS2DConfig), 'x', (module, input) => ({
      output: leave(module.forward(enter(input))),
    }))
  },
  VSSM: (config) => wholeModel(new VMamba(config as unknown as VMambaConfig)),
  Backbone_VSSM: (config) => wholeBackbone(new VMambaBackbone(config as unknown as VMambaConfig)),
}
