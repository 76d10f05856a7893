// What a confusion matrix of pixels says: counts add up over images before anything is divided, as the field measures
// segmentation. Letters: K classes, I pixels told right, P told, L labelled.

/** (K, K) by rows: counts[label K + told]. Plain numbers, so that it is kept as JSON. */
export type Confusion = readonly number[]

/** Counts the pixels that have a label: `told` and `labels` are classes, labels of K and more count for nothing. */
export function confusionOf(told: ArrayLike<number>, labels: ArrayLike<number>, classes: number): Confusion {
  const counts = new Array<number>(classes * classes).fill(0)
  for (let i = 0; i < labels.length; i++) if (labels[i] < classes) counts[labels[i] * classes + told[i]]++
  return counts
}

/** The matrix of all images. */
export function addConfusions(confusions: readonly Confusion[]): Confusion {
  const total = new Array<number>(confusions[0].length).fill(0)
  for (const counts of confusions) for (let i = 0; i < total.length; i++) total[i] += counts[i]
  return total
}

/** I / (P + L - I) of each class; NaN of a class that is neither told nor labelled. mirrors: IoUMetric of mmsegmentation */
export function classIous(counts: Confusion): number[] {
  const classes = Math.sqrt(counts.length)
  return Array.from({ length: classes }, (_, k) => {
    let [labelled, told] = [0, 0]
    for (let other = 0; other < classes; other++) {
      labelled += counts[k * classes + other]
      told += counts[other * classes + k]
    }
    const right = counts[k * classes + k]
    return right / (told + labelled - right)
  })
}

/** Mean IoU over the classes that occur in any of these images, as a label or told. NaN where no pixel has a label. */
export function meanIou(confusions: readonly Confusion[]): number {
  const ious = classIous(addConfusions(confusions)).filter((iou) => !Number.isNaN(iou))
  return ious.reduce((sum, iou) => sum + iou, 0) / ious.length
}

/** Share of labelled pixels told right (aAcc). */
export function pixelAccuracy(confusions: readonly Confusion[]): number {
  const counts = addConfusions(confusions)
  const classes = Math.sqrt(counts.length)
  let right = 0
  for (let k = 0; k < classes; k++) right += counts[k * classes + k]
  return right / counts.reduce((sum, count) => sum + count, 0)
}
