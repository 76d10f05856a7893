// Draws of an index from rows of logits, in float64.
import { rowMaximum } from './reduce.reference.js'
import type { ReferenceKernel } from './view.js'

export const sample: ReferenceKernel<'sample'> = ({ logits, uniform, out }, { temperature, topK, topP, minP }) => {
  const [rows, n] = logits.shape
  for (let r = 0; r < rows; r++) {
    const largest = rowMaximum(logits, r, n)
    const weight = (i: number) => Math.exp((logits.at(r, i) - largest) / temperature)
    const total = (indices: readonly number[]) => indices.reduce((sum, i) => sum + weight(i), 0)
    const ordered = Array.from({ length: n }, (_, i) => i).sort((i, j) => logits.at(r, j) - logits.at(r, i) || i - j)
    let kept = topK > 0 ? ordered.slice(0, topK) : ordered
    if (topP < 1) {
      const wanted = topP * total(kept)
      let count = 0
      for (let reached = 0; count < kept.length && reached < wanted; count++) reached += weight(kept[count])
      kept = kept.slice(0, count)
    }
    kept = kept.filter((i) => weight(i) >= minP && weight(i) > 0).sort((i, j) => i - j)
    let left = uniform.at(r) * total(kept)
    let drawn = 0
    for (const i of kept) {
      drawn = i
      if ((left -= weight(i)) <= 0) break
    }
    out.put(drawn, r)
  }
}
