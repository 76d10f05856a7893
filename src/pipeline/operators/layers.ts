// Layers with weights over sequences, by PyTorch's class names.
import { GRU, LSTM, MultiheadAttention } from '../../nn/index.js'
import { type CaseInputs, required } from '../../papers/probe.js'
import type * as T from '../../tensor/index.js'
import { type Arguments, moduleOf, type OperatorTable, optional } from './operator.js'

const recurrentArguments = (args: Arguments) =>
  [
    args.input_size as number,
    args.hidden_size as number,
    { layers: args.num_layers as number, bidirectional: args.bidirectional as boolean },
  ] as const

function gru(given: CaseInputs, args: Arguments): Record<string, T.Tensor> {
  const layer = moduleOf(new GRU(...recurrentArguments(args)), given)
  const { out, hidden } = layer.forward(required(given, 'input'), optional(given, 'h0'))
  return { output: out, h_n: hidden }
}

function lstm(given: CaseInputs, args: Arguments): Record<string, T.Tensor> {
  const layer = moduleOf(new LSTM(...recurrentArguments(args)), given)
  const state = { hidden: optional(given, 'h0'), cell: optional(given, 'c0') }
  const { out, hidden, cell } = layer.forward(required(given, 'input'), state)
  return { output: out, h_n: hidden, c_n: cell }
}

function multiheadAttention(given: CaseInputs, args: Arguments): Record<string, T.Tensor> {
  const widths = { keyDim: args.kdim as number, valueDim: args.vdim as number }
  const layer = moduleOf(new MultiheadAttention(args.embed_dim as number, args.num_heads as number, widths), given)
  const [query, key, value] = ['query', 'key', 'value'].map((name) => required(given, name))
  const keyPadding = optional(given, 'key_padding_mask')
  const { out, weights } = layer.forward(query, key, value, { keyPadding, weights: true })
  return { output: out, weights: weights! }
}

export const layerOperators: OperatorTable = { GRU: gru, LSTM: lstm, MultiheadAttention: multiheadAttention }
