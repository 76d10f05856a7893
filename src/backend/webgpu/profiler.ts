// Times dispatches by the device's own clock: a pass each, a pair of timestamps a pass, summed by the pass's label.
import { usage } from './pool.js'

/** What the dispatches of one label took. */
export interface KernelTime {
  readonly kernel: string
  readonly seconds: number
  readonly calls: number
}

const bytesPerStamp = 8
// GPUBufferUsage.QUERY_RESOLVE is a global in browsers only.
const queryResolve = 0x200

export class Profiler {
  private readonly queries: GPUQuerySet
  private readonly resolved: GPUBuffer
  private labels: string[] = []
  /** What a submitted batch will have written. */
  private pending: { readonly labels: string[]; readonly staging: GPUBuffer } | null = null
  private readonly readings: Promise<void>[] = []
  private readonly sums = new Map<string, { seconds: number; calls: number }>()

  /** `batchSize` is the most dispatches between two submissions. */
  constructor(
    private readonly device: GPUDevice,
    batchSize: number,
  ) {
    this.queries = device.createQuerySet({ type: 'timestamp', count: 2 * batchSize })
    this.resolved = device.createBuffer({
      size: 2 * batchSize * bytesPerStamp,
      usage: queryResolve | usage.copySource,
    })
  }

  beginPass(encoder: GPUCommandEncoder, label: string): GPUComputePassEncoder {
    const at = 2 * this.labels.length
    this.labels.push(label)
    return encoder.beginComputePass({
      timestampWrites: { querySet: this.queries, beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 },
    })
  }

  /** Writes the batch's timestamps where the host will read them. */
  endBatch(encoder: GPUCommandEncoder): void {
    const { labels } = this
    if (labels.length === 0) return
    this.labels = []
    const size = 2 * labels.length * bytesPerStamp
    const staging = this.device.createBuffer({ size, usage: usage.mapRead | usage.copyTarget })
    encoder.resolveQuerySet(this.queries, 0, 2 * labels.length, this.resolved, 0)
    encoder.copyBufferToBuffer(this.resolved, 0, staging, 0, size)
    this.pending = { labels, staging }
  }

  /** Reads the batch that was just submitted. */
  collect(): void {
    if (!this.pending) return
    this.readings.push(this.read(this.pending))
    this.pending = null
  }

  /** The sums of all batches, longest first. */
  async times(): Promise<KernelTime[]> {
    await Promise.all(this.readings)
    this.queries.destroy()
    this.resolved.destroy()
    return [...this.sums]
      .map(([kernel, { seconds, calls }]) => ({ kernel, seconds, calls }))
      .sort((a, b) => b.seconds - a.seconds)
  }

  private async read({ labels, staging }: { readonly labels: string[]; readonly staging: GPUBuffer }): Promise<void> {
    await staging.mapAsync(1)
    const stamps = new BigUint64Array(staging.getMappedRange())
    labels.forEach((label, i) => {
      const sum = this.sums.get(label) ?? { seconds: 0, calls: 0 }
      sum.seconds += Number(stamps[2 * i + 1] - stamps[2 * i]) / 1e9
      sum.calls++
      this.sums.set(label, sum)
    })
    staging.destroy()
  }
}
