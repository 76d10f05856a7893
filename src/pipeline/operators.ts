// Single operators under PyTorch's names and layouts, for the recorded operator cases. A table: a line is an operator.
import { MambakitError } from '../errors.js'
import { type CaseInputs, makeLeaves, type Probe, required, withGradients } from '../papers/probe.js'
import * as T from '../tensor/index.js'
import { convolutionOperators } from './operators/convolutions.js'
import { layerOperators } from './operators/layers.js'
import { lossOperators } from './operators/losses.js'
import { normOperators } from './operators/norms.js'
import { type Arguments, type Operator, type OperatorTable, optional } from './operators/operator.js'
import { windowOperators } from './operators/windows.js'

const elementwise =
  (apply: (x: T.Tensor, args: Arguments) => T.Tensor): Operator =>
  (given, args) =>
    apply(required(given, 'input'), args)

function attention(given: CaseInputs, args: Arguments): T.Tensor {
  const [q, k, v] = ['query', 'key', 'value'].map((name) => required(given, name))
  const scale = args.scale as number
  const mask = optional(given, 'attn_mask')
  if (mask) return T.maskedAttention(q, k, v, mask, scale)
  const causal = args.is_causal === true
  if (q.shape[3] !== v.shape[3]) {
    const scores = T.matmul(q, k, { transposeB: true, scale })
    return T.matmul(T.softmax(scores), v)
  }
  const headsThird = (x: T.Tensor) => T.permute(x, [0, 2, 1, 3])
  return headsThird(T.attention(headsThird(q), headsThird(k), headsThird(v), { scale, causal }))
}

function layerNorm(given: CaseInputs, args: Arguments): T.Tensor {
  const input = required(given, 'input')
  const axes = (args.normalized_shape as number[]).length
  const lead = input.shape.slice(0, input.rank - axes)
  const flat = (x: T.Tensor | null) => x && T.reshape(x, [-1])
  const rows = T.reshape(input, [...lead, -1])
  const normalized = T.layerNorm(rows, {
    weight: flat(optional(given, 'weight')),
    bias: flat(optional(given, 'bias')),
    eps: args.eps as number,
  })
  return T.reshape(normalized, input.shape)
}

const operators: OperatorTable = {
  ...convolutionOperators,
  ...layerOperators,
  ...lossOperators,
  ...normOperators,
  ...windowOperators,
  elu: elementwise((x, { alpha }) => T.elu(x, alpha as number)),
  gelu: elementwise((x, { approximate }) => T.gelu(x, approximate as 'none' | 'tanh')),
  hardsigmoid: elementwise(T.hardsigmoid),
  hardswish: elementwise(T.hardswish),
  leaky_relu: elementwise((x, args) => T.leakyRelu(x, args.negative_slope as number)),
  logsigmoid: elementwise(T.logSigmoid),
  mish: elementwise(T.mish),
  relu6: elementwise(T.relu6),
  silu: elementwise(T.silu),
  softplus: elementwise(T.softplus),
  softmax: (given, { dim }) => {
    const input = required(given, 'input')
    return { output: T.softmax(input, dim as number), log_softmax: T.logSoftmax(input, dim as number) }
  },
  layer_norm: layerNorm,
  scaled_dot_product_attention: attention,
}

/** Operators that are built, by PyTorch's names. */
export const operatorNames: readonly string[] = Object.keys(operators)

/** Answers an operator case. Throws a MambakitError that names an operator which is not built yet. */
export const operatorProbe: Probe = (given) => {
  const name = given.config.operator as string
  const operator = operators[name]
  if (!operator) throw new MambakitError(`operator '${name}' is not built yet; these are: ${operatorNames.join(', ')}`)
  makeLeaves(
    given,
    ['weight', 'target'].filter(() => name === 'cross_entropy'),
  )
  const result = operator(given, given.config.arguments as Arguments)
  const outputs = 'storage' in result ? { output: result as T.Tensor } : (result as Record<string, T.Tensor>)
  return withGradients(given, outputs)
}
