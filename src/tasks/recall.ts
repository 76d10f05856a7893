// The two synthetic tasks that tell whether a sequence model chooses what to remember: selective copying and induction
// heads (arXiv 2312.00752, section 4.1). Sequence number `index` of a seed is always the same, so that runs resume and
// every method is tested on the same items.
import { permutation, uniformInteger } from '../data/permutation.js'
import { MambakitError } from '../errors.js'

/** Positions that count for nothing in a loss. */
export const ignored = -100

/** Sequences with targets at some positions, both (B, L) row-major; targets elsewhere are `ignored`. */
export interface RecallBatch {
  readonly ids: Int32Array
  readonly targets: Int32Array
  readonly batch: number
  readonly length: number
}

/** Puts sequences first, first + 1, ... of a seed into a batch. */
export type RecallTask = (first: number, batch: number) => RecallBatch

function collect(
  batch: number,
  length: number,
  fill: (row: number, ids: Int32Array, targets: Int32Array) => void,
): RecallBatch {
  const ids = new Int32Array(batch * length)
  const targets = new Int32Array(batch * length).fill(ignored)
  for (let row = 0; row < batch; row++) {
    const [from, to] = [row * length, (row + 1) * length]
    fill(row, ids.subarray(from, to), targets.subarray(from, to))
  }
  return { ids, targets, batch, length }
}

export interface SelectiveCopyingOptions {
  readonly seed: number
  /** Tokens, noise (0) and marker (1) included. */
  readonly vocabSize: number
  /** Positions that hold data or noise; the markers follow. */
  readonly length: number
  readonly dataTokens: number
}

/**
 * Data tokens at random places among noise, then as many markers; at the markers the data tokens are to be said in
 * order. A model with fixed dynamics cannot tell data from noise.
 */
export function selectiveCopying({ seed, vocabSize, length, dataTokens }: SelectiveCopyingOptions): RecallTask {
  if (vocabSize < 3 || dataTokens < 1 || dataTokens > length)
    throw new MambakitError(
      `selective copying: expected a vocabulary of at least 3 and 1 to ${length} data tokens, got ${vocabSize} and ${dataTokens}`,
    )
  const [marker, firstData] = [1, 2]
  return (first, batch) =>
    collect(batch, length + dataTokens, (row, ids, targets) => {
      const index = first + row
      const places = Array.from({ length: dataTokens }, (_, i) => permutation(i, length, seed, index))
      places.sort((a, b) => a - b)
      places.forEach((place, i) => {
        const token = firstData + uniformInteger(vocabSize - firstData, seed, index * dataTokens + i)
        ids[place] = token
        ids[length + i] = marker
        targets[length + i] = token
      })
    })
}

export interface InductionOptions {
  readonly seed: number
  /** Tokens, the trigger (0) included. */
  readonly vocabSize: number
  /** At least 3. */
  readonly length: number
}

/**
 * Random tokens with the trigger at one random place and again at the end; what followed it the first time is to be said
 * at the end. The loss is on that position only (state-spaces/mamba, issues 62 and 298).
 */
export function inductionHeads({ seed, vocabSize, length }: InductionOptions): RecallTask {
  if (length < 3 || vocabSize < 3)
    throw new MambakitError(
      `induction heads: expected length and vocabulary of at least 3, got ${length} and ${vocabSize}`,
    )
  const trigger = 0
  return (first, batch) =>
    collect(batch, length, (row, ids, targets) => {
      const start = (first + row) * (length + 1)
      for (let t = 0; t < length; t++) ids[t] = 1 + uniformInteger(vocabSize - 1, seed, start + t)
      const place = uniformInteger(length - 2, seed, start + length)
      ids[place] = trigger
      ids[length - 1] = trigger
      targets[length - 1] = ids[place + 1]
    })
}
