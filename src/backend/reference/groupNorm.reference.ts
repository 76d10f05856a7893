// Statistics of channel groups, the normalisation by them (batch, instance and group norm) and its gradient, in float64.
import type { ReferenceKernel } from './view.js'

/** Calls visit(s, c) for every element of a group. */
function forGroup([, S, C]: readonly number[], groups: number, g: number, visit: (s: number, c: number) => void): void {
  const size = C / groups
  for (let s = 0; s < S; s++) for (let c = g * size; c < (g + 1) * size; c++) visit(s, c)
}

export const groupStatistics: ReferenceKernel<'groupStatistics'> = ({ input, mean, variance }) => {
  const [batch, S, C] = input.shape
  const groups = mean.shape[1]
  const count = (S * C) / groups
  for (let b = 0; b < batch; b++)
    for (let g = 0; g < groups; g++) {
      let total = 0
      forGroup(input.shape, groups, g, (s, c) => {
        total += input.at(b, s, c)
      })
      const centre = total / count
      let squares = 0
      forGroup(input.shape, groups, g, (s, c) => {
        squares += (input.at(b, s, c) - centre) ** 2
      })
      mean.put(centre, b, g)
      variance.put(squares / count, b, g)
    }
}

export const groupNorm: ReferenceKernel<'groupNorm'> = ({ input, mean, variance, weight, bias, out }, { eps }) => {
  const groups = mean.shape[1]
  for (let b = 0; b < input.shape[0]; b++)
    for (let g = 0; g < groups; g++) {
      const scale = 1 / Math.sqrt(variance.at(b, g) + eps)
      forGroup(input.shape, groups, g, (s, c) => {
        const normal = (input.at(b, s, c) - mean.at(b, g)) * scale
        out.put(normal * (weight?.at(c) ?? 1) + (bias?.at(c) ?? 0), b, s, c)
      })
    }
}

export const groupNormGrad: ReferenceKernel<'groupNormGrad'> = (
  { input, mean, variance, weight, gradOut, gradIn, gradWeight, gradBias },
  { eps, fixed },
) => {
  const [batch, S, C] = input.shape
  const groups = mean.shape[1]
  const count = (S * C) / groups
  gradWeight?.fill(0)
  gradBias?.fill(0)
  for (let b = 0; b < batch; b++)
    for (let g = 0; g < groups; g++) {
      const scale = 1 / Math.sqrt(variance.at(b, g) + eps)
      const normalAt = (s: number, c: number) => (input.at(b, s, c) - mean.at(b, g)) * scale
      const gradAt = (s: number, c: number) => gradOut.at(b, s, c) * (weight?.at(c) ?? 1)
      let average = 0
      let along = 0
      forGroup(input.shape, groups, g, (s, c) => {
        gradBias?.add(gradOut.at(b, s, c), c)
        gradWeight?.add(gradOut.at(b, s, c) * normalAt(s, c), c)
        average += gradAt(s, c) / count
        along += (gradAt(s, c) * normalAt(s, c)) / count
      })
      forGroup(input.shape, groups, g, (s, c) => {
        const through = fixed ? 0 : average + normalAt(s, c) * along
        gradIn.put(scale * (gradAt(s, c) - through), b, s, c)
      })
    }
}
