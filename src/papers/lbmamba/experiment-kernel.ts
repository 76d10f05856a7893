// Part 3: the time of the scan alone, at a small Vim's sizes on images of 224: with windows, beside one ordinary scan and
// two of opposite directions. Nothing is trained.
import type { Measured, Part, UnitContext } from '../../experiments/experiment.js'
import { timeRatios } from '../../experiments/image-recipe.js'
import {
  backward,
  noGrad,
  normal,
  RandomStream,
  type SelectiveScanOptions,
  scope,
  selectiveScan,
  sum,
  type Tensor,
  tensor,
  zeros,
} from '../../tensor/index.js'
import { window } from './experiment-models.js'

/** L, E, N. */
const [length, inner, states] = [196, 384, 16]

/** Scans of one random input. Each gives the tensors to wait for. */
function scansOf({ method, backend, seed, sizes }: UnitContext): Readonly<Record<string, () => readonly Tensor[]>> {
  const options = { backend, stream: new RandomStream(seed) }
  const sequence = (width: number) => normal([sizes.batch, length, width], 0, 1, options)
  const spectrum = Float32Array.from({ length: inner * states }, (_, i) => -1 - (i % states))
  const [u, delta, z, B, C] = [inner, inner, inner, states, states].map(sequence)
  const A = tensor(spectrum, { shape: [inner, states], backend })
  const [D, deltaBias] = [0, 0].map(() => zeros([inner], { backend }))
  for (const leaf of [u, delta, z, B, C, A, D, deltaBias]) leaf.requiresGrad = true
  const scan = (own: SelectiveScanOptions) => () =>
    selectiveScan(u, delta, A, B, C, { D, z, deltaBias, deltaSoftplus: true, ...own }).out
  const forward = (scan: () => Tensor) => noGrad(scan)
  const both = (scan: () => Tensor) =>
    scope(() => {
      const total = sum(scan())
      backward(total)
      return total
    })
  const own = scan({ window: method === 'lb' ? window : 0 })
  const [ordinary, reversed] = [scan({}), scan({ reverse: true })]
  return {
    own: () => [forward(own)],
    ordinary: () => [forward(ordinary)],
    'both ways': () => [forward(ordinary), forward(reversed)],
    'own with gradients': () => [both(own)],
    'ordinary with gradients': () => [both(ordinary)],
  }
}

async function measure(context: UnitContext): Promise<Measured> {
  const { sizes, progress } = context
  const scans = scansOf(context)
  const seconds = Object.fromEntries(Object.keys(scans).map((name) => [name, [] as number[]]))
  // The first round warms up. The scans take turns, so that what else the machine does falls on all alike.
  for (let round = -1; round < sizes.rounds; round++) {
    progress(`round ${round + 1} of ${sizes.rounds}`, (round + 1) / (sizes.rounds + 1))
    for (const [name, scan] of Object.entries(scans)) {
      const started = performance.now()
      const outs = scan()
      for (const out of outs) await out.data()
      if (round >= 0) seconds[name].push((performance.now() - started) / 1000)
      for (const out of outs) out.dispose()
    }
  }
  return {
    numbers: {},
    items: {
      'of one': timeRatios(seconds.own, seconds.ordinary),
      'of two': timeRatios(seconds.own, seconds['both ways']),
      'of one with gradients': timeRatios(seconds['own with gradients'], seconds['ordinary with gradients']),
    },
    series: {},
  }
}

const times = { method: 'lb', better: 'lower', statistic: 'median', digits: 2 } as const

export const kernelPart: Part = {
  name: 'kernel',
  title: 'Time of the scan',
  version: 1,
  timed: true,
  seeds: 1,
  sizes: {
    quick: { batch: 1, rounds: 5 },
    default: { batch: 8, rounds: 100 },
    full: { batch: 8, rounds: 100 },
  },
  methods: {
    lb: { label: 'scan with windows', tuned: {}, grid: [], seconds: 15 },
    ordinary: { label: 'ordinary scan', tuned: {}, grid: [], seconds: 15 },
  },
  standIns: { lb: 'ordinary' },
  criteria: [
    {
      name: 'one',
      statement: 'time of the scan with windows over that of an ordinary one',
      metric: 'of one',
      expected: 1.5,
      ...times,
    },
    {
      name: 'two',
      statement: 'time of the scan with windows over that of two ordinary ones',
      metric: 'of two',
      expected: 0.8,
      ...times,
    },
    {
      name: 'gradients',
      statement: 'the first with gradients, forward and backward',
      metric: 'of one with gradients',
      expected: 1.5,
      decides: false,
      ...times,
    },
  ],
  plots: [],
  measure,
}
