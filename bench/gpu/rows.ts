// What the GPU bench measures, as rows of one Markdown table.
export interface Row {
  readonly what: string
  readonly milliseconds: number
  /** What follows from the time, such as 24.4 TFLOP/s. */
  readonly rate?: { readonly value: number; readonly unit: string }
  /** What issue or peer it is held against, in words. */
  readonly target?: string
  /** The official implementation's figure, by its name and field in the file of `--peers`. A field in ms is held against the
   * time, any other against the rate. */
  readonly peer?: readonly [name: string, field: string]
  /** The time where only what a stock browser offers is used. */
  readonly stockMilliseconds?: number
  /** Lines beneath, for people. */
  readonly detail?: readonly string[]
}

/** The figures of the official implementations: name, field, value. */
export type Peers = Readonly<Record<string, Readonly<Record<string, number>>>>

export function formatRows(rows: readonly Row[], peers: Peers = {}): string[] {
  const cells = [
    ['what', 'ms', 'rate', 'official, ours of it', 'target', 'stock browser, ms'],
    ['---', '---:', '---:', '---:', '---:', '---:'],
    ...rows.map((row) => [
      row.what,
      formatNumber(row.milliseconds),
      row.rate ? `${formatNumber(row.rate.value)} ${row.rate.unit}` : '',
      besidePeer(row, peers),
      row.target ?? '',
      row.stockMilliseconds === undefined ? '' : formatNumber(row.stockMilliseconds),
    ]),
  ]
  return cells.map((line) => `| ${line.join(' | ')} |`)
}

/** '1.17 ms, 0.31', or nothing where the file of the peers has no such figure. */
function besidePeer({ milliseconds, rate, peer: [name, field] = ['', ''] }: Row, peers: Peers): string {
  const theirs = peers[name]?.[field]
  if (theirs === undefined) return ''
  const timed = field.endsWith('ms')
  const ours = timed ? milliseconds : rate!.value
  return `${formatNumber(theirs)} ${timed ? 'ms' : rate!.unit}, ${(ours / theirs).toFixed(2)}`
}

const formatNumber = (value: number): string =>
  value >= 1000 ? Math.round(value).toLocaleString('en') : value.toPrecision(3)

/** The rows with the times of a second run of them. */
export function withStock(rows: readonly Row[], stock: readonly Row[]): Row[] {
  const times = new Map(stock.map(({ what, milliseconds }) => [what, milliseconds]))
  return rows.map((row) => ({ ...row, stockMilliseconds: times.get(row.what) }))
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[sorted.length >> 1]
}
