// RMSNorm and LayerNorm over the last axis, with the residual addition fused in.
import { launch } from '../../backend/kernels.js'
import { ShapeError } from '../../errors.js'
import { autocastDtype } from '../autocast.js'
import { differentiable } from '../autograd.js'
import { sameShape } from '../shape.js'
import { empty, type Tensor } from '../tensor.js'
import { requireFloat } from './elementwise.js'
import { asRows } from './raw.js'

export interface NormOptions {
  weight?: Tensor | null
  /** Added to the input first; the sum is returned too. Same shape as the input. */
  residual?: Tensor | null
  /** Default 1e-5. */
  eps?: number
}

function check(operation: string, input: Tensor, options: NormOptions & { bias?: Tensor | null }): number {
  requireFloat(operation, input, options.weight, options.residual, options.bias)
  const n = input.shape[input.rank - 1]
  for (const parameter of [options.weight, options.bias])
    if (parameter && !sameShape(parameter.shape, [n]))
      throw new ShapeError(operation, [input.shape, parameter.shape], `expected parameters of shape (${n})`)
  if (options.residual && !sameShape(options.residual.shape, input.shape))
    throw new ShapeError(
      operation,
      [input.shape, options.residual.shape],
      'expected a residual of the shape of the input',
    )
  return n
}

interface Normalized {
  /** The normalised values, shape and dtype of the input; inside `autocast` of its dtype. */
  readonly out: Tensor
  /** input + residual; the input itself without a residual. */
  readonly sum: Tensor
}

/**
 * x * rsqrt(mean(x^2) + eps) * weight over the last axis, x = input + residual, in float32 arithmetic.
 * The sum has the residual's dtype, the output the input's.
 */
export function addRmsNorm(input: Tensor, options: NormOptions = {}): Normalized {
  const n = check('rmsNorm', input, options)
  const { weight, residual, eps = 1e-5 } = options
  const { backend } = input
  const rows = input.size / n
  const made = { rstd: null as Tensor | null }
  const outputs = differentiable<readonly Tensor[]>({
    name: 'rmsNorm',
    inputs: [input, residual, weight],
    forward: () => {
      const out = empty(backend, input.shape, autocastDtype() ?? input.dtype)
      const sum = residual ? empty(backend, input.shape, residual.dtype) : null
      made.rstd = empty(backend, [rows], 'float32')
      const views = {
        input: asRows(input),
        out: asRows(out),
        residual: residual && asRows(residual),
        sum: sum && asRows(sum),
      }
      launch(backend, 'rmsNorm', { ...views, weight, rstd: made.rstd }, { eps })
      return sum ? [out, sum] : [out]
    },
    save: ([, sum]) => [sum ?? input, made.rstd, weight],
    backward: ([gradOut, gradSum], [x, rstd, w]) => {
      if (!gradOut) return [gradSum ?? null, residual ? (gradSum ?? null) : null, null]
      const gradIn = empty(backend, x.shape, x.dtype)
      const gradWeight = w ? empty(backend, w.shape, w.dtype) : null
      const views = {
        input: asRows(x),
        gradOut: asRows(gradOut),
        gradSum: gradSum && asRows(gradSum),
        gradIn: asRows(gradIn),
      }
      launch(backend, 'rmsNormGrad', { ...views, weight: w, rstd, gradWeight }, {})
      return [gradIn, residual ? gradIn : null, gradWeight]
    },
  })
  return { out: outputs[0], sum: outputs[1] ?? input }
}

/** RMSNorm without a residual. */
export const rmsNorm = (input: Tensor, options: Omit<NormOptions, 'residual'> = {}): Tensor =>
  addRmsNorm(input, options).out

/** (x - mean) * rsqrt(variance + eps) * weight + bias over the last axis, x = input + residual, biased variance. */
export function addLayerNorm(input: Tensor, options: NormOptions & { bias?: Tensor | null } = {}): Normalized {
  const n = check('layerNorm', input, options)
  const { weight, bias, residual, eps = 1e-5 } = options
  const { backend } = input
  const rows = input.size / n
  const made = { mean: null as Tensor | null, rstd: null as Tensor | null }
  const outputs = differentiable<readonly Tensor[]>({
    name: 'layerNorm',
    inputs: [input, residual, weight, bias],
    forward: () => {
      const out = empty(backend, input.shape, autocastDtype() ?? input.dtype)
      const sum = residual ? empty(backend, input.shape, residual.dtype) : null
      made.mean = empty(backend, [rows], 'float32')
      made.rstd = empty(backend, [rows], 'float32')
      const views = {
        input: asRows(input),
        out: asRows(out),
        residual: residual && asRows(residual),
        sum: sum && asRows(sum),
      }
      launch(backend, 'layerNorm', { ...views, weight, bias, mean: made.mean, rstd: made.rstd }, { eps })
      return sum ? [out, sum] : [out]
    },
    save: ([, sum]) => [sum ?? input, made.mean, made.rstd, weight],
    backward: ([gradOut, gradSum], [x, mean, rstd, w]) => {
      if (!gradOut) return [gradSum ?? null, residual ? (gradSum ?? null) : null, null, null]
      const gradIn = empty(backend, x.shape, x.dtype)
      const gradWeight = weight ? empty(backend, weight.shape, weight.dtype) : null
      const gradBias = bias ? empty(backend, bias.shape, bias.dtype) : null
      const views = {
        input: asRows(x),
        gradOut: asRows(gradOut),
        gradSum: gradSum && asRows(gradSum),
        gradIn: asRows(gradIn),
      }
      launch(backend, 'layerNormGrad', { ...views, weight: w, mean, rstd, gradWeight, gradBias }, {})
      return [gradIn, residual ? gradIn : null, gradWeight, gradBias]
    },
  })
  return { out: outputs[0], sum: outputs[1] ?? input }
}

/** LayerNorm without a residual. */
export const layerNorm = (
  input: Tensor,
  options: Omit<NormOptions, 'residual'> & { bias?: Tensor | null } = {},
): Tensor => addLayerNorm(input, options).out
