// Cuts a token stream into the windows that a language model trains on and is measured on. Which windows a step gets
// follows from (seed, step) alone, so that a run resumes at any step.
import { DataError } from './bytes.js'
import { permutation, uniformInteger } from './permutation.js'
import type { TokenSource } from './text.js'

export interface WindowOptions {
  /** Tokens a window predicts (L); a window holds L + 1. */
  readonly length: number
  /** Windows a batch (B). */
  readonly batch: number
}

/**
 * Batches of training windows. An epoch cuts the text into adjacent windows from a random phase and takes them in random
 * order, so that every token is predicted once an epoch, except up to 2 L at the ends.
 */
export class WindowSampler {
  readonly windowsPerEpoch: number
  private readonly phases: number

  /** Throws DataError where the tokens are too few for one window. */
  constructor(
    private readonly tokens: TokenSource,
    private readonly options: WindowOptions & { readonly seed: number },
  ) {
    const { length } = options
    assertLongEnough(tokens, length)
    // With fewer phases than L where the text is short, every phase leaves room for the same number of windows.
    this.phases = Math.min(length, tokens.length - length)
    this.windowsPerEpoch = Math.floor((tokens.length - this.phases) / length)
  }

  /** The windows of a step, counted from 0: (B, L + 1) int32. */
  async batch(step: number): Promise<Int32Array> {
    const { length, batch } = this.options
    const out = new Int32Array(batch * (length + 1))
    await Promise.all(
      Array.from({ length: batch }, async (_, row) => {
        const window = await this.tokens.read(this.windowStart(step * batch + row), length + 1)
        out.set(window, row * (length + 1))
      }),
    )
    return out
  }

  /** Where window number `index`, counted over all epochs, begins. */
  private windowStart(index: number): number {
    const { seed, length } = this.options
    const epoch = Math.floor(index / this.windowsPerEpoch)
    const phase = uniformInteger(this.phases, seed, epoch)
    return phase + length * permutation(index % this.windowsPerEpoch, this.windowsPerEpoch, seed, epoch)
  }
}

export interface EvaluationBatch {
  /** (batch, length + 1) int32. */
  readonly tokens: Int32Array
  readonly batch: number
  readonly length: number
}

/**
 * Adjacent windows from the start of the text, of which each begins with the last token of the one before: every token
 * but the first is predicted once. The last batches may hold fewer and then one shorter window. `limit` ends after about
 * that many predicted tokens. Throws DataError where there are fewer than 2 tokens.
 */
export async function* evaluationBatches(
  tokens: TokenSource,
  options: WindowOptions & { readonly limit?: number },
): AsyncGenerator<EvaluationBatch> {
  const { length, batch, limit = Number.POSITIVE_INFINITY } = options
  assertLongEnough(tokens, 1)
  const predicted = Math.min(tokens.length - 1, limit)
  const whole = Math.floor(predicted / length)
  for (let first = 0; first < whole; first += batch) {
    const rows = Math.min(batch, whole - first)
    const out = new Int32Array(rows * (length + 1))
    const text = await tokens.read(first * length, rows * length + 1)
    for (let row = 0; row < rows; row++) {
      out.set(text.subarray(row * length, (row + 1) * length + 1), row * (length + 1))
    }
    yield { tokens: out, batch: rows, length }
  }
  const rest = predicted - whole * length
  if (rest > 0) yield { tokens: await tokens.read(whole * length, rest + 1), batch: 1, length: rest }
}

function assertLongEnough(tokens: TokenSource, length: number): void {
  if (tokens.length > length) return
  const detail = `holds ${tokens.length} tokens, too few for a window of ${length + 1}`
  throw new DataError(tokens.name, `${detail}; give more text or choose a shorter window`)
}
