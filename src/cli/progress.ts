// The progress of a training run, in the form that the reader can use: one line redrawn on a terminal, a plain line now
// and then in a log, a JSON line a step for programs.

export interface Progress {
  /** Steps done and steps in all. */
  readonly step: number
  readonly steps: number
  readonly loss: number
  /** What is counted: tokens, images. */
  readonly unit: string
  readonly unitsPerSecond: number
}

export interface ProgressBar {
  update(progress: Progress): void
  /** Prints a line of its own without breaking the bar. */
  note(line: string): void
  /** Leaves the last state on the screen. */
  end(): void
}

export interface ProgressOptions {
  readonly json?: boolean
  /** Where the bar and plain lines go. */
  readonly stream?: { write(text: string): unknown; readonly isTTY?: boolean; readonly columns?: number }
  /** Where JSON lines go. */
  readonly out?: { write(text: string): unknown }
  /** Milliseconds; replaceable for tests. */
  readonly now?: () => number
}

/** Chooses the form: JSON lines if asked for, a redrawn line on a terminal, else a plain line every 10 seconds. */
export function progressBar(options: ProgressOptions = {}): ProgressBar {
  const { json = false, stream = process.stderr, out = process.stdout, now = Date.now } = options
  const timeLeft = timeEstimate(now)
  if (json) {
    const print = (value: object) => out.write(`${JSON.stringify(value)}\n`)
    return {
      update: (progress) => print({ event: 'step', ...progress, secondsLeft: timeLeft(progress) }),
      note: (message) => print({ event: 'note', message }),
      end() {},
    }
  }
  return stream.isTTY ? redrawnLine(stream, now, timeLeft) : plainLines(stream, now, timeLeft)
}

type TimeLeft = (progress: Progress) => number | null
type Stream = NonNullable<ProgressOptions['stream']>

function redrawnLine(stream: Stream, now: () => number, timeLeft: TimeLeft): ProgressBar {
  let latest = ''
  let drawn = Number.NEGATIVE_INFINITY
  const clear = '\r\x1b[2K'
  return {
    update(progress) {
      const tail = statusText(progress, timeLeft(progress))
      const width = stream.columns ?? 80
      // The last column stays free: some terminals wrap when it is written.
      const room = Math.min(30, width - tail.length - 4)
      const filled = Math.round((room * progress.step) / progress.steps)
      const bar = room >= 5 ? `[${'█'.repeat(filled)}${'·'.repeat(room - filled)}] ` : ''
      latest = (bar + tail).slice(0, width - 1)
      if (now() - drawn < 100 && progress.step < progress.steps) return
      drawn = now()
      stream.write(clear + latest)
    },
    note: (line) => stream.write(`${clear}${line}\n${latest}`),
    end() {
      if (latest !== '') stream.write(`${clear}${latest}\n`)
      latest = ''
    },
  }
}

function plainLines(stream: Stream, now: () => number, timeLeft: TimeLeft): ProgressBar {
  let printed = Number.NEGATIVE_INFINITY
  return {
    update(progress) {
      const left = timeLeft(progress)
      if (now() - printed < 10_000 && progress.step < progress.steps) return
      printed = now()
      stream.write(`${statusText(progress, left)}\n`)
    },
    note: (line) => stream.write(`${line}\n`),
    end() {},
  }
}

function statusText({ step, steps, loss, unit, unitsPerSecond }: Progress, secondsLeft: number | null): string {
  const left = secondsLeft === null ? '' : `  ${formatDuration(secondsLeft)} left`
  return `step ${step}/${steps}  loss ${loss.toFixed(4)}  ${formatCount(unitsPerSecond)} ${unit}/s${left}`
}

/** Seconds until the last step at the pace of the latest steps; null until there are two to measure. */
function timeEstimate(now: () => number): TimeLeft {
  // Pace over a sliding window of about a minute, so that a slow start or a pause is forgotten.
  const marks: { at: number; step: number }[] = []
  return ({ step, steps }) => {
    const at = now()
    marks.push({ at, step })
    while (marks.length > 2 && at - marks[0].at > 60_000) marks.shift()
    const done = step - marks[0].step
    return done > 0 ? ((at - marks[0].at) / 1000 / done) * (steps - step) : null
  }
}

/** 42 s, 3 min 05 s, 2 h 07 min. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  const two = (value: number) => `${value}`.padStart(2, '0')
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`
}

/** 950, 12.3k, 4.56M, with three digits. */
export function formatCount(value: number): string {
  if (value < 1000) return `${Math.round(value)}`
  const [scaled, unit] = value < 1e6 ? [value / 1e3, 'k'] : [value / 1e6, 'M']
  return `${scaled.toFixed(scaled < 10 ? 2 : scaled < 100 ? 1 : 0)}${unit}`
}
