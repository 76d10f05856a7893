// What image models do to maps beside convolutions: norms, pooling, resizing. They do little arithmetic, so a plain copy of
// the bytes that they must move is their limit; PyTorch's functions on channels-last maps where torch can be imported.
import { launch, unaryFunctions } from '../src/backend/kernels.js'
import type { Operand } from '../src/backend/types.js'
import type { Bench, Devices } from './devices.js'
import { type Contender, medianOf, ratio, takeTurns } from './measure.js'
import { PythonPeer } from './python.js'
import type { PeerFacts, Section } from './report.js'

interface Shape {
  readonly batch: number
  readonly side: number
  readonly channels: number
}

/** A contender, and the elements that it must read and write. */
interface Moved {
  readonly contender: Contender
  readonly elements: number
}

/** A table of taps along one axis: position i of m reads `taps` positions from floor(i n / m) on. */
function table(bench: Bench, n: number, m: number, taps: number): { index: Operand; weight: Operand } {
  const [index, weight] = [bench.empty([m, taps], 'int32'), bench.empty([m, taps])]
  const first = (i: number) => Math.min(n - taps, Math.floor((i * n) / m))
  const indices = Int32Array.from({ length: m * taps }, (_, at) => first(Math.floor(at / taps)) + (at % taps))
  const weights = new Float32Array(m * taps).fill(1 / taps)
  bench.backend.upload(index.buffer, 0, new Uint8Array(indices.buffer))
  bench.backend.upload(weight.buffer, 0, new Uint8Array(weights.buffer))
  return { index, weight }
}

function ours(bench: Bench, { batch, side, channels }: Shape, calls: number): ReadonlyMap<string, Moved> {
  const { backend } = bench
  const positions = batch * side * side
  const map = (count = positions) => bench.uniform([1, count, channels])
  const [input, gradOut, out] = [map(), map(), map()]
  const vector = () => bench.uniform([1, channels], 0.5, 1)
  const statistics = { mean: vector(), variance: vector() }
  const parameters = { weight: bench.uniform([channels]), bias: bench.uniform([channels]) }
  const gradients = { gradIn: out, gradWeight: bench.empty([channels]), gradBias: bench.empty([channels]) }
  const numbers = { eps: 1e-5 }
  const whole = positions * channels
  const moved = (name: string, elements: number, enqueue: () => void): [string, Moved] => [
    name,
    { contender: bench.contender(name, calls, enqueue), elements },
  ]
  // Twice the size along rows: (B, h, w C) -> (B, 2 h, w C).
  const rows = (operand: Operand, height: number): Operand => ({
    ...operand,
    shape: [batch, height, side * channels],
    strides: [height * side * channels, side * channels, 1],
  })
  const [taller, shorter] = [map(2 * positions), map(positions / 2)]
  const [up, window] = [table(bench, side, 2 * side, 2), table(bench, side, side / 2, 3)]
  const winner = rows(bench.empty([positions / 2, channels], 'int32'), side / 2)
  const affine = { function: unaryFunctions.indexOf('affine'), alpha: 1.5, beta: 0 }
  return new Map([
    moved('copy', 2 * whole, () => launch(backend, 'unary', { input, out }, affine)),
    moved('batch norm, training', 3 * whole, () => {
      launch(backend, 'groupStatistics', { input, ...statistics }, {})
      launch(backend, 'groupNorm', { input, ...statistics, ...parameters, out }, numbers)
    }),
    moved('batch norm, evaluation', 2 * whole, () =>
      launch(backend, 'groupNorm', { input, ...statistics, ...parameters, out }, numbers),
    ),
    moved('batch norm, gradient', 5 * whole, () =>
      launch(
        backend,
        'groupNormGrad',
        { input, ...statistics, weight: parameters.weight, gradOut, ...gradients },
        { ...numbers, fixed: 0 },
      ),
    ),
    moved('linear resizing of one axis', 3 * whole, () =>
      launch(backend, 'resample', { input: rows(input, side), ...up, out: rows(taller, 2 * side) }, {}),
    ),
    moved('maximum of 3 along one axis', 2 * whole, () => {
      const views = { input: rows(input, side), out: rows(shorter, side / 2) }
      launch(backend, 'maxPool', { ...views, index: window.index, winner }, {})
    }),
  ])
}

const script = `
threads = int(os.environ['OMP_NUM_THREADS'])
torch.set_num_threads(threads)
facts = {'version': torch.__version__, 'threads': threads, 'path': 'channels last'}
data = {}
def answer(kind, batch, side, channels, calls):
    x = data.setdefault((batch, side, channels), torch.randn(batch, channels, side, side).contiguous(memory_format=torch.channels_last))
    norm = torch.nn.BatchNorm2d(channels)
    if kind == 'batch norm, evaluation': norm.eval()
    with torch.no_grad(): return timed(lambda: norm(x), calls)
`
const beside = ['batch norm, training', 'batch norm, evaluation']

export async function benchMaps({ all, one }: Devices, quick: boolean): Promise<Section> {
  const shape: Shape = quick ? { batch: 1, side: 8, channels: 24 } : { batch: 16, side: 56, channels: 96 }
  const calls = quick ? 1 : 4
  const { threads } = all.backend
  const started = await PythonPeer.start<Omit<PeerFacts, 'name' | 'expected'>>('os, torch', script, threads)
  try {
    const kernels = ours(all, shape, calls)
    const peers = started
      ? beside.map((kind) => ({
          name: `PyTorch ${kind}`,
          run: () => started.peer.ask({ kind, ...shape, calls }),
        }))
      : []
    const taken = await takeTurns([...[...kernels.values()].map(({ contender }) => contender), ...peers], quick ? 2 : 9)
    const copied = kernels.get('copy')!.elements
    const ratios = [...kernels]
      .filter(([name]) => name !== 'copy')
      .map(([name, { elements }]) => ({
        name: `${name}, of a copy's rate`,
        value: (ratio(taken, 'copy', name) * elements) / copied,
        unit: 'percent' as const,
      }))
    const times = (started ? beside : []).map((name) => ({
      name: `${name}, speed of PyTorch`,
      value: ratio(taken, `PyTorch ${name}`, name),
      unit: 'times' as const,
    }))
    const measurements = [...kernels].map(([name, { elements }]) => ({
      name,
      value: (4 * elements) / medianOf(taken, name) / 1e9,
      unit: 'GB/s',
    }))
    const remarks = [
      ...(started ? [] : ['no Python can import torch: no comparison with PyTorch']),
      ...(quick ? ['sizes of --quick say nothing about speed'] : []),
    ]
    return {
      title: `maps of ${shape.batch} x ${shape.side} x ${shape.side} x ${shape.channels}`,
      ratios: [...ratios, ...times],
      measurements,
      peers: started ? [{ name: 'PyTorch', expected: 'no figure recorded', ...started.facts }] : [],
      remarks,
    }
  } finally {
    started?.peer.close()
    one.clear()
    all.clear()
  }
}
