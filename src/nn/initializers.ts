// First values of parameters, as PyTorch and the official Mamba code draw them.
import { add, clamp, exp, expm1, full, log, neg, normal, tensor, uniform } from '../tensor/index.js'
import type { Initializer } from './module.js'

export const constant =
  (value: number): Initializer =>
  (shape) =>
    full(shape, value)

export const normalWith =
  (deviation: number): Initializer =>
  (shape) =>
    normal(shape, 0, deviation)

/** Linear maps of image models. timm's trunc_normal_ of deviation 0.02 cuts at +-2, where no draw ever comes. */
export const imageNormal: Initializer = (shape) => normal(shape, 0, 0.02)

export const uniformWithin =
  (bound: number): Initializer =>
  (shape) =>
    uniform(shape, -bound, bound)

/** PyTorch's default for Linear and convolutions: U(-1/sqrt(fan_in), 1/sqrt(fan_in)), divided by `rescale`. */
export const kaimingUniform = (fanIn: number, rescale = 1): Initializer => uniformWithin(1 / Math.sqrt(fanIn) / rescale)

/** A_log[d, n] = ln(n + 1): the S4D-real spectrum, the same for every channel. */
export const logSpectrum: Initializer = (shape) => {
  const [channels, states] = shape
  const values = new Float32Array(channels * states)
  for (let i = 0; i < values.length; i++) values[i] = Math.log((i % states) + 1)
  return tensor(values, { shape })
}

/** Inverse softplus of step sizes drawn log-uniformly from [min, max], at least `floor`. mirrors: Mamba.__init__ (dt_proj.bias) */
export const stepSizeBias =
  (min: number, max: number, floor: number): Initializer =>
  (shape) => {
    const step = clamp(exp(uniform(shape, Math.log(min), Math.log(max))), floor, Number.MAX_VALUE)
    // softplus^-1(x) = x + log(1 - e^-x)
    return add(step, log(neg(expm1(neg(step)))))
  }
