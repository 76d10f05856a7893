// Softmax attention over grouped heads, one query at a time, and its gradient, in float64.
import type { ReferenceKernel, View } from './view.js'

/** How many leading keys query t of sequence b sees. */
function visibleKeys(q: View, k: View, keyLengths: View | null, causal: number, b: number, t: number): number {
  const keys = keyLengths ? keyLengths.at(b) : k.shape[1]
  return causal ? Math.max(0, Math.min(keys, t + keys - q.shape[1] + 1)) : keys
}

function dot(x: View, xAt: readonly [number, number, number], y: View, yAt: readonly [number, number, number]): number {
  let sum = 0
  for (let p = 0; p < x.shape[3]; p++) sum += x.at(...xAt, p) * y.at(...yAt, p)
  return sum
}

export const attention: ReferenceKernel<'attention'> = ({ q, k, v, keyLengths, out, logSumExp }, { scale, causal }) => {
  const [batch, length, heads, dimension] = q.shape
  const keyHeads = k.shape[2]
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let t = 0; t < length; t++) {
        const g = Math.floor((h * keyHeads) / heads)
        const scores = Array.from(
          { length: visibleKeys(q, k, keyLengths, causal, b, t) },
          (_, s) => scale * dot(q, [b, t, h], k, [b, s, g]),
        )
        const largest = scores.reduce((most, score) => Math.max(most, score), Number.NEGATIVE_INFINITY)
        const total = scores.reduce((sum, score) => sum + Math.exp(score - largest), 0)
        logSumExp?.put(scores.length ? largest + Math.log(total) : Number.NEGATIVE_INFINITY, b, h, t)
        for (let p = 0; p < dimension; p++) {
          const mix = scores.reduce((sum, score, s) => sum + (Math.exp(score - largest) / total) * v.at(b, s, g, p), 0)
          out.put(mix, b, t, h, p)
        }
      }
}

export const attentionGrad: ReferenceKernel<'attentionGrad'> = (
  { q, k, v, keyLengths, out, logSumExp, gradOut, gradQ, gradK, gradV },
  { scale, causal },
) => {
  const [batch, length, heads, dimension] = q.shape
  const keyHeads = k.shape[2]
  for (const sum of [gradQ, gradK, gradV]) sum.fill(0)
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let t = 0; t < length; t++) {
        const g = Math.floor((h * keyHeads) / heads)
        const along = dot(gradOut, [b, t, h], out, [b, t, h])
        for (let s = 0; s < visibleKeys(q, k, keyLengths, causal, b, t); s++) {
          const weight = Math.exp(scale * dot(q, [b, t, h], k, [b, s, g]) - logSumExp.at(b, h, t))
          const gradScore = scale * weight * (dot(gradOut, [b, t, h], v, [b, s, g]) - along)
          for (let p = 0; p < dimension; p++) {
            gradQ.add(gradScore * k.at(b, s, g, p), b, t, h, p)
            gradK.add(gradScore * q.at(b, t, h, p), b, s, g, p)
            gradV.add(weight * gradOut.at(b, t, h, p), b, s, g, p)
          }
        }
      }
}
