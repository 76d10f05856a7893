// Cases of attention and its gradient, rotary embedding and gated activations.
import { activations } from '../kernels.js'
import type { Dtype } from '../types.js'
import { Draw, type KernelCase, kernelCase, type Launcher, operandOf, output } from './operands.js'

interface AttentionShape {
  readonly batch: number
  readonly length: number
  readonly keys: number
  readonly heads: number
  readonly keyHeads: number
  readonly dimension: number
  readonly causal?: 0 | 1
  readonly keyLengths?: readonly number[]
  readonly dtype?: Dtype
  /** q, k and v are parts of one row, as a joint projection leaves them. */
  readonly joint?: boolean
}

function attentionInputs(draw: Draw, shape: AttentionShape) {
  const { batch, length, keys, heads, keyHeads, dimension, keyLengths, dtype = 'float32', joint = false } = shape
  const sequence = (steps: number, count: number) => {
    const pitch = joint ? (heads + 2 * keyHeads) * dimension : count * dimension
    const strides = [steps * pitch, pitch, dimension, 1]
    return draw.floats([batch, steps, count, dimension], -2, 2, { dtype, strides, offset: joint ? dimension : 0 })
  }
  return {
    q: sequence(length, heads),
    k: sequence(keys, keyHeads),
    v: sequence(keys, keyHeads),
    keyLengths: keyLengths ? operandOf([batch], (b) => keyLengths[b], { dtype: 'int32' }) : null,
  }
}

async function attentionGradOperands(seed: number, shape: AttentionShape, reference: Launcher) {
  const { batch, length, heads, dimension, dtype = 'float32' } = shape
  const draw = new Draw(seed)
  const inputs = attentionInputs(draw, shape)
  const queries = [batch, length, heads, dimension]
  const forward = { out: output(queries), logSumExp: output([batch, heads, length]) }
  const made = await reference('attention', { ...inputs, ...forward }, numbersOf(shape))
  return {
    ...inputs,
    out: operandOf(queries, (i) => made.out[i], { dtype }),
    logSumExp: operandOf([batch, heads, length], (i) => made.logSumExp[i]),
    gradOut: draw.floats(queries, -1, 1, { dtype }),
    gradQ: output(queries, { dtype }),
    gradK: output(inputs.k.shape, { dtype }),
    gradV: output(inputs.v.shape, { dtype }),
  }
}

const numbersOf = ({ dimension, causal = 0 }: AttentionShape) => ({ scale: 1 / Math.sqrt(dimension), causal })

const one = { batch: 2, length: 9, keys: 9, heads: 2, keyHeads: 2, dimension: 8 } as const
const attentionShapes: readonly (readonly [string, AttentionShape])[] = [
  ['one of each', { batch: 1, length: 1, keys: 1, heads: 1, keyHeads: 1, dimension: 1 }],
  ['all keys', one],
  ['causal', { ...one, causal: 1 }],
  ['causal over tiles', { ...one, batch: 1, length: 131, keys: 131, dimension: 16, causal: 1 }],
  ['all keys over tiles', { ...one, batch: 1, length: 67, keys: 130, dimension: 24 }],
  ['four heads to one key head', { ...one, heads: 4, keyHeads: 1, causal: 1 }],
  ['six heads to two key heads', { ...one, heads: 6, keyHeads: 2 }],
  ['one query after many keys', { ...one, length: 1, keys: 129, dimension: 64, causal: 1 }],
  ['a few queries after many keys', { ...one, length: 5, keys: 70, causal: 1 }],
  ['key lengths', { ...one, length: 4, keys: 33, keyLengths: [1, 33] }],
  ['causal with key lengths', { ...one, length: 4, keys: 33, keyLengths: [7, 20], causal: 1 }],
  ['head dimension 5', { ...one, dimension: 5, causal: 1 }],
  ['head dimension 33', { ...one, dimension: 33, causal: 1 }],
  ['head dimension 128', { ...one, dimension: 128, causal: 1 }],
  ['parts of a joint projection', { ...one, heads: 4, joint: true, causal: 1 }],
  ['float16', { ...one, length: 40, keys: 40, dtype: 'float16', causal: 1 }],
  ['bfloat16', { ...one, length: 40, keys: 40, dtype: 'bfloat16' }],
]
/** Queries that see no key: their output is 0, and their logSumExp means nothing. */
const blindShapes: readonly (readonly [string, AttentionShape])[] = [
  ['early queries without keys', { ...one, length: 9, keys: 5, causal: 1 }],
  ['a sequence without keys', { ...one, keyLengths: [0, 5] }],
]

