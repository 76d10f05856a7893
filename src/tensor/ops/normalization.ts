// Normalisation by the statistics of channels or groups of channels: batch, instance and group norm of (B, ..., C).
import { launch } from '../../backend/kernels.js'
import type { Operand } from '../../backend/types.js'
import { MambakitError, ShapeError } from '../../errors.js'
import { autocastDtype } from '../autocast.js'
import { differentiable, noGrad } from '../autograd.js'
import { scope } from '../scope.js'
import { elementCount, sameShape } from '../shape.js'
import { empty, type Tensor } from '../tensor.js'
import { requireFloat } from './elementwise.js'
import { dense, operand } from './raw.js'

export interface GroupNormOptions {
  /** (C). */
  weight?: Tensor | null
  /** (C). */
  bias?: Tensor | null
  /** Default 1e-5. */
  eps?: number
}

/** Mean and biased variance, float32. */
export interface Statistics {
  readonly mean: Tensor
  readonly variance: Tensor
}

/** (batch, positions, C) of a dense tensor. */
const asPositions = (input: Tensor, batch: number): Operand => {
  const channels = input.shape[input.rank - 1]
  const positions = input.size / channels / batch
  return operand(input, [batch, positions, channels], [positions * channels, channels, 1])
}

function check(operation: string, input: Tensor, { weight, bias }: GroupNormOptions): void {
  requireFloat(operation, input, weight, bias)
  if (input.rank < 2) throw new ShapeError(operation, [input.shape], 'expected (B, ..., C)')
  if (input.size === 0) throw new ShapeError(operation, [input.shape], 'expected at least one element')
  const channels = input.shape[input.rank - 1]
  for (const parameter of [weight, bias])
    if (parameter && !sameShape(parameter.shape, [channels]))
      throw new ShapeError(operation, [input.shape, parameter.shape], `expected parameters of shape (${channels})`)
}

/** Statistics of each of `batch` parts of the input and each group of its channels: (batch, groups). */
function statisticsOf(input: Tensor, batch: number, groups: number): Statistics {
  const { backend } = input
  const make = () => empty(backend, [batch, groups], 'float32')
  const statistics = { mean: make(), variance: make() }
  launch(backend, 'groupStatistics', { input: asPositions(input, batch), ...statistics }, {})
  return statistics
}

/** (input - mean) / sqrt(variance + eps) * weight + bias; statistics (batch, groups) are constants where `fixed`. */
function normalize(input: Tensor, { mean, variance }: Statistics, options: GroupNormOptions, fixed: boolean): Tensor {
  const { weight, bias, eps = 1e-5 } = options
  const { backend } = input
  const [batch] = mean.shape
  return differentiable({
    name: 'groupNorm',
    inputs: [input, weight, bias],
    forward: () => {
      const out = empty(backend, input.shape, autocastDtype() ?? input.dtype)
      const views = { input: asPositions(dense(input), batch), out: asPositions(out, batch) }
      launch(backend, 'groupNorm', { ...views, mean, variance, weight, bias }, { eps })
      return out
    },
    save: () => [input, mean, variance, weight],
    backward: ([gradOut], [x, savedMean, savedVariance, w]) => {
      const gradIn = empty(backend, x.shape, x.dtype)
      const views = {
        input: asPositions(dense(x), batch),
        gradOut: asPositions(dense(gradOut!), batch),
        gradIn: asPositions(gradIn, batch),
      }
      const gradWeight = weight ? empty(backend, weight.shape, weight.dtype) : null
      const gradBias = bias ? empty(backend, bias.shape, bias.dtype) : null
      const statistics = { mean: savedMean, variance: savedVariance }
      const numbers = { eps, fixed: fixed ? 1 : 0 }
      launch(backend, 'groupNormGrad', { ...views, ...statistics, weight: w, gradWeight, gradBias }, numbers)
      return [gradIn, gradWeight, gradBias]
    },
  })
}

/** Mean and biased variance of each member of (B, ..., C) and each of `groups` groups of channels: (B, groups). Not recorded. */
export function groupStatistics(input: Tensor, groups: number): Statistics {
  check('groupStatistics', input, {})
  const channels = input.shape[input.rank - 1]
  if (!Number.isInteger(channels / groups))
    throw new MambakitError(`groupNorm: expected a number of groups that divides ${channels} channels, got ${groups}`)
  return noGrad(() => scope(() => statisticsOf(dense(input), input.shape[0], groups)))
}

/** Normalises each member of (B, ..., C) by the mean and variance of each of `groups` groups of channels. mirrors: torch.nn.functional.group_norm */
export function groupNorm(input: Tensor, groups: number, options: GroupNormOptions = {}): Tensor {
  check('groupNorm', input, options)
  const statistics = groupStatistics(input, groups)
  const out = normalize(input, statistics, options, false)
  // What a gradient needs of them lives on the tape.
  statistics.mean.dispose()
  statistics.variance.dispose()
  return out
}

/** groupNorm with every channel a group. mirrors: torch.nn.functional.instance_norm */
export const instanceNorm = (input: Tensor, options: GroupNormOptions = {}): Tensor =>
  groupNorm(input, input.shape[input.rank - 1], options)

export interface BatchNormResult {
  readonly out: Tensor
  /** What the input was normalised by, (C) each. */
  readonly statistics: Statistics
}

/**
 * Normalises each channel of (B, ..., C) by its mean and biased variance over everything else, or by given statistics
 * (C), which are constants. mirrors: torch.nn.functional.batch_norm
 */
export function batchNorm(
  input: Tensor,
  options: GroupNormOptions & { statistics?: Statistics | null } = {},
): BatchNormResult {
  check('batchNorm', input, options)
  const channels = input.shape[input.rank - 1]
  const { statistics: given } = options
  for (const value of given ? [given.mean, given.variance] : [])
    if (!sameShape(value.shape, [channels]))
      throw new ShapeError('batchNorm', [input.shape, value.shape], `expected statistics of shape (${channels})`)
  if (given) {
    const row = (value: Tensor) => value.view([1, channels], [0, value.strides[0]])
    const rows = { mean: row(given.mean), variance: row(given.variance) }
    const out = normalize(input, rows, options, true)
    rows.mean.dispose()
    rows.variance.dispose()
    return { out, statistics: given }
  }
  if (elementCount(input.shape) === channels)
    throw new ShapeError('batchNorm', [input.shape], 'expected more than one value a channel to take statistics of')
  const rows = noGrad(() => scope(() => statisticsOf(dense(input), 1, channels)))
  const out = normalize(input, rows, options, false)
  const statistics = { mean: rows.mean.view([channels]), variance: rows.variance.view([channels]) }
  rows.mean.dispose()
  rows.variance.dispose()
  return { out, statistics }
}
