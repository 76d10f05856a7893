// The facts of an image model, counted by building it and running it on the meta device. Node only.
import { countCost } from '../models/cost.js'
import type { ImageClassifier } from '../models/image-classifier.js'
import { backward, empty, keep, noGrad, scope, sum } from '../tensor/index.js'
import { imageModelEntry } from './image-model.js'
import { modelNamed } from './train-image-classifier.node.js'

export interface ImageModelFacts {
  readonly model: string
  readonly note: string
  readonly parameters: number
  readonly batch: number
  readonly size: number
  readonly channels: number
  readonly classes: number
  /** Of one forward pass over the batch; a multiply-add is two. */
  readonly flops: number
  /** As the papers count: a multiply-add is one. */
  readonly publishedFlops: number
  readonly stateUpdates: number
  readonly weightBytes: number
  /** Most bytes held at once, weights included; in training with gradients and the optimiser's two moments. */
  readonly inferenceBytes: number
  readonly trainingBytes: number
  /** The same where the backward computes blocks again. */
  readonly recomputedBytes: number
}

/** Facts of a model of the catalogue, a config.json or a trained model. Throws where it does not take images of this size. */
export async function describeImageModel(
  name: string,
  options: { batch?: number; inputSize?: number; classes?: number } = {},
): Promise<ImageModelFacts> {
  const { model, settings, labels, preprocessing } = await modelNamed(name)
  const entry = await imageModelEntry(model)
  const channels = preprocessing?.channels ?? entry.shape.channels
  const size = options.inputSize ?? preprocessing?.size ?? entry.shape.size
  const classes = options.classes ?? labels?.length ?? entry.shape.classes
  const { batch = 1 } = options
  const build = () => entry.build({ classes, channels: channels === 1 ? 1 : 3, size }, settings)
  const shape = [batch, size, size, channels]
  const parameters = (await build()).parameterCount()
  const forInference = await build()
  const inference = countCost((backend) => {
    forInference.initialize({ backend }).eval()
    noGrad(() =>
      scope(() => {
        forInference.forward(empty(backend, shape))
      }),
    )
  })
  const training = async (recompute: boolean) => {
    const trained: ImageClassifier = await build()
    trained.recompute = recompute
    const { peakBytes } = countCost((backend) => {
      trained.initialize({ backend })
      scope(() => {
        backward(sum(trained.forward(keep(empty(backend, shape)))))
      })
    })
    return peakBytes + 8 * parameters
  }
  return {
    model,
    note: entry.note,
    parameters,
    batch,
    size,
    channels,
    classes,
    flops: inference.flops,
    publishedFlops: inference.publishedFlops,
    stateUpdates: inference.stateUpdates,
    weightBytes: 4 * parameters,
    inferenceBytes: inference.peakBytes,
    trainingBytes: await training(false),
    recomputedBytes: await training(true),
  }
}
