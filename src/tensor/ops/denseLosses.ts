// Losses against targets that are numbers or distributions, one for every element: composed, no kernels of their own.
import { ShapeError } from '../../errors.js'
import { sameShape } from '../shape.js'
import type { Tensor } from '../tensor.js'
import { abs, add, affine, clamp, exp, log, logSigmoid, mul, neg, requireFloat, sub } from './elementwise.js'
import { logSoftmax, mean, sum } from './reduce.js'

export type LossReduction = 'mean' | 'sum' | 'none'

const reduced = (losses: Tensor, reduction: LossReduction): Tensor =>
  reduction === 'none' ? losses : reduction === 'sum' ? sum(losses) : mean(losses)

function check(operation: string, input: Tensor, target: Tensor): void {
  requireFloat(operation, input, target)
  if (!sameShape(input.shape, target.shape))
    throw new ShapeError(operation, [input.shape, target.shape], 'expected a target of the shape of the input')
}

export interface SoftCrossEntropyOptions {
  /** The targets are mixed with the uniform distribution. Default 0. */
  labelSmoothing?: number
  /** A weight for each class (V). */
  classWeights?: Tensor | null
  /** 'mean' is over the rows. Default 'mean'. */
  reduction?: LossReduction
}

/** Cross-entropy of logits (..., V) against probabilities (..., V), in nats. mirrors: torch.nn.functional.cross_entropy */
export function softCrossEntropy(logits: Tensor, targets: Tensor, options: SoftCrossEntropyOptions = {}): Tensor {
  check('softCrossEntropy', logits, targets)
  const { labelSmoothing = 0, classWeights, reduction = 'mean' } = options
  const classes = logits.shape[logits.rank - 1]
  const mixed = labelSmoothing === 0 ? targets : affine(targets, 1 - labelSmoothing, labelSmoothing / classes)
  const weighted = classWeights ? mul(mixed, classWeights) : mixed
  return reduced(neg(sum(mul(logSoftmax(logits), weighted), { axis: -1 })), reduction)
}

export interface BinaryCrossEntropyOptions {
  /** Factor of each element's loss; broadcasts. */
  weight?: Tensor | null
  /** Factor of the positive part of the loss; broadcasts. */
  positiveWeight?: Tensor | null
  /** Default 'mean'. */
  reduction?: LossReduction
}

/** Binary cross-entropy of logits against targets in [0, 1], one shape. mirrors: torch.nn.functional.binary_cross_entropy_with_logits */
export function binaryCrossEntropy(logits: Tensor, targets: Tensor, options: BinaryCrossEntropyOptions = {}): Tensor {
  check('binaryCrossEntropy', logits, targets)
  const { weight, positiveWeight, reduction = 'mean' } = options
  const hit = mul(targets, logSigmoid(logits))
  const missed = mul(affine(targets, -1, 1), logSigmoid(neg(logits)))
  const losses = neg(add(positiveWeight ? mul(hit, positiveWeight) : hit, missed))
  return reduced(weight ? mul(losses, weight) : losses, reduction)
}

/** d^2 / 2 where |d| < delta, else delta (|d| - delta / 2), d = input - target. mirrors: torch.nn.functional.huber_loss */
export function huberLoss(
  input: Tensor,
  target: Tensor,
  options: { delta?: number; reduction?: LossReduction } = {},
): Tensor {
  check('huberLoss', input, target)
  const { delta = 1, reduction = 'mean' } = options
  const distance = abs(sub(input, target))
  const near = clamp(distance, 0, delta)
  return reduced(mul(near, sub(distance, mul(near, 0.5))), reduction)
}

/** d^2 / (2 beta) where |d| < beta, else |d| - beta / 2, d = input - target; beta 0 is the L1 loss. mirrors: torch.nn.functional.smooth_l1_loss */
export function smoothL1Loss(
  input: Tensor,
  target: Tensor,
  options: { beta?: number; reduction?: LossReduction } = {},
): Tensor {
  const { beta = 1, reduction = 'mean' } = options
  check('smoothL1Loss', input, target)
  if (beta === 0) return reduced(abs(sub(input, target)), reduction)
  return mul(huberLoss(input, target, { delta: beta, reduction }), 1 / beta)
}

/**
 * target (log target - input) of log-probabilities `input` against probabilities, or logarithms of such with `logTarget`.
 * 'batchmean' divides the sum by the first extent. mirrors: torch.nn.functional.kl_div
 */
export function klDivergence(
  input: Tensor,
  target: Tensor,
  options: { logTarget?: boolean; reduction?: LossReduction | 'batchmean' } = {},
): Tensor {
  check('klDivergence', input, target)
  const { logTarget = false, reduction = 'batchmean' } = options
  const probability = logTarget ? exp(target) : target
  // The logarithm of 0 would spoil what is 0 in the limit.
  const logarithm = logTarget ? target : log(clamp(target, 1.2e-38, Number.MAX_VALUE))
  const losses = mul(probability, sub(logarithm, input))
  return reduction === 'batchmean' ? mul(sum(losses), 1 / input.shape[0]) : reduced(losses, reduction)
}
