// GEMM beside NumPy and beside the peak of the machine: float32, square, all transpose combinations.
import { launch } from '../src/backend/kernels.js'
import type { Bench, Devices } from './devices.js'
import { type Contender, medianOf, type Rounds, ratio, takeTurns } from './measure.js'
import { PythonPeer } from './python.js'
import type { PeerFacts, Ratio, Section } from './report.js'

const layouts = ['nn', 'nt', 'tn', 'tt'] as const
type Layout = (typeof layouts)[number]

/** GFLOP/s that NumPy with OpenBLAS reaches on a core of the machine that DESIGN's figures come from. */
const recordedPeer = 83
/** Below this share of the recorded figure a peer does not run as it should. */
const itself = 0.7

const script = `
def openblas():
    found = {}
    base = os.path.join(os.path.dirname(np.__file__), '..', 'numpy.libs', '*openblas*')
    for file in glob.glob(base):
        library = ctypes.CDLL(file)
        for key, name, kind in [('path', 'get_corename', ctypes.c_char_p), ('threads', 'get_num_threads', ctypes.c_int)]:
            for symbol in [p + 'openblas_' + name + s for p in ('scipy_', '') for s in ('64_', '')]:
                if hasattr(library, symbol):
                    function = getattr(library, symbol)
                    function.restype = kind
                    value = function()
                    found[key] = value.decode() if isinstance(value, bytes) else value
                    break
    return found
facts = {'version': np.__version__, 'path': 'unknown', 'threads': int(os.environ['OPENBLAS_NUM_THREADS']), **openblas()}
data = {}
def answer(layout, size, calls):
    if size not in data:
        rng = np.random.default_rng(7)
        data[size] = [rng.uniform(-1, 1, (size, size)).astype(np.float32) for _ in range(3)]
    a, b, out = data[size]
    a, b = (a.T if layout[0] == 't' else a), (b.T if layout[1] == 't' else b)
    return timed(lambda: np.matmul(a, b, out=out), calls)
`

function ours(bench: Bench, size: number, layout: Layout, calls: number, name: string): Contender {
  const [a, b, out] = [bench.uniform([1, size, size]), bench.uniform([1, size, size]), bench.empty([1, size, size])]
  const numbers = {
    transposeA: layout[0] === 't' ? 1 : 0,
    transposeB: layout[1] === 't' ? 1 : 0,
    alpha: 1,
    accumulate: 0,
    activation: 0,
  }
  return bench.contender(name, calls, () => launch(bench.backend, 'gemm', { a, b, out }, numbers))
}

export async function benchGemm({ one, all }: Devices, quick: boolean): Promise<Section> {
  const size = quick ? 128 : 1024
  const calls = quick ? 4 : 2
  const rounds = quick ? 2 : 9
  const flops = 2 * size ** 3
  const peakWork = quick ? 1e7 : 1e9
  const { threads } = all.backend
  const counts = threads === 1 ? [1] : [1, threads]
  const peers = new Map<number, PythonPeer>()
  const facts: PeerFacts[] = []
  const contenders = [one.limit('peak', 'benchGemmPeak', peakWork)]
  try {
    for (const count of counts) {
      const started = await PythonPeer.start<Omit<PeerFacts, 'name' | 'expected'>>(
        'numpy as np, glob, os, ctypes',
        script,
        count,
      )
      if (started) {
        peers.set(count, started.peer)
        facts.push({ name: 'NumPy (OpenBLAS)', expected: expectation(count), ...started.facts })
      }
      for (const layout of layouts) {
        contenders.push(ours(count === 1 ? one : all, size, layout, calls, key('ours', count, layout)))
        const peer = peers.get(count)
        if (!peer) continue
        contenders.push({ name: key('numpy', count, layout), run: () => peer.ask({ layout, size, calls }) })
      }
    }
    const taken = await takeTurns(contenders, rounds)
    return section({ taken, size, flops, peakWork, counts, facts, quick })
  } finally {
    for (const peer of peers.values()) peer.close()
    one.clear()
    all.clear()
  }
}

const expectation = (threads: number) =>
  `${recordedPeer * threads} GFLOP/s recorded, at least ${(itself * recordedPeer * threads).toFixed(0)}`
const key = (who: string, threads: number, layout: Layout) => `${who}, ${plural(threads)}, ${layout}`
const plural = (threads: number) => (threads === 1 ? '1 thread' : `${threads} threads`)

interface Findings {
  readonly taken: Rounds
  readonly size: number
  readonly flops: number
  readonly peakWork: number
  readonly counts: readonly number[]
  readonly facts: readonly PeerFacts[]
  readonly quick: boolean
}

function section({ taken, size, flops, peakWork, counts, facts, quick }: Findings): Section {
  const ratios: Ratio[] = []
  const remarks: string[] = []
  const rate = (name: string, work: number) => work / medianOf(taken, name) / 1e9
  const peak = rate('peak', peakWork)
  for (const threads of counts)
    for (const layout of layouts) {
      const own = key('ours', threads, layout)
      const share = (ratio(taken, 'peak', own) * flops) / peakWork / threads
      const goal = threads === 2 && layout === 'nn' ? 'at least 80 %' : undefined
      ratios.push({ name: `${layout}, of ${threads} x the one-core peak`, value: share, unit: 'percent', goal })
      const peer = key('numpy', threads, layout)
      if (!taken.has(peer)) continue
      const reached = rate(peer, flops)
      const expected = recordedPeer * threads
      if (quick || reached >= itself * expected) {
        const value = ratio(taken, peer, own)
        ratios.push({ name: `${layout}, ${plural(threads)}, speed of NumPy`, value, unit: 'times', goal: 'at least 1' })
      } else
        remarks.push(
          `NumPy is not itself (${layout}, ${plural(threads)}: ${reached.toFixed(0)} GFLOP/s, ${expected} recorded): no ratio`,
        )
    }
  if (facts.length === 0) remarks.push('no python3 can import numpy: no comparison with NumPy')
  if (quick) remarks.push('sizes of --quick say nothing about speed')
  const rates = [...taken.keys()].filter((name) => name !== 'peak')
  return {
    title: `GEMM ${size}^3`,
    ratios,
    measurements: [
      { name: 'register tile alone, 1 thread', value: peak, unit: 'GFLOP/s' },
      ...rates.map((name) => ({ name, value: rate(name, flops), unit: 'GFLOP/s' })),
    ],
    peers: facts,
    remarks,
  }
}
