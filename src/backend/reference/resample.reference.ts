// Weighted and largest values of windows along one axis, by tables of indices, in float64.
import type { ReferenceKernel, View } from './view.js'

/** The indices of row i of a table that lie in [0, n), with their columns. */
function* taps(index: View, i: number, n: number): Generator<{ at: number; t: number }> {
  for (let t = 0; t < index.shape[1]; t++) {
    const at = index.at(i, t)
    if (at >= 0 && at < n) yield { at, t }
  }
}

/** Calls visit for every element of (R, m, inner). */
function forEach([rows, m, inner]: readonly number[], visit: (r: number, i: number, c: number) => void): void {
  for (let r = 0; r < rows; r++) for (let i = 0; i < m; i++) for (let c = 0; c < inner; c++) visit(r, i, c)
}

export const resample: ReferenceKernel<'resample'> = ({ input, index, weight, out }) => {
  forEach(out.shape, (r, i, c) => {
    let total = 0
    for (const { at, t } of taps(index, i, input.shape[1])) total += weight.at(i, t) * input.at(r, at, c)
    out.put(total, r, i, c)
  })
}

export const maxPool: ReferenceKernel<'maxPool'> = ({ input, index, out, winner }) => {
  forEach(out.shape, (r, i, c) => {
    let largest = Number.NEGATIVE_INFINITY
    let first = -1
    for (const { at } of taps(index, i, input.shape[1])) {
      const value = input.at(r, at, c)
      if (first >= 0 && !(value > largest || (Number.isNaN(value) && !Number.isNaN(largest)))) continue
      largest = value
      first = at
    }
    out.put(largest, r, i, c)
    winner?.put(first, r, i, c)
  })
}

export const maxPoolGrad: ReferenceKernel<'maxPoolGrad'> = ({ winner, gradOut, index, gradIn }) => {
  forEach(gradIn.shape, (r, j, c) => {
    let total = 0
    for (const { at } of taps(index, j, gradOut.shape[1])) if (winner.at(r, at, c) === j) total += gradOut.at(r, at, c)
    gradIn.put(total, r, j, c)
  })
}
