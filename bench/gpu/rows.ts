// What the GPU bench measures, as rows of one Markdown table.
export interface Row {
  readonly what: string
  readonly milliseconds: number
  /** A rate that follows from the time, such as '24.4 TFLOP/s'. */
  readonly rate?: string
  /** What issue or peer it is held against, in milliseconds or in words. */
  readonly target?: string
  /** The time where only what a stock browser offers is used. */
  readonly stockMilliseconds?: number
  /** Lines beneath, for people. */
  readonly detail?: readonly string[]
}

export function formatRows(rows: readonly Row[]): string[] {
  const shown = (milliseconds?: number) => milliseconds?.toPrecision(3) ?? ''
  return [
    '| what | ms | rate | target | stock browser, ms |',
    '| --- | ---: | ---: | ---: | ---: |',
    ...rows.map(
      ({ what, milliseconds, rate, target, stockMilliseconds }) =>
        `| ${what} | ${shown(milliseconds)} | ${rate ?? ''} | ${target ?? ''} | ${shown(stockMilliseconds)} |`,
    ),
  ]
}

/** The rows with the times of a second run of them. */
export function withStock(rows: readonly Row[], stock: readonly Row[]): Row[] {
  const times = new Map(stock.map(({ what, milliseconds }) => [what, milliseconds]))
  return rows.map((row) => ({ ...row, stockMilliseconds: times.get(row.what) }))
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[sorted.length >> 1]
}
