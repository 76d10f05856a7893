// How fast memory can be read: what bounds every kernel that does little arithmetic.
import type { Devices } from './devices.js'
import { medianOf, takeTurns } from './measure.js'
import type { Section } from './report.js'

export async function benchMemory({ one, all }: Devices, quick: boolean): Promise<Section> {
  // Beyond all caches.
  const count = quick ? 1 << 20 : 1 << 26
  try {
    const contenders = [one, all].map((bench) => {
      const [out, input] = [bench.empty([1]), bench.uniform([count])]
      const name = `read, ${bench.backend.threads} thread${bench.backend.threads === 1 ? '' : 's'}`
      return bench.contender(name, 1, () => bench.backend.enqueueLimit('benchMemoryRead', [out, input], []))
    })
    const taken = await takeTurns(contenders, quick ? 2 : 7)
    const measurements = [...taken.keys()].map((name) => ({
      name,
      value: (4 * count) / medianOf(taken, name) / 1e9,
      unit: 'GB/s',
    }))
    const remarks = quick ? ['sizes of --quick say nothing about speed'] : []
    return { title: 'memory', ratios: [], measurements, peers: [], remarks }
  } finally {
    one.clear()
    all.clear()
  }
}
