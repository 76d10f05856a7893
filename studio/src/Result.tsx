// What runs here and what was measured: claim, measured values, interval with its plot, verdict.
import type { Entry } from '../../src/papers/entry.js'
import type { PaperCriterion, PaperResult } from '../../src/papers/state.js'

export function Result({ entry: { state, result } }: { entry: Entry }) {
  return (
    <section>
      <h2>Here</h2>
      {state === 'planned' && <p>Planned: nothing of this paper runs here yet.</p>}
      {state === 'implemented' && <p>The model runs here. Its claim has not been measured yet.</p>}
      {result && <Measured result={result} />}
    </section>
  )
}

function Measured({ result }: { result: PaperResult }) {
  const { claim, verdict, measurements = {}, interval, threshold = 0, seeds, command, commit, date } = result
  const rows = Object.entries(measurements)
  const criteria = new Map(result.criteria?.map((criterion) => [criterion.name, criterion]))
  const headline = result.criteria?.find((criterion) => interval && isAbout(interval, criterion.interval))
  return (
    <>
      <p class="verdict">
        <strong class={verdict.replace(' ', '-')}>{verdict[0].toUpperCase() + verdict.slice(1)}</strong>
        {claim ? `: ${claim}` : ''}
      </p>
      {rows.length > 0 && (
        <table>
          <thead>
            <tr>
              <th scope="col">Measured</th>
              <th scope="col">Value</th>
              {criteria.size > 0 && <th scope="col">Claim</th>}
            </tr>
          </thead>
          <tbody>
            {rows.map(([name, value]) => (
              <Measurement key={name} name={name} value={value} criterion={criteria.get(name)} />
            ))}
          </tbody>
        </table>
      )}
      {interval && (
        <IntervalPlot
          interval={interval}
          threshold={threshold}
          of={headline ? headline.name : 'Advantage over the baseline'}
        />
      )}
      <p class="run">
        <code>{command}</code>
        <span>
          {seeds.length === 1 ? 'one seed' : `${seeds.length} seeds`}, commit {commit.slice(0, 7)}
          {date ? `, ${date}` : ''}
        </span>
      </p>
    </>
  )
}

/** The interval of the advantage is that of its criterion, turned round where lower is better. */
const isAbout = ([low, high]: readonly [number, number], [from, to]: readonly [number, number]) =>
  (low === from && high === to) || (low === -to && high === -from)

interface MeasurementProps {
  readonly name: string
  readonly value: number
  readonly criterion?: PaperCriterion
}

/** One measured value, and where the claim asks something of it, its interval and whether that holds. */
function Measurement({ name, value, criterion }: MeasurementProps) {
  return (
    <tr>
      <th scope="row">
        {name}
        {criterion && (
          <small>
            {criterion.claimed}
            {criterion.decides ? '' : ' (beside the claim)'}
          </small>
        )}
      </th>
      <td>
        {criterion?.measured ?? shown(value)}
        {criterion && <small>{criterion.range}</small>}
      </td>
      {criterion && (
        <td>
          <span class={`state ${criterion.state}`}>{criterion.state}</span>
        </td>
      )}
    </tr>
  )
}

const shown = (value: number, digits = 4) =>
  Math.abs(value) >= 1e5 ? value.toExponential(digits - 1) : `${Number(value.toPrecision(digits))}`

/** The interval on an axis, beside the advantage that the claim needs. */
function IntervalPlot({
  interval: [low, high],
  threshold,
  of,
}: {
  interval: readonly [number, number]
  threshold: number
  /** What is measured. */
  of: string
}) {
  const width = 480
  const edge = 28
  const least = Math.min(0, low, threshold)
  const most = Math.max(0, high, threshold)
  const span = most - least || 1
  const at = (value: number) => edge + ((value - least) / span) * (width - 2 * edge)
  const needed = threshold === 0 ? 'no advantage' : `needed: ${shown(threshold)}`
  const label = `${of}: 95 % interval from ${shown(low)} to ${shown(high)}; ${
    threshold === 0 ? 'zero is no advantage' : `the claim needs ${shown(threshold)}`
  }`
  return (
    <figure>
      <svg viewBox={`0 0 ${width} 84`} role="img" aria-label={label}>
        <line class="axis" x1={edge} x2={width - edge} y1="44" y2="44" />
        <line class="needed" x1={at(threshold)} x2={at(threshold)} y1="22" y2="58" />
        <text x={at(threshold)} y="14" text-anchor={anchor(at(threshold), width)}>
          {needed}
        </text>
        <line class="interval" x1={at(low)} x2={at(high)} y1="44" y2="44" />
        <path class="ends" d={`M${at(low)} 38v12M${at(high)} 38v12`} />
        <text x={at(low)} y="74" text-anchor={at(high) - at(low) < 70 ? 'end' : 'middle'}>
          {shown(low)}
        </text>
        <text x={at(high)} y="74" text-anchor={at(high) - at(low) < 70 ? 'start' : 'middle'}>
          {shown(high)}
        </text>
      </svg>
      <figcaption>{of}, paired 95 % interval</figcaption>
    </figure>
  )
}

const anchor = (x: number, width: number) => (x < width / 5 ? 'start' : x > (width * 4) / 5 ? 'end' : 'middle')
