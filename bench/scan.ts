// The selective scan, forward and backward, beside the most that this machine's registers allow, a plain TypeScript loop,
// and PyTorch's reference scan where torch can be imported. softplus, z, D and random A, float32.
import { launch } from '../src/backend/kernels.js'
import type { Operand } from '../src/backend/types.js'
import type { Bench, Devices } from './devices.js'
import { type Contender, medianOf, ratio, takeTurns } from './measure.js'
import { PythonPeer } from './python.js'
import type { Measurement, PeerFacts, Ratio, Section } from './report.js'

/** One sequence: L steps, D channels, N states. */
interface Shape {
  readonly L: number
  readonly D: number
  readonly N: number
}
const updates = ({ L, D, N }: Shape) => L * D * N

/** Updates/s of the limit for each flop/s of the chip's peak below which the loop is not the limit. */
const leastOfPeak = 0.035
/** The loop of the limit with powers of two as the scan takes them: by a table where vectors are 16 wide. */
const ownLimit = "limit, the scan's exponential"
/** Steps between stored states, as the tensor operation has it. */
const chunk = 64

/** A scan as it is trained: chunk states are kept, all gradients are wanted. */
function ours(bench: Bench, { L, D, N }: Shape, calls: number): Contender[] {
  const sequence = (low: number, high: number) => bench.uniform([1, L, D], low, high)
  const inputs = {
    u: sequence(-1, 1),
    delta: sequence(-3, 1),
    A: bench.uniform([D, N], -4, -0.05),
    B: bench.uniform([1, L, 1, N]),
    C: bench.uniform([1, L, 1, N]),
    D: bench.uniform([D]),
    z: sequence(-2, 2),
    deltaBias: bench.uniform([D], -1, 0),
  }
  const chunkStates = bench.empty([1, Math.ceil(L / chunk), N, D])
  const out = bench.empty([1, L, D])
  const numbers = { softplus: 1, reverse: 0, chunk, window: 0, byStep: 0 }
  const like = (x: Operand) => bench.empty(x.shape)
  const gradients = {
    gradOut: sequence(-1, 1),
    gradU: like(inputs.u),
    gradDelta: like(inputs.delta),
    gradA: like(inputs.A),
    gradB: like(inputs.B),
    gradC: like(inputs.C),
    gradD: like(inputs.D),
    gradZ: like(inputs.z),
    gradDeltaBias: like(inputs.deltaBias),
  }
  const { backend } = bench
  return [
    bench.contender('forward', calls, () => launch(backend, 'selectiveScan', { ...inputs, out, chunkStates }, numbers)),
    bench.contender('backward', calls, () =>
      launch(backend, 'selectiveScanGrad', { ...inputs, chunkStates, ...gradients }, numbers),
    ),
  ]
}

/** The scan of an image's tokens: one way, both ways, and one way with windows of 8. */
function imageScans(bench: Bench, { L, D, N }: Shape, batch: number, calls: number): Contender[] {
  const sequence = (low: number, high: number) => bench.uniform([batch, L, D], low, high)
  const inputs = {
    u: sequence(-1, 1),
    delta: sequence(-3, 1),
    A: bench.uniform([D, N], -4, -0.05),
    B: bench.uniform([batch, L, 1, N]),
    C: bench.uniform([batch, L, 1, N]),
    D: bench.uniform([D]),
    z: sequence(-2, 2),
    deltaBias: bench.uniform([D], -1, 0),
  }
  const out = bench.empty([batch, L, D])
  const scan = (reverse: number, window: number) =>
    launch(bench.backend, 'selectiveScan', { ...inputs, out }, { softplus: 1, reverse, chunk, window, byStep: 0 })
  return [
    bench.contender('one way', calls, () => scan(0, 0)),
    bench.contender('both ways', calls, () => {
      scan(0, 0)
      scan(1, 0)
    }),
    bench.contender('windows of 8', calls, () => scan(0, 8)),
  ]
}

/** The recurrence as one would write it down, one thread. */
function plainLoop(shape: Shape): Contender {
  const { L, D, N } = shape
  const draw = (count: number, low: number, high: number) =>
    Float32Array.from({ length: count }, () => low + Math.random() * (high - low))
  const [u, delta, z] = [draw(L * D, -1, 1), draw(L * D, -3, 1), draw(L * D, -2, 2)]
  const [A, B, C] = [draw(D * N, -4, -0.05), draw(L * N, -1, 1), draw(L * N, -1, 1)]
  const [skip, bias] = [draw(D, -1, 1), draw(D, -1, 0)]
  const out = new Float32Array(L * D)
  const h = new Float32Array(D * N)
  return {
    name: 'TypeScript',
    async run() {
      const start = performance.now()
      h.fill(0)
      for (let t = 0; t < L; t++)
        for (let d = 0; d < D; d++) {
          const at = t * D + d
          const dt = Math.log1p(Math.exp(delta[at] + bias[d]))
          let y = skip[d] * u[at]
          for (let n = 0; n < N; n++) {
            const state = Math.exp(dt * A[d * N + n]) * h[d * N + n] + dt * u[at] * B[t * N + n]
            h[d * N + n] = state
            y += state * C[t * N + n]
          }
          out[at] = (y * z[at]) / (1 + Math.exp(-z[at]))
        }
      return (performance.now() - start) / 1000
    },
  }
}

