// Cross-entropy over rows of logits and its gradient, with label smoothing and class weights, in float64.
import { rowMaximum } from './reduce.reference.js'
import type { ReferenceKernel } from './view.js'

export const crossEntropy: ReferenceKernel<'crossEntropy'> = (
  { logits, targets, classWeights, rowScale, loss, gradLogits },
  { ignoreIndex, labelSmoothing, scale },
  reportIndex,
) => {
  const [rows, classes] = logits.shape
  for (let r = 0; r < rows; r++) {
    const target = targets.at(r)
    const outside = target < 0 || target >= classes
    if (outside && target !== ignoreIndex) reportIndex(target, classes)
    if (outside || target === ignoreIndex) {
      loss?.put(0, r)
      for (let c = 0; c < classes; c++) gradLogits?.put(0, r, c)
      continue
    }
    const largest = rowMaximum(logits, r, classes)
    let total = 0
    for (let c = 0; c < classes; c++) total += Math.exp(logits.at(r, c) - largest)
    // loss = -sum_c share[c] log p[c]
    const share = Array.from({ length: classes }, (_, c) => {
      const weight = classWeights?.at(c) ?? 1
      return weight * (labelSmoothing / classes + (c === target ? 1 - labelSmoothing : 0))
    })
    const shares = share.reduce((sum, value) => sum + value, 0)
    const factor = (rowScale?.at(r) ?? 1) * scale
    let rowLoss = 0
    for (let c = 0; c < classes; c++) {
      const logP = logits.at(r, c) - largest - Math.log(total)
      if (share[c] !== 0) rowLoss -= share[c] * logP
      gradLogits?.put((shares * Math.exp(logP) - share[c]) * factor, r, c)
    }
    loss?.put(rowLoss, r)
  }
}
