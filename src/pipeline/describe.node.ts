// The facts of a language model, counted by building it and running it on the meta device.
import { countCost } from '../models/cost.js'
import { MambaLM } from '../models/mamba-lm.js'
import { backward, empty, keep, noGrad, scope } from '../tensor/index.js'
import { languageModelConfig } from './presets.node.js'

export interface LanguageModelFacts {
  readonly model: string
  readonly parameters: number
  /** One forward pass over the input, logits of every position. */
  readonly flops: number
  readonly flopsPerToken: number
  readonly stateUpdates: number
  /** Numbers that a sequence carries from token to token. */
  readonly stateSize: number
  readonly stateBytes: number
  readonly weightBytes: number
  /** Most bytes held at once, weights included, and with gradients and the optimiser's two moments. */
  readonly inferenceBytes: number
  readonly trainingBytes: number
}

export async function describeLanguageModel(
  name: string,
  { batch, length }: { batch: number; length: number },
): Promise<LanguageModelFacts> {
  const config = await languageModelConfig(name)
  const parameters = new MambaLM(config).parameterCount()
  const inference = countCost((backend) => {
    const model = new MambaLM(config).initialize({ backend }).eval()
    noGrad(() =>
      scope(() => {
        model.logits(model.hidden(empty(backend, [batch, length], 'int32')).hidden)
      }),
    )
  })
  const training = countCost((backend) => {
    const model = new MambaLM(config).initialize({ backend })
    scope(() => {
      const ids = keep(empty(backend, [batch, length], 'int32'))
      backward(model.loss(ids, ids))
    })
  })
  const inner = config.expand * config.dModel
  const stateSize = config.nLayer * inner * (config.dConv + config.dState)
  return {
    model: 'MambaLM',
    parameters,
    flops: inference.flops,
    flopsPerToken: inference.flops / (batch * length),
    stateUpdates: inference.stateUpdates,
    stateSize,
    stateBytes: 4 * stateSize,
    weightBytes: 4 * parameters,
    inferenceBytes: inference.peakBytes,
    trainingBytes: training.peakBytes + 8 * parameters,
  }
}