const script = `
threads = int(os.environ['OMP_NUM_THREADS'])
torch.set_num_threads(threads)
facts = {'version': torch.__version__, 'threads': threads, 'path': 'sequential reference'}
data = {}
def inputs(L, D, N):
    torch.manual_seed(7)
    between = lambda low, high, *shape: torch.empty(*shape).uniform_(low, high).requires_grad_()
    return dict(u=between(-1, 1, 1, L, D), delta=between(-3, 1, 1, L, D), A=between(-4, -0.05, D, N), B=between(-1, 1, 1, L, N),
                C=between(-1, 1, 1, L, N), skip=between(-1, 1, D), z=between(-2, 2, 1, L, D), bias=between(-1, 0, D))
def scan(u, delta, A, B, C, skip, z, bias):
    dt = torch.nn.functional.softplus(delta + bias)
    decay = torch.exp(dt.unsqueeze(-1) * A)
    driven = (dt * u).unsqueeze(-1) * B.unsqueeze(2)
    h, rows = torch.zeros_like(driven[:, 0]), []
    for t in range(u.shape[1]):
        h = decay[:, t] * h + driven[:, t]
        rows.append(torch.einsum('bdn,bn->bd', h, C[:, t]))
    return (torch.stack(rows, 1) + u * skip) * torch.nn.functional.silu(z)
def answer(direction, L, D, N):
    given = data.setdefault((L, D, N), inputs(L, D, N))
    if direction == 'forward':
        with torch.no_grad(): return timed(lambda: scan(**given), 1)
    total = scan(**given).sum()
    return timed(lambda: total.backward(), 1)
`

export async function benchScan({ one, all }: Devices, quick: boolean): Promise<Section> {
  const shape: Shape = quick ? { L: 128, D: 64, N: 16 } : { L: 4096, D: 1536, N: 16 }
  // Slower contenders run fewer steps; speeds are compared.
  const short: Shape = { ...shape, L: quick ? 32 : 256 }
  const tokens: Shape = quick ? { L: 20, D: 32, N: 4 } : { L: 196, D: 384, N: 16 }
  const batch = quick ? 2 : 8
  const { threads } = all.backend
  const peakWork = quick ? 1e7 : 1e9
  const limitWork = quick ? 1e6 : 5e7
  const started = await PythonPeer.start<Omit<PeerFacts, 'name' | 'expected'>>('os, torch', script, threads)
  try {
    const contenders = [
      one.limit('peak', 'benchGemmPeak', peakWork),
      all.limit('limit', 'benchScanLimit', limitWork),
      all.limit(ownLimit, 'benchScanShort', limitWork),
      ...ours(all, shape, quick ? 4 : 1),
      ...imageScans(all, tokens, batch, 4),
      plainLoop(short),
      ...(['forward', 'backward'] as const).flatMap((direction) =>
        started ? [{ name: `PyTorch ${direction}`, run: () => started.peer.ask({ direction, ...short }) }] : [],
      ),
    ]
    const taken = await takeTurns(contenders, quick ? 2 : 9)
    const speed = (name: string, count: number) => count / medianOf(taken, name)
    const limit = speed('limit', limitWork * threads)
    const ofPeak = limit / (speed('peak', peakWork) * threads)
    /** How many times as fast per update a is as b. */
    const faster = (a: string, countA: number, b: string, countB: number) => (ratio(taken, b, a) * countA) / countB
    const [long, few] = [updates(shape), updates(short)]
    const ratios: Ratio[] = [
      {
        name: 'forward, of the register-only limit',
        value: faster('forward', long, 'limit', limitWork * threads),
        unit: 'percent',
        goal: 'at least 70 %',
      },
      {
        name: "forward, of that loop with the scan's exponential",
        value: faster('forward', long, ownLimit, limitWork * threads),
        unit: 'percent',
      },
      {
        name: 'backward, time of forward',
        value: ratio(taken, 'backward', 'forward'),
        unit: 'times',
        goal: 'at most 3.5',
      },
      {
        name: 'locally bidirectional, time of one way',
        value: ratio(taken, 'windows of 8', 'one way'),
        unit: 'times',
        goal: 'at most 1.5',
      },
      {
        name: 'locally bidirectional, time of both ways',
        value: ratio(taken, 'windows of 8', 'both ways'),
        unit: 'times',
        goal: 'at most 0.8',
      },
      { name: 'forward, speed of a TypeScript loop', value: faster('forward', long, 'TypeScript', few), unit: 'times' },
      ...(started
        ? (['forward', 'backward'] as const).map((direction) => ({
            name: `${direction}, speed of PyTorch's reference`,
            value: faster(direction, long, `PyTorch ${direction}`, few),
            unit: 'times' as const,
          }))
        : []),
      {
        name: "the limit's updates for a flop of the peak",
        value: ofPeak,
        unit: 'times',
        goal: `at least ${leastOfPeak}`,
      },
    ]
    const remarks = [
      ...(ofPeak < leastOfPeak
        ? [`the register-only loop reaches ${ofPeak.toFixed(4)} updates a flop: it is not the limit`]
        : []),
      ...(started ? [] : ['no Python can import torch: no comparison with PyTorch']),
      ...(quick ? ['sizes of --quick say nothing about speed'] : []),
    ]
    const counts = new Map([
      ['limit', limitWork * threads],
      [ownLimit, limitWork * threads],
      ['forward', long],
      ['backward', long],
      ['one way', batch * updates(tokens)],
      ['both ways', 2 * batch * updates(tokens)],
      ['windows of 8', batch * updates(tokens)],
    ])
    const measurements: Measurement[] = [...taken.keys()]
      .filter((name) => name !== 'peak')
      .map((name) => ({ name, value: speed(name, counts.get(name) ?? few) / 1e9, unit: 'G updates/s' }))
    const peers = started ? [{ name: 'PyTorch', expected: 'no figure recorded', ...started.facts }] : []
    const title = `scan L=${shape.L} D=${shape.D} N=${shape.N}`
    return { title, ratios, measurements, peers, remarks }
  } finally {
    started?.peer.close()
    one.clear()
    all.clear()
  }
}
