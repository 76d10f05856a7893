// Draws a plot of an experiment by Observable Plot, as SVG and, where a rasteriser is installed, as PNG. The packages are
// optional ones, loaded when a report is written. Node only.
import { MambakitError } from '../errors.js'
import type { PlotSpec } from './experiment.js'

/** One line of a plot: a method, and for each seed its points. */
export interface PlotLine {
  readonly label: string
  readonly seeds: readonly (readonly (readonly [x: number, y: number])[])[]
}

interface Point {
  readonly x: number
  readonly y: number
  readonly line: string
  readonly trace: string
}

/** A plot's package is not installed; the message says which and what to do. */
export class MissingPlotPackage extends MambakitError {}

async function load<T>(name: string, importing: () => Promise<T>): Promise<T> {
  try {
    return await importing()
  } catch (error) {
    throw new MissingPlotPackage(
      `plots need the package ${name}, which could not be loaded (${(error as Error).message.split('\n')[0]}); npm install ${name}`,
    )
  }
}

/** The SVG text. Thin lines are seeds, thick ones their mean where seeds share their x. */
export async function drawPlot(plot: PlotSpec, lines: readonly PlotLine[]): Promise<string> {
  const [Plot, { parseHTML }] = await Promise.all([
    load('@observablehq/plot', () => import('@observablehq/plot')),
    load('linkedom', () => import('linkedom')),
  ])
  const { document } = parseHTML('<html><body></body></html>')
  const traces = lines.flatMap(({ label, seeds }) =>
    seeds.flatMap((points, s) => points.map(([x, y]): Point => ({ x, y, line: label, trace: `${label} ${s}` }))),
  )
  const means = lines.flatMap(({ label, seeds }) => meanLine(seeds).map(([x, y]) => ({ x, y, line: label })))
  const domain =
    plot.y.domain ?? extent([...traces.map(({ y }) => y), ...(plot.marks ?? []).flatMap(({ y }) => y ?? [])])
  const ends = lines.flatMap(({ label }) => means.filter((point) => point.line === label).slice(-1))
  const labels = spread(ends, domain, plot.y.log ?? false)
  const marked = means.length <= 120
  const across = plot.marks ?? []
  const svg = Plot.plot({
    document: document as unknown as Document,
    width: 720,
    height: 400,
    marginLeft: 60,
    marginRight: 190,
    style: { fontSize: '12px', fontFamily: 'sans-serif', color: '#1b1b1b' },
    x: {
      label: plot.x.label,
      type: plot.x.log ? 'log' : 'linear',
      ...(plot.x.log && { base: 2, tickFormat: shortNumber }),
    },
    y: {
      label: plot.y.label,
      type: plot.y.log ? 'log' : 'linear',
      ...(plot.y.log && { tickFormat: roundNumber }),
      grid: true,
      domain: [...domain],
    },
    color: { domain: lines.map(({ label }) => label), scheme: 'observable10' },
    marks: [
      Plot.ruleY(
        across.filter(({ y }) => y !== undefined),
        { y: 'y', strokeDasharray: '4', stroke: '#888' },
      ),
      Plot.ruleX(
        across.filter(({ x }) => x !== undefined),
        { x: 'x', strokeDasharray: '4', stroke: '#888' },
      ),
      Plot.text(
        across.filter(({ y }) => y !== undefined),
        { y: 'y', text: 'label', frameAnchor: 'right', dy: -7, fill: '#666' },
      ),
      Plot.text(
        across.filter(({ x }) => x !== undefined),
        { x: 'x', text: 'label', frameAnchor: 'top', dx: 4, textAnchor: 'start', fill: '#666' },
      ),
      Plot.lineY(traces, { x: 'x', y: 'y', z: 'trace', stroke: 'line', strokeWidth: 1, strokeOpacity: 0.35 }),
      Plot.lineY(means, {
        x: 'x',
        y: 'y',
        z: 'line',
        stroke: 'line',
        strokeWidth: 2,
        ...(marked && { marker: 'dot' as const }),
      }),
      Plot.text(labels, { y: 'y', text: 'line', fill: 'line', frameAnchor: 'right', textAnchor: 'start', dx: 10 }),
    ],
  })
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
  svg.setAttribute('role', 'img')
  svg.setAttribute('aria-label', plot.title)
  return svg.outerHTML
}

/** The mean over seeds at each x that all of them have; the points of the only seed as they are. */
function meanLine(seeds: PlotLine['seeds']): (readonly [number, number])[] {
  const [first, ...others] = seeds
  if (!first) return []
  const lookups = others.map((points) => new Map(points.map(([x, y]) => [x, y])))
  return first
    .filter(([x]) => lookups.every((lookup) => lookup.has(x)))
    .map(([x, y]) => [x, lookups.reduce((sum, lookup) => sum + lookup.get(x)!, y) / seeds.length])
}

function extent(values: readonly number[]): readonly [number, number] {
  return [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))]
}

/** Names at the height of their line's end, moved apart where they would overlap. */
function spread<P extends { readonly y: number }>(
  ends: readonly P[],
  [low, high]: readonly [number, number],
  log: boolean,
): P[] {
  const forth = (y: number) => (log ? Math.log(y / low) / Math.log(high / low) : (y - low) / (high - low || 1))
  const back = (place: number) => (log ? low * (high / low) ** place : low + place * (high - low))
  const gap = 0.055
  const sorted = [...ends].sort((a, b) => a.y - b.y)
  const top = 1 - gap * (sorted.length - 1)
  let least = 0
  return sorted.map((end, i) => {
    const place = Math.max(least, Math.min(forth(end.y), top + gap * i))
    least = place + gap
    return { ...end, y: back(place) }
  })
}

/** 64, 4k, 1M. */
function shortNumber(value: number): string {
  const [scaled, unit] =
    value >= 2 ** 20 ? [value / 2 ** 20, 'M'] : value >= 2 ** 10 ? [value / 2 ** 10, 'k'] : [value, '']
  return Number.isInteger(scaled) ? `${scaled}${unit}` : ''
}

/** 0.2, 0.5, 1, 10; nothing for what lies between. */
function roundNumber(value: number): string {
  const digit = Number(value.toExponential()[0])
  return [1, 2, 5].includes(digit) ? `${Number(value.toPrecision(1))}` : ''
}

/** The PNG of an SVG at twice its size, on white. */
export async function rasterize(svg: string): Promise<Uint8Array> {
  const { Resvg } = await load('@resvg/resvg-js', () => import('@resvg/resvg-js'))
  const font = { loadSystemFonts: true, defaultFontFamily: 'DejaVu Sans', sansSerifFamily: 'DejaVu Sans' }
  return new Resvg(svg, { background: 'white', fitTo: { mode: 'zoom', value: 2 }, font }).render().asPng()
}
