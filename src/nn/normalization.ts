// Normalisation layers of images: batch, group and instance norm of (B, ..., C) with PyTorch's names and defaults.
import { launch } from '../backend/kernels.js'
import { ShapeError } from '../errors.js'
import {
  add,
  batchNorm,
  cast,
  full,
  groupNorm,
  groupStatistics,
  instanceNorm,
  isRecomputing,
  mean,
  mul,
  noGrad,
  reciprocal,
  type Statistics,
  scope,
  sub,
  type Tensor,
} from '../tensor/index.js'
import { constant } from './initializers.js'
import { Module, type Parameter } from './module.js'

export interface BatchNormOptions {
  /** Default 1e-5. */
  eps?: number
  /** Weight of a new batch in the running statistics; null: the mean of all batches. Default 0.1. */
  momentum?: number | null
  /** Weight and bias. Default true. */
  affine?: boolean
  /** Keep running statistics and use them in evaluation. Default true. */
  trackRunningStats?: boolean
}

/** Weight and bias of each channel, no weight decay; null where not wanted. */
class ChannelAffine extends Module {
  readonly weight: Parameter | null
  readonly bias: Parameter | null
  constructor(channels: number, affine: boolean) {
    super()
    this.weight = affine ? this.parameter('weight', [channels], constant(1), { decay: false }) : null
    this.bias = affine ? this.parameter('bias', [channels], constant(0), { decay: false }) : null
  }
  protected get affine() {
    return { weight: this.weight?.value, bias: this.bias?.value }
  }
}

/** Running statistics of the channels, and how a batch moves them. */
abstract class TrackingNorm extends ChannelAffine {
  readonly runningMean: Parameter | null
  readonly runningVar: Parameter | null
  /** Training batches seen, int32 (int64 in official files). */
  readonly numBatchesTracked: Parameter | null
  readonly eps: number
  readonly momentum: number | null
  constructor(
    readonly channels: number,
    options: Required<Pick<BatchNormOptions, 'affine' | 'trackRunningStats'>> & BatchNormOptions,
  ) {
    super(channels, options.affine)
    this.eps = options.eps ?? 1e-5
    this.momentum = options.momentum === undefined ? 0.1 : options.momentum
    const tracked = options.trackRunningStats
    this.runningMean = tracked ? this.buffer('running_mean', [channels], constant(0)) : null
    this.runningVar = tracked ? this.buffer('running_var', [channels], constant(1)) : null
    this.numBatchesTracked = tracked
      ? this.buffer('num_batches_tracked', [], () => full([], 0, { dtype: 'int32' }), { dtype: 'int32' })
      : null
  }

  /** What evaluation normalises by; null in training, and where nothing is tracked. */
  protected fixedStatistics(): Statistics | null {
    if (this.training || !this.runningMean || !this.runningVar) return null
    return { mean: this.runningMean.value, variance: this.runningVar.value }
  }

  /** Moves the running statistics towards those (C) of `count` values a channel, in training, once a batch. */
  protected track({ mean, variance }: Statistics, count: number): void {
    if (!this.training || isRecomputing()) return
    if (!this.runningMean || !this.runningVar || !this.numBatchesTracked) return
    const seen = this.numBatchesTracked.value
    const more = add(seen, full([], 1, { dtype: 'int32', backend: seen.backend }))
    launch(seen.backend, 'copy', { input: more, out: seen }, {})
    const share = this.momentum ?? reciprocal(cast(seen, 'float32'))
    const unbiased = mul(variance, count / (count - 1))
    for (const [{ value }, target] of [
      [this.runningMean, mean],
      [this.runningVar, unbiased],
    ] as const) {
      const step = cast(mul(sub(target, value), share), value.dtype)
      launch(value.backend, 'axpby', { a: value, b: step, out: value }, { alpha: 1, beta: 1 })
    }
  }
}

/**
 * Batch norm over every axis but the last. In training it normalises by the batch and moves the running statistics (the
 * unbiased variance) towards it; in evaluation it normalises by them. mirrors: torch.nn.modules.batchnorm._BatchNorm
 */
abstract class BatchNorm extends TrackingNorm {
  constructor(channels: number, options: BatchNormOptions = {}) {
    super(channels, { affine: true, trackRunningStats: true, ...options })
  }
  protected abstract readonly ranks: readonly number[]

  /** (B, ..., C) -> (B, ..., C) */
  forward(input: Tensor): Tensor {
    if (!this.ranks.includes(input.rank) || input.shape[input.rank - 1] !== this.channels)
      throw new ShapeError(
        this.constructor.name,
        [input.shape],
        `expected ${this.channels} channels last and ${this.ranks.join(' or ')} axes`,
      )
    const given = this.fixedStatistics()
    const { out, statistics } = batchNorm(input, { ...this.affine, eps: this.eps, statistics: given })
    if (given) return out
    noGrad(() => scope(() => this.track(statistics, input.size / this.channels)))
    statistics.mean.dispose()
    statistics.variance.dispose()
    return out
  }
}

/** Batch norm of (B, C) or (B, L, C). mirrors: torch.nn.BatchNorm1d */
export class BatchNorm1d extends BatchNorm {
  protected readonly ranks = [2, 3]
}
/** Batch norm of (B, H, W, C). mirrors: torch.nn.BatchNorm2d */
export class BatchNorm2d extends BatchNorm {
  protected readonly ranks = [4]
}
/** Batch norm of (B, D, H, W, C). mirrors: torch.nn.BatchNorm3d */
export class BatchNorm3d extends BatchNorm {
  protected readonly ranks = [5]
}

/** Each sample's groups of channels by their own mean and variance. mirrors: torch.nn.GroupNorm */
export class GroupNorm extends ChannelAffine {
  readonly eps: number
  constructor(
    readonly groups: number,
    channels: number,
    options: { eps?: number; affine?: boolean } = {},
  ) {
    super(channels, options.affine ?? true)
    this.eps = options.eps ?? 1e-5
  }
  /** (B, ..., C) -> (B, ..., C) */
  forward(input: Tensor): Tensor {
    return groupNorm(input, this.groups, { ...this.affine, eps: this.eps })
  }
}

/** Each sample's channels by their own mean and variance; where they are tracked, by the running ones in evaluation. mirrors: torch.nn.InstanceNorm1d, 2d, 3d */
export class InstanceNorm extends TrackingNorm {
  /** As BatchNorm, but neither affine nor tracking unless asked. */
  constructor(channels: number, options: BatchNormOptions = {}) {
    super(channels, { affine: false, trackRunningStats: false, ...options })
  }
  /** (B, ..., C) -> (B, ..., C) */
  forward(input: Tensor): Tensor {
    const parameters = { ...this.affine, eps: this.eps }
    const given = this.fixedStatistics()
    if (given) return batchNorm(input, { ...parameters, statistics: given }).out
    if (this.training && this.runningMean)
      noGrad(() =>
        scope(() => {
          const { mean: means, variance } = groupStatistics(input, this.channels)
          const count = input.size / input.shape[0] / this.channels
          this.track({ mean: mean(means, { axis: 0 }), variance: mean(variance, { axis: 0 }) }, count)
        }),
      )
    return instanceNorm(input, parameters)
  }
}
