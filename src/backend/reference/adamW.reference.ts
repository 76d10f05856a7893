// One AdamW step in float64.
import type { ReferenceKernel } from './view.js'

export const adamW: ReferenceKernel<'adamW'> = (
  { parameter, gradient, firstMoment, secondMoment, schedule, gradScale, master },
  { beta1, beta2, epsilon, weightDecay },
) => {
  const [learningRate, correction1, correction2] = [schedule.at(0), schedule.at(1), schedule.at(2)]
  const scale = gradScale?.at(0) ?? 1
  if (!Number.isFinite(scale)) return
  const grads = gradient.values().map((grad) => grad * scale)
  const first = firstMoment.values().map((m, i) => beta1 * m + (1 - beta1) * grads[i])
  const second = secondMoment.values().map((v, i) => beta2 * v + (1 - beta2) * grads[i] ** 2)
  const updated = (master ?? parameter).values().map((p, i) => {
    const step = first[i] / correction1 / (Math.sqrt(second[i] / correction2) + epsilon)
    return p * (1 - learningRate * weightDecay) - learningRate * step
  })
  firstMoment.assign(first)
  secondMoment.assign(second)
  master?.assign(updated)
  parameter.assign(updated)
}