export function* attentionCases(): Generator<KernelCase> {
  for (const [i, [name, shape]] of [...attentionShapes, ...blindShapes].entries()) {
    const { batch, length, heads, dimension, dtype } = shape
    const inputs = attentionInputs(new Draw(8000 + i), shape)
    const out = output([batch, length, heads, dimension], { dtype })
    const numbers = numbersOf(shape)
    yield kernelCase('attention', `${name}, out alone`, { ...inputs, out }, numbers)
    if (!blindShapes.some(([blind]) => blind === name)) {
      const logSumExp = output([batch, heads, length])
      yield kernelCase('attention', name, { ...inputs, out, logSumExp }, numbers)
    }
    const operands = (reference: Launcher) => attentionGradOperands(8100 + i, shape, reference)
    yield kernelCase('attentionGrad', name, operands, numbers)
  }
  const draw = new Draw(8200)
  const large = { ...attentionInputs(draw, one), q: draw.floats([2, 9, 2, 8], -300, 300) }
  yield kernelCase(
    'attention',
    'large scores',
    { ...large, out: output([2, 9, 2, 8]) },
    { scale: 1, causal: 1 },
    {
      // Scores of a thousand carry an error of 1e-4 into the exponential.
      tolerance: { scale: 2e-3, relative: 0 },
    },
  )
  yield* rotaryCases()
  yield* gatedCases()
}

function* rotaryCases(): Generator<KernelCase> {
  const draw = new Draw(8300)
  for (const interleaved of [0, 1])
    for (const inverse of [0, 1])
      for (const [dimension, rotaryDim] of [
        [2, 2],
        [8, 8],
        [20, 12],
        [64, 64],
        [7, 4],
      ]) {
        const shape = [2, 11, 3, dimension]
        const name = `${rotaryDim} of ${dimension}${interleaved ? ', interleaved' : ''}${inverse ? ', inverse' : ''}`
        const numbers = { base: 10000, rotaryDim, interleaved, inverse }
        const input = draw.floats(shape, -2, 2, { pad: 2, offset: 1 })
        yield kernelCase('rotary', name, { input, out: output(shape, { pad: 1 }) }, numbers)
        const positions = draw.integers([2, 11], 0, 50)
        yield kernelCase('rotary', `${name}, positions`, { input, positions, out: input }, numbers)
      }
  const shape = [1, 5, 2, 16]
  const numbers = { base: 10000, rotaryDim: 16, interleaved: 0, inverse: 0 }
  for (const dtype of ['float16', 'bfloat16'] as const)
    yield kernelCase(
      'rotary',
      dtype,
      { input: draw.floats(shape, -2, 2, { dtype }), out: output(shape, { dtype }) },
      numbers,
    )
  const far = operandOf([1, 5], (i) => 2000 + i, { dtype: 'int32' })
  const operands = { input: draw.floats(shape), positions: far, out: output(shape) }
  // An angle of 2000 in float32 is known to about 1e-4.
  yield kernelCase('rotary', 'far positions', operands, numbers, { tolerance: { scale: 5e-4, relative: 0 } })
}

function* gatedCases(): Generator<KernelCase> {
  const draw = new Draw(8400)
  for (const [activation, name] of activations.entries())
    for (const [shape, dtype, pad] of [
      [[1], 'float32', 0],
      [[5, 37], 'float32', 3],
      [[1031], 'float32', 0],
      [[3, 4, 18], 'float16', 1],
      [[7, 16], 'bfloat16', 0],
    ] as const) {
      const gate = draw.floats(shape, -6, 6, { dtype, pad, offset: pad })
      const value = draw.floats(shape, -2, 2, { dtype, pad: pad * 2 })
      const label = `${name} (${shape}) ${dtype}`
      yield kernelCase('gatedActivation', label, { gate, value, out: output(shape, { dtype, pad }) }, { activation })
      const gradOut = draw.floats(shape, -1, 1, { dtype })
      const made = { gradGate: output(shape, { dtype, pad }), gradValue: output(shape, { dtype, offset: 1 }) }
      yield kernelCase('gatedActivationGrad', label, { gate, value, gradOut, ...made }, { activation })
    }
  const gate = operandOf([20], (i) => (i === 3 ? Number.NaN : i - 10))
  const value = operandOf([20], (i) => (i === 13 ? Number.NaN : 1))
  yield kernelCase(
    'gatedActivation',
    'NaN',
    { gate, value, out: output([20]) },
    { activation: activations.indexOf('silu') },
  )
}
