// Losses under PyTorch's names.
import { type CaseInputs, required } from '../../papers/probe.js'
import * as T from '../../tensor/index.js'
import { type Arguments, channelsLast, type Operator, type OperatorTable, optional } from './operator.js'

/** Class indices as targets, or probabilities. */
function crossEntropy(given: CaseInputs, args: Arguments): T.Tensor {
  const logits = channelsLast(required(given, 'input'))
  const target = required(given, 'target')
  const options = {
    classWeights: optional(given, 'weight'),
    reduction: args.reduction as T.LossReduction,
    labelSmoothing: (args.label_smoothing as number | undefined) ?? 0,
  }
  if (target.dtype !== 'int32') return T.softCrossEntropy(logits, target, options)
  return T.crossEntropy(logits, target, { ...options, ignoreIndex: (args.ignore_index as number | undefined) ?? -100 })
}

const loss =
  (apply: (input: T.Tensor, target: T.Tensor, args: Arguments, given: CaseInputs) => T.Tensor): Operator =>
  (given, args) =>
    apply(required(given, 'input'), required(given, 'target'), args, given)

const reductionOf = ({ reduction }: Arguments) => reduction as T.LossReduction

export const lossOperators: OperatorTable = {
  cross_entropy: crossEntropy,
  binary_cross_entropy_with_logits: loss((x, target, args, given) =>
    T.binaryCrossEntropy(x, target, {
      weight: optional(given, 'weight'),
      positiveWeight: optional(given, 'pos_weight'),
      reduction: reductionOf(args),
    }),
  ),
  huber_loss: loss((x, target, args) =>
    T.huberLoss(x, target, { delta: args.delta as number, reduction: reductionOf(args) }),
  ),
  smooth_l1_loss: loss((x, target, args) =>
    T.smoothL1Loss(x, target, { beta: args.beta as number, reduction: reductionOf(args) }),
  ),
  kl_div: loss((x, target, args) =>
    T.klDivergence(x, target, {
      logTarget: args.log_target as boolean,
      reduction: args.reduction as T.LossReduction | 'batchmean',
    }),
  ),
}
