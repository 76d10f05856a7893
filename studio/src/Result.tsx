// What runs here and what was measured: claim, measured values, interval with its plot, verdict.
import type { Entry } from '../../src/papers/entry.js'
import type { PaperResult } from '../../src/papers/state.js'

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
            </tr>
          </thead>
          <tbody>
            {rows.map(([name, value]) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td>{shown(value)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {interval && <IntervalPlot interval={interval} threshold={threshold} />}
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

const shown = (value: number) => (Math.abs(value) >= 1e5 ? value.toExponential(3) : `${Number(value.toPrecision(4))}`)

/** The interval on an axis, beside the advantage that the claim needs. */
function IntervalPlot({
  interval: [low, high],
  threshold,
}: {
  interval: readonly [number, number]
  threshold: number
}) {
  const width = 480
  const edge = 28
  const least = Math.min(0, low, threshold)
  const most = Math.max(0, high, threshold)
  const span = most - least || 1
  const at = (value: number) => edge + ((value - least) / span) * (width - 2 * edge)
  const needed = threshold === 0 ? 'no advantage' : `needed: ${shown(threshold)}`
  const label = `Advantage over the baseline: 95 % interval from ${shown(low)} to ${shown(high)}; ${
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
      <figcaption>Advantage over the baseline, paired 95 % interval</figcaption>
    </figure>
  )
}

const anchor = (x: number, width: number) => (x < width / 5 ? 'start' : x > (width * 4) / 5 ? 'end' : 'middle')
