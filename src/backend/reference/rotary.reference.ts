// Rotary position embedding in float64.
import type { ReferenceKernel } from './view.js'

export const rotary: ReferenceKernel<'rotary'> = (
  { input, positions, out },
  { base, rotaryDim, interleaved, inverse },
) => {
  const [batch, length, heads, dimension] = input.shape
  for (let b = 0; b < batch; b++)
    for (let t = 0; t < length; t++)
      for (let h = 0; h < heads; h++) {
        for (let i = 0; i < rotaryDim / 2; i++) {
          const first = interleaved ? 2 * i : i
          const second = interleaved ? 2 * i + 1 : i + rotaryDim / 2
          const angle = (positions?.at(b, t) ?? t) * base ** ((-2 * i) / rotaryDim) * (inverse ? -1 : 1)
          const x = input.at(b, t, h, first)
          const y = input.at(b, t, h, second)
          out.put(x * Math.cos(angle) - y * Math.sin(angle), b, t, h, first)
          out.put(x * Math.sin(angle) + y * Math.cos(angle), b, t, h, second)
        }
        for (let p = rotaryDim; p < dimension; p++) out.put(input.at(b, t, h, p), b, t, h, p)
      }
}
