// One step of a Mamba layer, in float64.
import { silu } from './elementwise.reference.js'
import type { ReferenceKernel } from './view.js'

const indices = (n: number): number[] => Array.from({ length: n }, (_, i) => i)
const sum = (n: number, term: (i: number) => number): number => indices(n).reduce((total, i) => total + term(i), 0)

export const mambaStepIn: ReferenceKernel<'mambaStepIn'> = (
  { stream, normWeight, weight, bias, convWeight, convBias, convState, xWeight, out, projected },
  { eps },
) => {
  const [parts, batch, d] = stream.shape
  const [, width, channels] = convState.shape
  const [blocks, , maps] = projected.shape
  const block = channels / blocks
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < d; i++)
      stream.put(
        sum(parts, (s) => stream.at(s, b, i)),
        0,
        b,
        i,
      )
    const input = (i: number) => stream.at(0, b, i)
    const scale = 1 / Math.sqrt(sum(d, (i) => input(i) ** 2) / d + eps)
    const x: number[] = []
    for (let n = 0; n < 2 * channels; n++) {
      const value = sum(d, (i) => input(i) * scale * normWeight.at(i) * weight.at(n, i)) + (bias?.at(n) ?? 0)
      if (n >= channels) {
        out.put(value, b, n)
        continue
      }
      for (let k = 0; k + 1 < width; k++) convState.put(convState.at(b, k + 1, n), b, k, n)
      convState.put(value, b, width - 1, n)
      const y = sum(width, (k) => convWeight.at(n, 0, k) * (k + 1 < width ? convState.at(b, k, n) : value))
      x.push(silu(y + (convBias?.at(n) ?? 0)))
      out.put(x[n], b, n)
    }
    for (let p = 0; p < blocks; p++)
      for (let m = 0; m < maps; m++)
        projected.put(
          sum(block, (i) => x[p * block + i] * xWeight.at(m, p * block + i)),
          p,
          b,
          m,
        )
  }
}

export const mambaStepScan: ReferenceKernel<'mambaStepScan'> = ({
  xz,
  projected,
  dtWeight,
  dtBias,
  A,
  D,
  state,
  out,
}) => {
  const [batch, channels, N] = state.shape
  const rank = dtWeight.shape[1]
  const map = (b: number, i: number) => sum(projected.shape[0], (p) => projected.at(p, b, i))
  for (let b = 0; b < batch; b++)
    for (let d = 0; d < channels; d++) {
      const raw = sum(rank, (r) => dtWeight.at(d, r) * map(b, r)) + dtBias.at(d)
      const delta = raw > 20 ? raw : Math.log1p(Math.exp(raw))
      const x = xz.at(b, d)
      let y = D.at(d) * x
      for (let n = 0; n < N; n++) {
        const h = Math.exp(delta * A.at(d, n)) * state.at(b, d, n) + delta * x * map(b, rank + n)
        state.put(h, b, d, n)
        y += map(b, rank + N + n) * h
      }
      out.put(y * silu(xz.at(b, channels + d)), b, d)
    }
}
