// The progress of an experiment: which unit of how many, what it is doing, the time left. One line redrawn on a terminal,
// a plain line now and then in a log.
import type { UnitProgress } from '../experiments/runner.node.js'
import { formatDuration } from './progress.js'

export interface ExperimentProgress {
  update(progress: UnitProgress): void
  /** Clears the line. */
  end(): void
}

export interface ExperimentProgressOptions {
  readonly stream?: { write(text: string): unknown; readonly isTTY?: boolean; readonly columns?: number }
  /** Milliseconds; replaceable for tests. */
  readonly now?: () => number
}

const clear = '\r\x1b[2K'

export function experimentProgress(options: ExperimentProgressOptions = {}): ExperimentProgress {
  const { stream = process.stderr, now = Date.now } = options
  const pause = stream.isTTY ? 100 : 10_000
  let shown = Number.NEGATIVE_INFINITY
  let unit = 0
  return {
    update(progress) {
      if (progress.cached) return
      // Every unit is named once, also in a log.
      if (now() - shown < pause && progress.unit === unit) return
      shown = now()
      unit = progress.unit
      const line = progressLine(progress)
      stream.write(stream.isTTY ? clear + line.slice(0, (stream.columns ?? 80) - 1) : `${line}\n`)
    },
    end() {
      if (stream.isTTY) stream.write(clear)
    },
  }
}

function progressLine({ part, method, seed, unit, units, what, secondsLeft }: UnitProgress): string {
  const left = secondsLeft === null ? '' : `  about ${formatDuration(secondsLeft)} left`
  return `${unit}/${units} ${part}, ${method}, seed ${seed}: ${what}${left}`
}
