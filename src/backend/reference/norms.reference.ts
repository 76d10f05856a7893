// RMSNorm and LayerNorm over rows with the residual addition, and their gradients, in float64.
import type { ReferenceKernel } from './view.js'

const indices = (n: number): number[] => Array.from({ length: n }, (_, i) => i)
const mean = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0) / values.length

export const rmsNorm: ReferenceKernel<'rmsNorm'> = ({ input, residual, weight, out, sum, rstd }, { eps }) => {
  const [rows, n] = input.shape
  for (let r = 0; r < rows; r++) {
    const x = indices(n).map((c) => input.at(r, c) + (residual?.at(r, c) ?? 0))
    const scale = 1 / Math.sqrt(mean(x.map((value) => value * value)) + eps)
    rstd?.put(scale, r)
    x.forEach((value, c) => {
      sum?.put(value, r, c)
      out.put(value * scale * (weight?.at(c) ?? 1), r, c)
    })
  }
}

export const rmsNormGrad: ReferenceKernel<'rmsNormGrad'> = ({
  input,
  weight,
  rstd,
  gradOut,
  gradSum,
  gradIn,
  gradWeight,
}) => {
  const [rows, n] = input.shape
  gradWeight?.fill(0)
  for (let r = 0; r < rows; r++) {
    const scale = rstd.at(r)
    const normalized = indices(n).map((c) => input.at(r, c) * scale)
    const grads = indices(n).map((c) => gradOut.at(r, c) * (weight?.at(c) ?? 1))
    const along = mean(grads.map((grad, c) => grad * normalized[c]))
    for (let c = 0; c < n; c++) {
      gradWeight?.add(gradOut.at(r, c) * normalized[c], c)
      gradIn.put(scale * (grads[c] - normalized[c] * along) + (gradSum?.at(r, c) ?? 0), r, c)
    }
  }
}

export const layerNorm: ReferenceKernel<'layerNorm'> = (
  { input, residual, weight, bias, out, sum, mean: means, rstd },
  { eps },
) => {
  const [rows, n] = input.shape
  for (let r = 0; r < rows; r++) {
    const x = indices(n).map((c) => input.at(r, c) + (residual?.at(r, c) ?? 0))
    const centre = mean(x)
    const scale = 1 / Math.sqrt(mean(x.map((value) => (value - centre) ** 2)) + eps)
    means?.put(centre, r)
    rstd?.put(scale, r)
    x.forEach((value, c) => {
      sum?.put(value, r, c)
      out.put((value - centre) * scale * (weight?.at(c) ?? 1) + (bias?.at(c) ?? 0), r, c)
    })
  }
}

export const layerNormGrad: ReferenceKernel<'layerNormGrad'> = ({
  input,
  weight,
  mean: means,
  rstd,
  gradOut,
  gradSum,
  gradIn,
  gradWeight,
  gradBias,
}) => {
  const [rows, n] = input.shape
  gradWeight?.fill(0)
  gradBias?.fill(0)
  for (let r = 0; r < rows; r++) {
    const scale = rstd.at(r)
    const normalized = indices(n).map((c) => (input.at(r, c) - means.at(r)) * scale)
    const grads = indices(n).map((c) => gradOut.at(r, c) * (weight?.at(c) ?? 1))
    const average = mean(grads)
    const along = mean(grads.map((grad, c) => grad * normalized[c]))
    for (let c = 0; c < n; c++) {
      gradWeight?.add(gradOut.at(r, c) * normalized[c], c)
      gradBias?.add(gradOut.at(r, c), c)
      gradIn.put(scale * (grads[c] - average - normalized[c] * along) + (gradSum?.at(r, c) ?? 0), r, c)
    }
  }
}
