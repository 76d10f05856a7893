// Reductions of one axis, softmax and its gradient, in float64.
import { type Reduction, reductions } from '../kernels.js'
import type { ReferenceKernel } from './view.js'

/** Index of the first value that beats all others; the first NaN beats everything. */
function firstExtreme(values: readonly number[], beats: (a: number, b: number) => boolean): number {
  let best = 0
  values.forEach((value, i) => {
    if (Number.isNaN(values[best])) return
    if (Number.isNaN(value) || beats(value, values[best])) best = i
  })
  return best
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
const argmax = (values: readonly number[]): number => firstExtreme(values, (a, b) => a > b)
const argmin = (values: readonly number[]): number => firstExtreme(values, (a, b) => a < b)

const reductionTable: Readonly<Record<Reduction, (values: readonly number[]) => number>> = {
  sum,
  mean: (values) => sum(values) / values.length,
  max: (values) => values[argmax(values)],
  min: (values) => values[argmin(values)],
  sumSquares: (values) => sum(values.map((value) => value * value)),
  argmax,
  argmin,
}

export const reduce: ReferenceKernel<'reduce'> = ({ input, out }, { reduction }) => {
  const f = reductionTable[reductions[reduction]]
  const [rows, n, inner] = input.shape
  for (let r = 0; r < rows; r++)
    for (let i = 0; i < inner; i++) out.put(f(Array.from({ length: n }, (_, k) => input.at(r, k, i))), r, i)
}

/** Largest value of row r; NaN if any is. */
export function rowMaximum(row: { at(r: number, c: number): number }, r: number, n: number): number {
  let largest = Number.NEGATIVE_INFINITY
  for (let c = 0; c < n; c++) largest = Math.max(largest, row.at(r, c))
  return largest
}

export const softmax: ReferenceKernel<'softmax'> = ({ input, out }, { log }) => {
  const [rows, n] = input.shape
  for (let r = 0; r < rows; r++) {
    const largest = rowMaximum(input, r, n)
    let total = 0
    for (let c = 0; c < n; c++) total += Math.exp(input.at(r, c) - largest)
    for (let c = 0; c < n; c++) {
      const shifted = input.at(r, c) - largest
      out.put(log ? shifted - Math.log(total) : Math.exp(shifted) / total, r, c)
    }
  }
}

export const softmaxGrad: ReferenceKernel<'softmaxGrad'> = ({ output, gradOut, gradIn }, { log }) => {
  const [rows, n] = output.shape
  for (let r = 0; r < rows; r++) {
    let total = 0
    for (let c = 0; c < n; c++) total += gradOut.at(r, c) * (log ? 1 : output.at(r, c))
    for (let c = 0; c < n; c++) {
      const y = output.at(r, c)
      const grad = gradOut.at(r, c)
      gradIn.put(log ? grad - Math.exp(y) * total : y * (grad - total), r, c)
    }
  }
}
