// Normalisation by channels and groups under PyTorch's names: with running statistics as modules, without as functions.
import { BatchNorm1d, BatchNorm2d, BatchNorm3d, GroupNorm, InstanceNorm } from '../../nn/index.js'
import { type CaseInputs, required } from '../../papers/probe.js'
import type * as T from '../../tensor/index.js'
import { type Arguments, channelsFirst, channelsLast, moduleOf, type Operator, type OperatorTable } from './operator.js'

const batchNorms = [BatchNorm1d, BatchNorm1d, BatchNorm2d, BatchNorm3d]

/** What a module that keeps running statistics has made of them. */
const running = ({ runningMean, runningVar }: BatchNorm2d | InstanceNorm): Record<string, T.Tensor> =>
  runningMean && runningVar ? { running_mean: runningMean.value, running_var: runningVar.value } : {}

const normOptions = ({ inputs }: CaseInputs, args: Arguments) => ({
  eps: args.eps as number | undefined,
  momentum: args.momentum as number | null | undefined,
  affine: inputs.has('weight'),
  trackRunningStats: inputs.has('running_mean'),
})

function batchNorm(given: CaseInputs, args: Arguments): Record<string, T.Tensor> {
  const input = required(given, 'input')
  const norm = moduleOf(new batchNorms[input.rank - 2](input.shape[1], normOptions(given, args)), given)
  norm.train(args.training as boolean)
  return { output: channelsFirst(norm.forward(channelsLast(input))), ...(args.training ? running(norm) : {}) }
}

/** The module over several batches: input0, input1, ... */
function batchNormModule(given: CaseInputs, args: Arguments): Record<string, T.Tensor> {
  const norm = moduleOf(new BatchNorm1d(args.num_features as number, normOptions(given, args)), given)
  norm.train(args.training as boolean)
  const batches = [...given.inputs].filter(([name]) => /^input\d+$/.test(name))
  const outputs = batches.map(([name, batch]) => [
    name.replace('input', 'output'),
    channelsFirst(norm.forward(channelsLast(batch))),
  ])
  return {
    ...Object.fromEntries(outputs),
    ...running(norm),
    num_batches_tracked: norm.numBatchesTracked!.value,
  }
}

function instanceNorm(given: CaseInputs, args: Arguments): Record<string, T.Tensor> {
  const input = required(given, 'input')
  const norm = moduleOf(new InstanceNorm(input.shape[1], normOptions(given, args)), given)
  norm.train(args.use_input_stats as boolean)
  return { output: channelsFirst(norm.forward(channelsLast(input))), ...running(norm) }
}

const groupNorm: Operator = (given, args) => {
  const input = required(given, 'input')
  const options = { eps: args.eps as number, affine: given.inputs.has('weight') }
  const norm = moduleOf(new GroupNorm(args.num_groups as number, input.shape[1], options), given)
  return channelsFirst(norm.forward(channelsLast(input)))
}

export const normOperators: OperatorTable = {
  batch_norm: batchNorm,
  BatchNorm1d: batchNormModule,
  instance_norm: instanceNorm,
  group_norm: groupNorm,
}
