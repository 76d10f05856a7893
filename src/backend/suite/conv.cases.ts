// Cases of the causal depth-wise convolution and its gradient: widths, lengths below the width, state, packing, storage.
import type { Dtype } from '../types.js'
import { Draw, type KernelCase, kernelCase, output } from './operands.js'

export interface ConvShape {
  readonly batch: number
  readonly length: number
  readonly channels: number
  readonly width: number
  readonly dtype?: Dtype
  /** Dtype of weight and bias. Default float32. */
  readonly weightDtype?: Dtype
  /** Optional operands that are given. Default bias and initialState. */
  readonly given?: readonly ('bias' | 'initialState' | 'resets')[]
  readonly reverse?: 0 | 1
  readonly pad?: number
  readonly resetRate?: number
}

export function convInputs(draw: Draw, shape: ConvShape) {
  const { batch, length, channels, width, dtype = 'float32', weightDtype = 'float32', pad = 0 } = shape
  const given = shape.given ?? ['bias', 'initialState']
  return {
    input: draw.floats([batch, length, channels], -2, 2, { dtype, pad, offset: pad }),
    weight: draw.floats([channels, 1, width], -1, 1, { dtype: weightDtype }),
    bias: given.includes('bias') ? draw.floats([channels], -1, 1, { dtype: weightDtype }) : null,
    initialState: given.includes('initialState') ? draw.floats([batch, width, channels], -2, 2, { dtype }) : null,
    resets: given.includes('resets') ? draw.flags([batch, length], shape.resetRate ?? 0.2) : null,
  }
}

export function convOutputs({ batch, length, channels, width, dtype = 'float32', pad = 0 }: ConvShape, state = true) {
  return {
    out: output([batch, length, channels], { dtype, pad }),
    finalState: state ? output([batch, width, channels], { dtype }) : null,
  }
}

function gradientOperands(draw: Draw, shape: ConvShape) {
  const { batch, length, channels, width, dtype = 'float32', weightDtype = 'float32', pad = 0 } = shape
  const inputs = convInputs(draw, shape)
  const state = [batch, width, channels]
  return {
    ...inputs,
    gradOut: draw.floats([batch, length, channels], -1, 1, { dtype, pad: pad * 2 }),
    gradFinalState: inputs.initialState && draw.floats(state, -1, 1, { dtype }),
    gradIn: output([batch, length, channels], { dtype, pad }),
    gradWeight: output([channels, 1, width], { dtype: weightDtype }),
    gradBias: inputs.bias && output([channels], { dtype: weightDtype }),
    gradInitialState: inputs.initialState && output(state, { dtype }),
  }
}

const small = { batch: 2, length: 37, channels: 20, width: 4 } as const

const convShapes: readonly (readonly [string, ConvShape])[] = [
  ['usual', small],
  ['one of each', { batch: 1, length: 1, channels: 1, width: 1 }],
  ['bare', { ...small, given: [] }],
  ['bias alone', { ...small, given: ['bias'] }],
  ['state alone', { ...small, given: ['initialState'] }],
  ['resets alone', { ...small, given: ['resets'] }],
  ['everything', { ...small, given: ['bias', 'initialState', 'resets'] }],
  ['a reset at every step', { ...small, given: ['initialState', 'resets'], resetRate: 1 }],
  ...[1, 2, 3, 5, 7].map((width) => [`width ${width}`, { ...small, width }] as const),
  ...[1, 2, 3, 4, 5].map((length) => [`L = ${length}`, { ...small, length }] as const),
  ['L = 2 and resets', { ...small, length: 2, given: ['initialState', 'resets'], resetRate: 0.5 }],
  ...[1, 7, 15, 16, 17, 33, 70].map((channels) => [`D = ${channels}`, { ...small, length: 9, channels }] as const),
  ['long rows', { ...small, length: 300, channels: 65 }],
  ['padded rows', { ...small, pad: 3 }],
  ['float16', { ...small, dtype: 'float16', weightDtype: 'float16' }],
  ['bfloat16', { ...small, dtype: 'bfloat16', weightDtype: 'bfloat16', pad: 1 }],
  ['bfloat16 with float32 weights', { ...small, dtype: 'bfloat16' }],
  ['reverse', { ...small, reverse: 1 }],
  ['reverse, bias alone', { ...small, given: ['bias'], reverse: 1 }],
  ['reverse, width 3, everything', { ...small, width: 3, given: ['bias', 'initialState', 'resets'], reverse: 1 }],
  ['reverse, L = 2', { ...small, length: 2, reverse: 1 }],
  ['reverse, L = 1', { ...small, length: 1, reverse: 1 }],
  ['reverse, padded bfloat16', { ...small, dtype: 'bfloat16', pad: 3, reverse: 1 }],
  ['reverse, long rows', { ...small, length: 300, channels: 64, given: ['bias'], reverse: 1 }],
]

export function* convCases(): Generator<KernelCase> {
  for (const [i, [name, shape]] of convShapes.entries())
    for (const silu of [1, 0]) {
      const numbers = { silu, reverse: shape.reverse ?? 0 }
      const label = `${name}${silu ? '' : ', without silu'}`
      const inputs = convInputs(new Draw(7000 + i), shape)
      yield kernelCase('causalConv1d', label, { ...inputs, ...convOutputs(shape) }, numbers)
      yield kernelCase('causalConv1d', `${label}, out alone`, { ...inputs, ...convOutputs(shape, false) }, numbers)
      yield kernelCase('causalConv1dGrad', label, gradientOperands(new Draw(7000 + i), shape), numbers)
    }
  for (const length of [1, 2, 37]) {
    const shape = { ...small, length }
    const inputs = convInputs(new Draw(7500), shape)
    const operands = { ...inputs, out: convOutputs(shape).out, finalState: inputs.initialState }
    yield kernelCase('causalConv1d', `the state in place, L = ${length}`, operands, { silu: 1, reverse: 0 })
  }
  const inputs = convInputs(new Draw(7501), small)
  const values = inputs.input.memory.values.slice()
  values[205] = Number.NaN
  const input = { ...inputs.input, memory: { ...inputs.input.memory, values } }
  yield kernelCase(
    'causalConv1d',
    'NaN spoils the steps that see it',
    { ...inputs, input, ...convOutputs(small) },
    { silu: 1, reverse: 0 },
  )
  const long: ConvShape = { batch: 1, length: 70000, channels: 3, width: 4, given: ['bias', 'initialState', 'resets'] }
  const operands = async () => ({ ...convInputs(new Draw(7502), long), ...convOutputs(long) })
  yield kernelCase('causalConv1d', 'L = 70,000', operands, { silu: 1, reverse: 0 }, { long: true })
  const gradient = async () => gradientOperands(new Draw(7503), long)
  yield kernelCase('causalConv1dGrad', 'L = 70,000', gradient, { silu: 1, reverse: 0 }, { long: true })
}
