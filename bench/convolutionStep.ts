// A training step of a small convolutional network on images of 32 x 32, split by kernel, beside the least time that its
// counted arithmetic takes at the rate of the register tile alone.
import { countCost } from '../src/models/cost.js'
import { Conv2d, LayerNorm, Linear, Module } from '../src/nn/index.js'
import * as T from '../src/tensor/index.js'
import { AdamW } from '../src/train/adamw.js'
import type { Devices } from './devices.js'
import { median } from './measure.js'
import type { Section } from './report.js'

/** x + project(gelu(expand(norm(depth-wise 7x7(x))))): what ConvNeXt and gated convolutions share. */
class DepthwiseBlock extends Module {
  readonly #mix: Conv2d
  readonly #norm: LayerNorm
  readonly #expand: Linear
  readonly #project: Linear
  constructor(channels: number) {
    super()
    this.#mix = this.child('mix', new Conv2d(channels, channels, 7, { padding: 3, groups: channels }))
    this.#norm = this.child('norm', new LayerNorm(channels))
    this.#expand = this.child('expand', new Linear(channels, 4 * channels))
    this.#project = this.child('project', new Linear(4 * channels, channels))
  }
  /** (B, H, W, C) -> (B, H, W, C) */
  forward(x: T.Tensor): T.Tensor {
    const mixed = this.#norm.forward(this.#mix.forward(x))
    return T.add(x, this.#project.forward(T.gelu(this.#expand.forward(mixed))))
  }
}

/** x + 3x3(relu(3x3(x))). */
class DenseBlock extends Module {
  readonly #first: Conv2d
  readonly #second: Conv2d
  constructor(channels: number) {
    super()
    this.#first = this.child('first', new Conv2d(channels, channels, 3, { padding: 1 }))
    this.#second = this.child('second', new Conv2d(channels, channels, 3, { padding: 1 }))
  }
  /** (B, H, W, C) -> (B, H, W, C) */
  forward(x: T.Tensor): T.Tensor {
    return T.add(x, this.#second.forward(T.relu(this.#first.forward(x))))
  }
}

/** A stem, dense blocks at full size, depth-wise blocks at half of it, ten classes. */
class Network extends Module {
  readonly #stem: Conv2d
  readonly #dense: readonly DenseBlock[]
  readonly #down: Conv2d
  readonly #depthwise: readonly DepthwiseBlock[]
  readonly #head: Linear
  constructor(channels: number) {
    super()
    this.#stem = this.child('stem', new Conv2d(3, channels, 3, { padding: 1 }))
    this.#dense = this.childList('dense', [new DenseBlock(channels)])
    this.#down = this.child('down', new Conv2d(channels, 2 * channels, 2, { stride: 2 }))
    this.#depthwise = this.childList(
      'depthwise',
      [0, 1, 2].map(() => new DepthwiseBlock(2 * channels)),
    )
    this.#head = this.child('head', new Linear(2 * channels, 10))
  }
  /** Mean cross-entropy of images (B, H, W, 3) and classes (B). */
  loss(images: T.Tensor, classes: T.Tensor): T.Tensor {
    let x = this.#stem.forward(images)
    for (const block of this.#dense) x = block.forward(x)
    x = this.#down.forward(x)
    for (const block of this.#depthwise) x = block.forward(x)
    return T.crossEntropy(this.#head.forward(T.mean(x, { axis: [1, 2] })), classes)
  }
}

export async function benchConvolutionStep({ one, all }: Devices, quick: boolean): Promise<Section> {
  const [batch, channels, steps] = quick ? [2, 16, 1] : [64, 64, 5]
  const { backend } = all
  const cost = countCost((meta) => {
    const model = new Network(channels).initialize({ backend: meta })
    const images = T.empty(meta, [batch, 32, 32, 3])
    T.backward(model.loss(images, T.empty(meta, [batch], 'int32')))
  })
  const peakWork = quick ? 1e7 : 1e9
  const peak = one.limit('peak', 'benchGemmPeak', peakWork)
  const model = new Network(channels).initialize({ seed: 1, backend })
  try {
    const optimizer = new AdamW(model.namedParameters())
    const [images, classes] = T.outsideScopes(() => [
      T.uniform([batch, 32, 32, 3], -1, 1, { backend }),
      T.randomIntegers([batch], 0, 10, { backend }),
    ])
    const step = async () => {
      const norm = T.scope(() => {
        T.backward(model.loss(images, classes))
        return T.keep(optimizer.step(1e-4))
      })
      model.clearGradients()
      await norm.data()
      norm.dispose()
    }
    await step()
    const peaks: number[] = []
    const taken: number[] = []
    const times = await backend.profile(async () => {
      for (let i = 0; i < steps; i++) {
        peaks.push(await peak.run())
        const start = performance.now()
        await step()
        taken.push((performance.now() - start) / 1000)
      }
    })
    const seconds = median(taken)
    const limit = cost.flops / (peakWork / median(peaks)) / backend.threads
    images.dispose()
    classes.dispose()
    return {
      title: `step of a convolutional network, ${batch} images of 32 x 32`,
      ratios: [
        { name: 'of the limit of its arithmetic', value: limit / seconds, unit: 'percent', goal: 'at least 50 %' },
      ],
      measurements: [
        { name: 'a step', value: 1000 * seconds, unit: 'ms' },
        { name: 'counted arithmetic', value: cost.flops / 1e9, unit: 'GFLOP' },
        { name: 'images', value: batch / seconds, unit: '1/s' },
      ],
      peers: [],
      remarks: [
        '3 x 3 convolutions are counted in full; those that take fewer products may run faster than this limit',
        ...(quick ? ['sizes of --quick say nothing about speed'] : []),
      ],
      kernels: times
        .sort((a, b) => b.seconds - a.seconds)
        .map(({ kernel, seconds: total, calls }) => ({
          kernel,
          callsPerStep: calls / steps,
          millisecondsPerStep: (1000 * total) / steps,
          share: total / steps / seconds,
        })),
    }
  } finally {
    model.dispose()
  }
}
