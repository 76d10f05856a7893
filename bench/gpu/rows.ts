// What the GPU bench measures, as rows of one Markdown table.
export interface Row {
  readonly what: string
  readonly milliseconds: number
  /** A rate that follows from the time, such as '24.4 TFLOP/s'. */
  readonly rate?: string
  /** What issue or peer it is held against, in milliseconds or in words. */
  readonly target?: string
  /** Lines beneath, for people. */
  readonly detail?: readonly string[]
}

export function formatRows(rows: readonly Row[]): string[] {
  return [
    '| what | ms | rate | target |',
    '| --- | ---: | ---: | ---: |',
    ...rows.map(
      ({ what, milliseconds, rate, target }) =>
        `| ${what} | ${milliseconds.toPrecision(3)} | ${rate ?? ''} | ${target ?? ''} |`,
    ),
  ]
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[sorted.length >> 1]
}
