// Counter-based randomness: a stream hands out ranges of Philox counters, so that the same seed gives the same numbers on
// every backend, and a recomputed forward repeats its masks.
import { MambakitError } from '../errors.js'

/** A sequence of random numbers: (seed, stream) name it, offset is the next unused counter (four words each). */
export class RandomStream {
  constructor(
    readonly seed: number,
    readonly stream = 0,
    public offset = 0,
  ) {
    for (const value of [seed, stream, offset])
      if (!Number.isSafeInteger(value) || value < 0)
        throw new MambakitError(`random: expected seed, stream and offset to be integers in [0, 2^53), got ${value}`)
  }
  /** Reserves counters for `count` elements and returns the first. */
  take(count: number): number {
    const start = this.offset
    this.offset += Math.ceil(count / 4)
    return start
  }
  /** The state to store in a checkpoint. */
  toJSON(): { seed: number; stream: number; offset: number } {
    return { seed: this.seed, stream: this.stream, offset: this.offset }
  }
}

let current = new RandomStream(0)

/** The stream that modules draw from where none is passed. */
export function defaultRandom(): RandomStream {
  return current
}

/** Runs a synchronous function with another default stream. */
export function withRandom<T>(stream: RandomStream, body: () => T): T {
  const before = current
  current = stream
  try {
    return body()
  } finally {
    current = before
  }
}
