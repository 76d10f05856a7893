// What is shown of downloads, on stderr: a redrawn line on a terminal, else a plain line every 10 seconds.
import { formatDuration } from './progress.js'

/** Given to whatever may download; the line on the screen ends with it. */
export interface DownloadDisplay extends Disposable {
  readonly announce: (line: string) => void
  readonly onProgress: (progress: {
    readonly file: string
    readonly done: number
    readonly total: number | null
  }) => void
}

export interface DisplayOptions {
  readonly stream?: { write(text: string): unknown; readonly isTTY?: boolean }
  /** Milliseconds; replaceable for tests. */
  readonly now?: () => number
}

export function downloadDisplay({ stream = process.stderr, now = Date.now }: DisplayOptions = {}): DownloadDisplay {
  const clear = stream.isTTY ? '\r\x1b[2K' : ''
  const between = stream.isTTY ? 100 : 10_000
  let current = { file: '', began: 0, from: 0 }
  let drawn = Number.NEGATIVE_INFINITY
  let onScreen = false
  const show = (line: string) => {
    stream.write(stream.isTTY ? clear + line : `${line}\n`)
    onScreen = stream.isTTY === true
  }
  return {
    announce(line) {
      stream.write(`${onScreen ? clear : ''}mambakit: ${line}\n`)
      onScreen = false
    },
    onProgress({ file, done, total }) {
      if (file !== current.file) {
        current = { file, began: now(), from: done }
        drawn = Number.NEGATIVE_INFINITY
      }
      const ended = done === total
      if (now() - drawn < between && !ended) return
      drawn = now()
      const seconds = (now() - current.began) / 1000
      const rate = seconds > 0 ? (done - current.from) / seconds : 0
      const share = total ? `${Math.floor((100 * done) / total)} % of ${formatBytes(total)}` : formatBytes(done)
      const left = total && rate > 0 && !ended ? `  ${formatDuration((total - done) / rate)} left` : ''
      show(`${file}  ${share}${rate > 0 ? `  ${formatBytes(rate)}/s` : ''}${left}`)
    },
    [Symbol.dispose]() {
      if (onScreen) stream.write('\n')
      onScreen = false
    },
  }
}

/** 517 MB, 1.38 GB: decimal units, three digits. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  const unit = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3))
  const value = bytes / 1000 ** unit
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toPrecision(3)} ${units[unit]}`
}
