// Random tensors and dropout, drawn from counter-based streams.
import { type Distribution, distributions, launch } from '../../backend/kernels.js'
import type { Backend, Dtype } from '../../backend/types.js'
import { MambakitError } from '../../errors.js'
import { differentiable } from '../autograd.js'
import { defaultBackend } from '../device.js'
import { defaultRandom, type RandomStream } from '../random.js'
import { elementCount, type Shape } from '../shape.js'
import { empty, type Tensor } from '../tensor.js'

export interface RandomOptions {
  stream?: RandomStream
  backend?: Backend
  dtype?: Dtype
}

function draw(distribution: Distribution, shape: Shape, alpha: number, beta: number, options: RandomOptions): Tensor {
  const stream = options.stream ?? defaultRandom()
  const out = empty(
    options.backend ?? defaultBackend(),
    shape,
    options.dtype ?? (distribution === 'integer' ? 'int32' : 'float32'),
  )
  const offset = stream.take(elementCount(shape))
  const numbers = {
    distribution: distributions.indexOf(distribution),
    alpha,
    beta,
    seed: stream.seed,
    stream: stream.stream,
    offset,
  }
  launch(out.backend, 'random', { out }, numbers)
  return out
}

/** Uniform numbers in [low, high). */
export const uniform = (shape: Shape, low = 0, high = 1, options: RandomOptions = {}): Tensor =>
  draw('uniform', shape, low, high, options)
/** Normal numbers. */
export const normal = (shape: Shape, mean = 0, deviation = 1, options: RandomOptions = {}): Tensor =>
  draw('normal', shape, mean, deviation, options)
/** Uniform integers in [low, high), int32. */
export const randomIntegers = (shape: Shape, low: number, high: number, options: RandomOptions = {}): Tensor =>
  draw('integer', shape, low, high, options)

/** Zeroes elements with probability p and scales the rest by 1 / (1 - p). */
export function dropout(input: Tensor, p: number, stream: RandomStream = defaultRandom()): Tensor {
  if (!(p >= 0 && p < 1)) throw new MambakitError(`dropout: expected a probability in [0, 1), got ${p}`)
  if (p === 0) return input
  const numbers = { p, seed: stream.seed, stream: stream.stream, offset: stream.take(input.size) }
  const apply = (x: Tensor) => {
    const out = empty(x.backend, x.shape, x.dtype)
    launch(x.backend, 'dropout', { input: x, out }, numbers)
    return out
  }
  return differentiable({
    name: 'dropout',
    inputs: [input],
    forward: () => apply(input),
    backward: ([gradOut]) => [apply(gradOut!)],
  })
}
