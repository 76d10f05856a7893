// Part 2: the time of the scans alone, skipping and of every position, on the map of the first stage. Nothing is trained.
import type { Measured, Part, UnitContext } from '../../experiments/experiment.js'
import { scanPath } from '../../ssm/scan-paths.js'
import { scan2d } from '../../ssm/scan2d.js'
import { neg, noGrad, normal, RandomStream, scope, slice, type Tensor, uniform, zeros } from '../../tensor/index.js'

/** E, N and the side of the map. */
const [inner, states, side] = [32, 4, 16]

/** A scan of four directions on random inputs, of `steps` steps each. */
function scanOf(pattern: 'skip' | 'cross', { backend, seed, sizes }: UnitContext): () => Tensor {
  const options = { backend, stream: new RandomStream(seed) }
  const path = scanPath(pattern, side, side)
  const { steps } = path
  const map = normal([sizes.batch, side, side, inner], 0, 1, options)
  const maps = () => normal([sizes.batch, steps, 4, states], 0, 1, options)
  const parameters = {
    delta: normal([sizes.batch, steps, 4 * inner], 0, 1, options),
    A: neg(uniform([4 * inner, states], 0.05, 4, options)),
    ...{ B: maps(), C: maps() },
    D: zeros([4 * inner], { backend }),
    deltaBias: zeros([4 * inner], { backend }),
  }
  return () => scan2d(map, parameters, path, { byStep: pattern === 'skip' })
}

async function measure(context: UnitContext): Promise<Measured> {
  const { method, sizes, progress } = context
  const scans = { own: scanOf(method === 'dense' ? 'cross' : 'skip', context), dense: scanOf('cross', context) }
  const seconds = { own: [] as number[], dense: [] as number[] }
  // The first rounds warm up.
  for (let round = -sizes.unmeasured; round < sizes.rounds; round++) {
    progress(`round ${Math.max(0, round + 1)} of ${sizes.rounds}`, Math.max(0, round + 1) / sizes.rounds)
    for (const name of ['own', 'dense'] as const) {
      const started = performance.now()
      const out = noGrad(() => {
        // One after another, as in a network: to wake threads for each would take long beside a scan.
        for (let call = 1; call < sizes.calls; call++) scope(() => void scans[name]())
        // Of the last result one image is read, which waits for the rest: copying all of it would take long too.
        return scope(() => slice(scans[name](), 0, 0, 1))
      })
      await out.data()
      if (round >= 0) seconds[name].push((performance.now() - started) / 1000)
      out.dispose()
    }
  }
  return { numbers: {}, items: { share: seconds.own.map((time, i) => time / seconds.dense[i]) }, series: {} }
}

export const scanPart: Part = {
  name: 'scan',
  title: 'Time of the scans',
  version: 3,
  timed: true,
  seeds: 1,
  sizes: {
    quick: { batch: 8, calls: 2, unmeasured: 1, rounds: 5 },
    default: { batch: 64, calls: 20, unmeasured: 10, rounds: 50 },
    full: { batch: 64, calls: 20, unmeasured: 10, rounds: 50 },
  },
  methods: {
    efficient: { label: 'scans that skip', tuned: {}, grid: [], seconds: 5 },
    dense: { label: 'scans of every position', tuned: {}, grid: [], seconds: 5 },
  },
  standIns: { efficient: 'dense' },
  criteria: [
    {
      name: 'share',
      statement: 'time of the scans that skip, of that of scans of every position',
      metric: 'share',
      method: 'efficient',
      better: 'lower',
      expected: 0.3,
      failure: 0.4,
      statistic: 'median',
      digits: 2,
    },
  ],
  plots: [],
  measure,
}
