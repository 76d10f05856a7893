// The report of an experiment: Markdown with tables and plots under runs/<slug>, for people. Node only.
import { mkdir, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Criterion, PlotSpec } from './experiment.js'
import { drawPlot, MissingPlotPackage, type PlotLine, rasterize } from './plots.node.js'
import type { JudgedCriterion, MethodOutcome, Outcome, PartOutcome, SweepRow } from './runner.node.js'

const words = { holds: 'holds', fails: 'fails', open: 'open' } as const

/** A value of a criterion's metric with its unit. */
export function formatValue(value: number, { factor = 1, unit = '', digits = 3 }: Criterion): string {
  return `${(value * factor).toFixed(digits)}${unit && ` ${unit}`}`
}

/** What a criterion asks for, and where it fails. */
export function formatLimits(criterion: Criterion): string {
  const { better, expected, failure } = criterion
  const sign = better === 'higher' ? '≥' : '≤'
  const fails =
    failure === undefined || failure === expected
      ? ''
      : `, fails ${better === 'higher' ? '<' : '>'} ${formatValue(failure, criterion)}`
  return `${sign} ${formatValue(expected, criterion)}${fails}`
}

/** '4.8 points' and '2.7 to 7.3'. */
export function formatMeasured({ criterion, interval }: JudgedCriterion): { measured: string; range: string } {
  const [low, high] = [interval.low, interval.high].map((end) => formatValue(end, { ...criterion, unit: '' }))
  return { measured: formatValue(interval.mean, criterion), range: `${low} to ${high}` }
}

/** One row a criterion: statement, measured, interval, what it has to be, and whether it holds. */
export function criterionRow(judged: JudgedCriterion): string[] {
  const { criterion, state } = judged
  const { measured, range } = formatMeasured(judged)
  return [
    criterion.statement,
    measured,
    range,
    formatLimits(criterion),
    words[state] + (criterion.decides === false ? ' (beside the claim)' : ''),
  ]
}

/** 'not reproduced', with what is to be said about how sure that is. */
export function verdictWords(outcome: Pick<Outcome, 'verdict' | 'scale' | 'seeds' | 'null' | 'partial'>): string {
  const remarks = [
    outcome.verdict === 'smoke' ? 'nothing is decided at this size' : null,
    outcome.verdict !== 'smoke' && outcome.seeds.length < 3 ? 'provisional: fewer than 3 seeds' : null,
    outcome.null ? 'null: a baseline stands in the place of the method' : null,
    outcome.partial ? 'only some parts' : null,
  ].filter((remark) => remark !== null)
  return outcome.verdict + (remarks.length > 0 ? ` (${remarks.join('; ')})` : '')
}

/** Writes report.md and its plots, or in a plot's place which package it lacks; returns the path of the report. */
export async function writeReport(outcome: Outcome, folder: string, command: string): Promise<string> {
  await mkdir(folder, { recursive: true })
  const sections: string[] = []
  for (const part of outcome.parts) sections.push(await partSection(part, folder))
  const { experiment, seeds, scale, devices, seconds, cpuSeconds } = outcome
  const text = [
    `# ${experiment.slug}: ${verdictWords(outcome)}`,
    experiment.claim,
    `Measured by \`${command}\` on ${devices.join(' and ')}, scale ${scale}, seeds ${seeds.join(', ')}: ${minutes(seconds)} (${minutes(cpuSeconds)} of processor time), units of earlier runs included.`,
    ...sections,
    '## Notes',
    ...experiment.notes.map((note) => `- ${note}`),
    `Intervals are paired 95 % bootstrap intervals over seeds and test items. A criterion holds where its whole interval is on the better side of what is claimed, and fails where it is on the worse side of the limit of failure.`,
  ].join('\n\n')
  const path = join(folder, 'report.md')
  await writeFile(path, `${text}\n`)
  return path
}

const minutes = (seconds: number) => (seconds < 90 ? `${seconds.toFixed(0)} s` : `${(seconds / 60).toFixed(1)} min`)

async function partSection({ part, sizes, methods, criteria, state }: PartOutcome, folder: string): Promise<string> {
  const plots: string[] = []
  for (const plot of part.plots) {
    const lines = methods
      .map(({ label, units }) => ({
        label,
        seeds: units.flatMap(({ measured }) => measured.series[plot.series] ?? []).length
          ? units.map(({ measured }) => measured.series[plot.series] ?? [])
          : [],
      }))
      .filter(({ seeds }) => seeds.length > 0)
    if (lines.length === 0) continue
    plots.push(await plotImage(plot, lines, join(folder, `${part.name}-${plot.name}`)))
  }
  return [
    `## ${part.title}: ${state}`,
    `Sizes: ${settingsText(sizes)}.`,
    markdownTable(['criterion', 'measured', '95 % interval', 'claimed', ''], criteria.map(criterionRow)),
    markdownTable(
      ['method', 'settings', ...numberNames(methods)],
      methods.map((method) => methodRow(method, numberNames(methods))),
    ),
    ...plots,
  ].join('\n\n')
}

/** The Markdown of a plot, written to `path`.svg and .png. Hours of measuring do not fail for a missing package. */
async function plotImage(plot: PlotSpec, lines: readonly PlotLine[], path: string): Promise<string> {
  let image = `${plot.title}:`
  try {
    const svg = await drawPlot(plot, lines)
    await writeFile(`${path}.svg`, svg)
    image = `![${plot.title}](${basename(path)}.svg)`
    await writeFile(`${path}.png`, await rasterize(svg))
    return image
  } catch (error) {
    if (!(error instanceof MissingPlotPackage)) throw error
    return `${image} ${error.message}`
  }
}

function numberNames(methods: readonly MethodOutcome[]): string[] {
  return [...new Set(methods.flatMap(({ units }) => units.flatMap(({ measured }) => Object.keys(measured.numbers))))]
}

function methodRow({ label, settings, units }: MethodOutcome, names: readonly string[]): string[] {
  const cells = names.map((name) => {
    const values = units.flatMap(({ measured }) => (name in measured.numbers ? [measured.numbers[name]] : []))
    return values.length === 0 ? '' : spreadText(values)
  })
  return [label, settingsText(settings), ...cells]
}

/** The mean, and the range where there are several. */
function spreadText(values: readonly number[]): string {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const digits = (value: number) =>
    Number.isInteger(value) ? value.toLocaleString('en') : value.toPrecision(Math.abs(value) < 1000 ? 4 : 6)
  const [low, high] = [Math.min(...values), Math.max(...values)]
  return low === high ? digits(mean) : `${digits(mean)} (${digits(low)} to ${digits(high)})`
}

export const settingsText = (settings: Readonly<Record<string, number>>): string =>
  Object.entries(settings)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ') || '-'

function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n')
}

/** The table of a sweep as Markdown. */
export function sweepTable(rows: readonly SweepRow[]): string {
  return markdownTable(
    ['part', 'method', 'settings', 'seeds', 'value', ''],
    rows.map(({ part, method, settings, seeds, value, best, tuned }) => [
      part,
      method.label,
      settingsText(settings),
      `${seeds}`,
      value.toFixed(4),
      [best ? 'best' : '', tuned ? 'used' : ''].filter((word) => word !== '').join(', '),
    ]),
  )
}
