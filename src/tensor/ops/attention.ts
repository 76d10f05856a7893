// Softmax attention: the fused form without an L x S matrix, the masked form, rotary positions, gated activations.
import { type Activation, activations, launch } from '../../backend/kernels.js'
import { MambakitError, ShapeError } from '../../errors.js'
import { differentiable } from '../autograd.js'
import { sameShape } from '../shape.js'
import { empty, type Tensor } from '../tensor.js'
import { add, requireFloat, where } from './elementwise.js'
import { matmul } from './linear.js'
import { softmax } from './reduce.js'
import { denseLast } from './shape.js'

export interface AttentionOptions {
  /** Default 1 / sqrt(P). */
  scale?: number
  /** Query t sees keys up to t + S - L (the last query sees the last key). Default false. */
  causal?: boolean
  /** (B) int32: keys at and beyond this count are not seen; causal queries then end at it. */
  keyLengths?: Tensor | null
}

/**
 * softmax(scale q k^T) v without the L x S matrix. q (B, L, H, P), k and v (B, S, Hkv, P), H a multiple of Hkv;
 * returns (B, L, H, P). Memory grows with L, not L S, in both directions.
 */
export function attention(query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions = {}): Tensor {
  requireFloat('attention', query, key, value)
  const { keyLengths, causal = false, scale = 1 / Math.sqrt(query.shape[3]) } = options
  if (query.rank !== 4 || key.rank !== 4 || !sameShape(key.shape, value.shape))
    throw new ShapeError(
      'attention',
      [query.shape, key.shape, value.shape],
      'expected q (B, L, H, P), k and v (B, S, Hkv, P)',
    )
  const [batch, length, heads, size] = query.shape
  if (key.shape[0] !== batch || key.shape[3] !== size || heads % key.shape[2] !== 0)
    throw new ShapeError('attention', [query.shape, key.shape], 'expected equal B and P, and H a multiple of Hkv')
  const { backend } = query
  const numbers = { scale, causal: causal ? 1 : 0 }
  const [q, k, v] = [denseLast(query), denseLast(key), denseLast(value)]
  const made = { logSumExp: null as Tensor | null }
  return differentiable({
    name: 'attention',
    inputs: [q, k, v],
    forward: () => {
      const out = empty(backend, q.shape, q.dtype)
      made.logSumExp = empty(backend, [batch, heads, length])
      launch(backend, 'attention', { q, k, v, keyLengths, out, logSumExp: made.logSumExp }, numbers)
      return out
    },
    save: (out) => [q, k, v, out, made.logSumExp, keyLengths],
    backward: ([gradOut], [sq, sk, sv, out, logSumExp, lengths]) => {
      const [gradQ, gradK, gradV] = [sq, sk, sv].map((x) => empty(backend, x.shape, x.dtype))
      const operands = { q: sq, k: sk, v: sv, keyLengths: lengths, out, logSumExp, gradOut: denseLast(gradOut!) }
      launch(backend, 'attentionGrad', { ...operands, gradQ, gradK, gradV }, numbers)
      return [gradQ, gradK, gradV]
    },
  })
}

/**
 * Attention with an explicit mask, which forms the L x S matrix. q (..., L, P), k (..., S, P), v (..., S, P); `mask`
 * broadcasts to (..., L, S): bool (true = attend) or float (added to the scores, with a gradient of its own).
 */
export function maskedAttention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale?: number): Tensor {
  const factor = scale ?? 1 / Math.sqrt(query.shape[query.rank - 1])
  const scores = matmul(query, key, { transposeB: true, scale: factor })
  const masked = mask.dtype === 'bool' ? where(mask, scores, Number.NEGATIVE_INFINITY) : add(scores, mask)
  return matmul(softmax(masked), value)
}

export interface RotaryOptions {
  /** (B, L) int32. Default 0 .. L-1. */
  positions?: Tensor | null
  /** Default 10000. */
  base?: number
  /** Channels that turn; the rest pass through. Default P. */
  rotaryDim?: number
  /** Pairs are neighbours instead of halves. Default false. */
  interleaved?: boolean
}

/** Rotary position embedding of (B, L, H, P). */
export function rotary(input: Tensor, options: RotaryOptions = {}): Tensor {
  requireFloat('rotary', input)
  const { positions, base = 10000, rotaryDim = input.shape[3], interleaved = false } = options
  if (input.rank !== 4) throw new ShapeError('rotary', [input.shape], 'expected (B, L, H, P)')
  if (rotaryDim % 2 || rotaryDim > input.shape[3])
    throw new MambakitError(`rotary: expected an even rotaryDim of at most ${input.shape[3]}, got ${rotaryDim}`)
  const turn = (x: Tensor, at: Tensor | null | undefined, inverse: number) => {
    const out = empty(x.backend, x.shape, x.dtype)
    const numbers = { base, rotaryDim, interleaved: interleaved ? 1 : 0, inverse }
    launch(x.backend, 'rotary', { input: denseLast(x), positions: at, out }, numbers)
    return out
  }
  return differentiable({
    name: 'rotary',
    inputs: [input],
    forward: () => turn(input, positions, 0),
    save: () => [positions],
    backward: ([gradOut], [at]) => [turn(gradOut!, at, 1)],
  })
}

/** activation(gate) * value, of one shape; the inner part of a gated MLP. */
export function gatedActivation(gate: Tensor, value: Tensor, activation: Activation = 'silu'): Tensor {
  requireFloat('gatedActivation', gate, value)
  if (!sameShape(gate.shape, value.shape))
    throw new ShapeError('gatedActivation', [gate.shape, value.shape], 'expected equal shapes')
  const numbers = { activation: activations.indexOf(activation) }
  const inputs = [denseLast(gate), denseLast(value)]
  return differentiable({
    name: 'gatedActivation',
    inputs,
    forward: () => {
      const out = empty(gate.backend, gate.shape, gate.dtype)
      launch(gate.backend, 'gatedActivation', { gate: inputs[0], value: inputs[1], out }, numbers)
      return out
    },
    save: () => inputs,
    backward: ([gradOut], [savedGate, savedValue]) => {
      const gradGate = empty(gate.backend, savedGate.shape, savedGate.dtype)
      const gradValue = empty(gate.backend, savedValue.shape, savedValue.dtype)
      const operands = { gate: savedGate, value: savedValue, gradOut: denseLast(gradOut!), gradGate, gradValue }
      launch(gate.backend, 'gatedActivationGrad', operands, numbers)
      return [gradGate, gradValue]
    },
  })
}
