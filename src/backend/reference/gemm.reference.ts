// Batched matrix product with bias and activation, in float64.
import { activations } from '../kernels.js'
import { unaryTable } from './elementwise.reference.js'
import type { ReferenceKernel } from './view.js'

/** The function behind an activation code, and its derivative. */
export function activationOf(code: number): { f(x: number): number; derivative(x: number): number } {
  const name = activations[code]
  if (name === 'none') return { f: (x) => x, derivative: () => 1 }
  const { f, derivative } = unaryTable[name]
  return { f: (x) => f(x, 0, 0), derivative: (x) => derivative(x, 0, 0) }
}

export const gemm: ReferenceKernel<'gemm'> = (
  { a, b, bias, out },
  { transposeA, transposeB, alpha, accumulate, activation },
) => {
  const { f } = activationOf(activation)
  const [batch, rows, columns] = out.shape
  const inner = transposeA ? a.shape[1] : a.shape[2]
  for (let s = 0; s < batch; s++)
    for (let m = 0; m < rows; m++)
      for (let n = 0; n < columns; n++) {
        let product = 0
        for (let k = 0; k < inner; k++)
          product += (transposeA ? a.at(s, k, m) : a.at(s, m, k)) * (transposeB ? b.at(s, n, k) : b.at(s, k, n))
        if (accumulate) out.add(alpha * product, s, m, n)
        else out.put(f(alpha * product + (bias?.at(n) ?? 0)), s, m, n)
      }
}
