// The product of a value and an activated gate, and its gradient, in float64.
import { activationOf } from './gemm.reference.js'
import type { ReferenceKernel } from './view.js'

export const gatedActivation: ReferenceKernel<'gatedActivation'> = ({ gate, value, out }, { activation }) => {
  const { f } = activationOf(activation)
  const x = value.values()
  out.assign(gate.values().map((g, i) => f(g) * x[i]))
}

export const gatedActivationGrad: ReferenceKernel<'gatedActivationGrad'> = (
  { gate, value, gradOut, gradGate, gradValue },
  { activation },
) => {
  const { f, derivative } = activationOf(activation)
  const g = gate.values()
  const x = value.values()
  const grad = gradOut.values()
  gradGate.assign(grad.map((d, i) => d * derivative(g[i]) * x[i]))
  gradValue.assign(grad.map((d, i) => d * f(g[i])))
}
