// Small parts that image backbones share, all on (B, H, W, C).
import { MambakitError, ShapeError } from '../errors.js'
import {
  add,
  affine,
  div,
  embedding,
  gelu,
  mean,
  mul,
  permute,
  relu,
  reshape,
  sigmoid,
  silu,
  sqrt,
  square,
  sum,
  type Tensor,
  tensor,
} from '../tensor/index.js'
import { Conv2d } from './convolution.js'
import { constant, imageNormal, normalWith } from './initializers.js'
import { Linear } from './layers.js'
import { type Initializer, Module, type Parameter } from './module.js'

/** A linear map as image models begin with it. */
export const imageLinear = (from: number, to: number, bias = true): Linear =>
  new Linear(from, to, { bias, weightInitializer: imageNormal, biasInitializer: constant(0) })

const activations = { relu, gelu, silu } as const

export interface SqueezeExcitationOptions {
  /** Between the two maps. Default 'relu'. */
  activation?: keyof typeof activations
  /** Names of the two 1 x 1 convolutions. Default timm's. */
  names?: readonly [reduce: string, expand: string]
}

/** x sigmoid(W2 act(W1 mean(x))), the mean over H and W. mirrors: SqueezeExcite of timm */
export class SqueezeExcitation extends Module {
  readonly reduce: Conv2d
  readonly expand: Conv2d
  readonly #activation: keyof typeof activations
  constructor(channels: number, reduced: number, options: SqueezeExcitationOptions = {}) {
    super()
    const [reduce, expand] = options.names ?? ['conv_reduce', 'conv_expand']
    this.reduce = this.child(reduce, new Conv2d(channels, reduced, 1))
    this.expand = this.child(expand, new Conv2d(reduced, channels, 1))
    this.#activation = options.activation ?? 'relu'
  }
  /** (B, H, W, C) -> (B, H, W, C) */
  forward(input: Tensor): Tensor {
    const squeezed = activations[this.#activation](this.reduce.forward(mean(input, { axis: [1, 2], keepDims: true })))
    return mul(input, sigmoid(this.expand.forward(squeezed)))
  }
}

/** x + gamma x n + beta, n = |x| / mean over C of |x|, |x| the L2 norm over H and W. mirrors: GRN of ConvNeXt V2 */
export class GlobalResponseNorm extends Module {
  readonly gamma: Parameter
  readonly beta: Parameter
  constructor(channels: number) {
    super()
    this.gamma = this.parameter('gamma', [1, 1, 1, channels], constant(0), { decay: false })
    this.beta = this.parameter('beta', [1, 1, 1, channels], constant(0), { decay: false })
  }
  /** (B, H, W, C) -> (B, H, W, C) */
  forward(input: Tensor): Tensor {
    const norm = sqrt(sum(square(input), { axis: [1, 2], keepDims: true }))
    const relative = div(norm, affine(mean(norm, { axis: -1, keepDims: true }), 1, 1e-6))
    return add(input, add(mul(this.gamma.value, mul(input, relative)), this.beta.value))
  }
}

/** x gamma, gamma (C) starting small. mirrors: LayerScale of timm */
export class LayerScale extends Module {
  readonly gamma: Parameter
  constructor(channels: number, initial = 1e-5) {
    super()
    this.gamma = this.parameter('gamma', [channels], constant(initial), { decay: false })
  }
  /** (..., C) -> (..., C) */
  forward(input: Tensor): Tensor {
    return mul(input, this.gamma.value)
  }
}

/** Rows of a table of (2 h - 1)(2 w - 1) offsets for every pair of the h w positions of a window: (h w, h w). */
export function relativePositionIndex(height: number, width: number): Int32Array {
  const count = height * width
  return Int32Array.from({ length: count * count }, (_, at) => {
    const [i, j] = [Math.floor(at / count), at % count]
    const rows = Math.floor(i / width) - Math.floor(j / width) + height - 1
    return rows * (2 * width - 1) + (i % width) - (j % width) + width - 1
  })
}

/** A bias for every head and every pair of positions of a window, by their offset. mirrors: WindowAttention of Swin */
export class RelativePositionBias2d extends Module {
  readonly table: Parameter
  readonly index: Parameter
  constructor(
    readonly height: number,
    readonly width: number,
    readonly heads: number,
    initializer: Initializer = normalWith(0.02),
  ) {
    super()
    const offsets = (2 * height - 1) * (2 * width - 1)
    const shape = [height * width, height * width]
    this.table = this.parameter('relative_position_bias_table', [offsets, heads], initializer, { decay: false })
    const index: Initializer = () => tensor(relativePositionIndex(height, width), { shape })
    this.index = this.buffer('relative_position_index', shape, index, { dtype: 'int32' })
  }
  /** (heads, h w, h w), to be added to the scores of attention. */
  forward(): Tensor {
    return permute(embedding(this.table.value, this.index.value), [2, 0, 1])
  }
}

/** (B, H, W, C) -> (B H/h W/w, h, w, C), windows row by row. Throws where windows do not fill the image. */
export function windowPartition(input: Tensor, size: readonly [height: number, width: number]): Tensor {
  const [h, w] = size
  const [batch, height, width, channels] = input.shape
  if (input.rank !== 4) throw new ShapeError('windowPartition', [input.shape], 'expected (B, H, W, C)')
  if (height % h || width % w)
    throw new MambakitError(`windowPartition: expected H and W divisible by ${h} and ${w}, got ${height} and ${width}`)
  const windows = reshape(input, [batch, height / h, h, width / w, w, channels])
  return reshape(permute(windows, [0, 1, 3, 2, 4, 5]), [-1, h, w, channels])
}

/** The image (B, H, W, C) of which windowPartition made these windows (B H/h W/w, h, w, C). */
export function windowReverse(windows: Tensor, [height, width]: readonly [height: number, width: number]): Tensor {
  const [count, h, w, channels] = windows.shape
  const batch = count / ((height / h) * (width / w))
  if (windows.rank !== 4 || !Number.isInteger(batch) || height % h || width % w)
    throw new ShapeError('windowReverse', [windows.shape], `expected windows that fill (${height}, ${width})`)
  const cells = reshape(windows, [batch, height / h, width / w, h, w, channels])
  return reshape(permute(cells, [0, 1, 3, 2, 4, 5]), [batch, height, width, channels])
}
