// Tables on a terminal: columns as wide as their longest cell, one of them cut where the terminal is too narrow.

export interface Column {
  readonly title: string
  readonly align?: 'left' | 'right'
  /** This column is cut when the row does not fit. */
  readonly shrink?: boolean
}

/** The lines of a table, header first. `width` in characters; without it nothing is cut. */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly (string | number | null)[])[],
  width = Number.POSITIVE_INFINITY,
): string[] {
  const cells = [columns.map(({ title }) => title), ...rows.map((row) => row.map((cell) => `${cell ?? '-'}`))]
  const widths = columns.map((_, c) => Math.max(...cells.map((row) => [...row[c]].length)))
  const gap = 2
  const total = widths.reduce((sum, w) => sum + w, gap * (columns.length - 1))
  const shrinking = columns.findIndex(({ shrink }) => shrink)
  if (shrinking !== -1 && total > width) widths[shrinking] = Math.max(8, widths[shrinking] - (total - width))
  return cells.map((row) =>
    row
      .map((cell, c) => {
        const characters = [...cell]
        const text = characters.length > widths[c] ? `${characters.slice(0, widths[c] - 1).join('')}…` : cell
        const padding = ' '.repeat(widths[c] - [...text].length)
        return columns[c].align === 'right' ? padding + text : text + padding
      })
      .join(' '.repeat(gap))
      .trimEnd(),
  )
}

/** 1.23 GB, 45.60 MB. */
export function formatBytes(bytes: number): string {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${(bytes / 1e6).toFixed(2)} MB`
}
