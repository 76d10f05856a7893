// AdamW with decoupled weight decay, and the gradient norm that clips it. Everything stays on the device: no value is
// read back, and a step whose gradient is not finite changes nothing.
import { launch, reductions } from '../backend/kernels.js'
import { MambakitError } from '../errors.js'
import type { Parameter } from '../nn/index.js'
import {
  add,
  affine,
  cast,
  div,
  empty,
  full,
  keep,
  less,
  noGrad,
  outsideScopes,
  reshape,
  scope,
  sqrt,
  type Tensor,
  tensor,
  where,
  zeros,
} from '../tensor/index.js'

export interface AdamWOptions {
  /** Default 0.9 and 0.999. */
  betas?: readonly [number, number]
  /** Default 1e-8. */
  epsilon?: number
  /** For parameters that declare decay (not biases, norms, A_log, D). Default 0.01. */
  weightDecay?: number
  /** Gradients are scaled down to this norm; 0 never clips. Default 0. */
  clipNorm?: number
}

interface Slot {
  readonly name: string
  readonly parameter: Parameter
  readonly firstMoment: Tensor
  readonly secondMoment: Tensor
  /** float32 copy of a half-precision parameter. */
  readonly master: Tensor | null
}

export class AdamW {
  readonly #slots: readonly Slot[]
  readonly #options: Required<AdamWOptions>
  /** Updates done; the bias correction depends on it. */
  stepCount = 0

  /** `parameters`: full names and parameters, which must have values. Shared ones are taken once. */
  constructor(parameters: Iterable<readonly [string, Parameter]>, options: AdamWOptions = {}) {
    this.#options = { betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0.01, clipNorm: 0, ...options }
    const seen = new Set<Parameter>()
    const slots: Slot[] = []
    outsideScopes(() => {
      for (const [name, parameter] of parameters) {
        if (seen.has(parameter) || !parameter.trainable) continue
        seen.add(parameter)
        const { backend, dtype } = parameter.value
        const moment = () => zeros(parameter.shape, { backend })
        const master = dtype === 'float32' ? null : keep(cast(parameter.value.view(), 'float32'))
        slots.push({ name, parameter, firstMoment: moment(), secondMoment: moment(), master })
      }
    })
    this.#slots = slots
  }

  /**
   * Applies the accumulated gradients. Returns the gradient norm before clipping, shape ().
   * @param lossScale what the loss, and so every gradient, was multiplied by; it is taken out first. Default 1.
   */
  step(learningRate: number, lossScale = 1): Tensor {
    const [beta1, beta2] = this.#options.betas
    this.stepCount++
    return noGrad(() =>
      scope(() => {
        const graded = this.#slots.filter(({ parameter }) => parameter.value.grad)
        if (graded.length === 0) throw new MambakitError('AdamW: no parameter has a gradient; call backward() first')
        const { backend } = graded[0].parameter.value
        const scaledNorm = gradientNorm(graded.map(({ parameter }) => parameter.value.grad!))
        const norm = lossScale === 1 ? scaledNorm : affine(scaledNorm, 1 / lossScale)
        const schedule = tensor(
          Float32Array.of(learningRate, 1 - beta1 ** this.stepCount, 1 - beta2 ** this.stepCount),
          { backend },
        )
        const clip = this.#gradScale(norm)
        const gradScale = lossScale === 1 ? clip : affine(clip, 1 / lossScale)
        const { epsilon, weightDecay } = this.#options
        for (const { parameter, firstMoment, secondMoment, master } of graded) {
          const { value } = parameter
          launch(
            backend,
            'adamW',
            { parameter: value, gradient: value.grad!, firstMoment, secondMoment, schedule, gradScale, master },
            { beta1, beta2, epsilon, weightDecay: parameter.decay ? weightDecay : 0 },
          )
          value.storage.version++
        }
        return norm
      }),
    )
  }

  /** 1, or what brings the norm down to clipNorm; not finite where the norm is not. mirrors: clip_grad_norm_ */
  #gradScale(norm: Tensor): Tensor {
    const { clipNorm } = this.#options
    const poison = affine(norm, 0)
    if (clipNorm === 0) return reshape(affine(poison, 1, 1), [1])
    const limited = div(full([], clipNorm, { backend: norm.backend }), affine(norm, 1, 1e-6))
    return reshape(add(where(less(limited, 1), limited, 1), poison), [1])
  }

  /** Moments and master weights by name, for a checkpoint. */
  *state(): IterableIterator<[string, Tensor]> {
    for (const { name, firstMoment, secondMoment, master } of this.#slots) {
      yield [`${name}.first_moment`, firstMoment]
      yield [`${name}.second_moment`, secondMoment]
      if (master) yield [`${name}.master`, master]
    }
  }

  dispose(): void {
    for (const [, tensor] of this.state()) tensor.dispose()
  }
}

/** Square root of the summed squares of several tensors, shape (); the order of summation is fixed. */
function gradientNorm(gradients: readonly Tensor[]): Tensor {
  const { backend } = gradients[0]
  const squares = empty(backend, [gradients.length])
  gradients.forEach((gradient, i) => {
    const flat = gradient.view([1, gradient.size, 1], [gradient.size, 1, 1], gradient.offset)
    launch(
      backend,
      'reduce',
      { input: flat, out: squares.view([1, 1], [1, 1], i) },
      { reduction: reductions.indexOf('sumSquares') },
    )
  })
  const total = empty(backend, [])
  launch(
    backend,
    'reduce',
    { input: squares.view([1, gradients.length, 1], [gradients.length, 1, 1]), out: total.view([1, 1], [1, 1]) },
    { reduction: reductions.indexOf('sum') },
  )
  return sqrt(total)
}
