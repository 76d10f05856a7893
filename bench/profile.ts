// `mambakit bench --device webgpu --profile`: what the kernels of a training step and of a decoding step take on a GPU, by
// its own clock, and the rates that follow, beside what a copy and matrix products reach there.
import os from 'node:os'
import { bytesPerElement, type Operation } from '../src/backend/types.js'
import type { WebGpuBackend } from '../src/backend/webgpu/backend.js'
import { operationCost } from '../src/models/cost.js'
import { Decoder } from '../src/models/decoding.js'
import { MambaLM } from '../src/models/mamba-lm.js'
import { languageModelConfig } from '../src/pipeline/presets.node.js'
import { cast, matmul, mul, noGrad, scope, uniform } from '../src/tensor/index.js'
import { type Precision, Trainer } from '../src/train/trainer.js'
import { median } from './measure.js'
import type { BenchReport, Section, StepShare } from './report.js'
import { randomTokens } from './step.js'

export interface ProfileOptions {
  /** A preset's name or a config.json. */
  readonly model: string
  readonly batch: number
  readonly length: number
  readonly precision: Precision
  readonly onSection?: (title: string) => void
}

const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1)

/** Bytes of the elements that an operation reads and writes, each once; repeated axes count once. */
const bytesOf = ({ operands }: Operation) =>
  operands.reduce((sum, operand) => {
    if (!operand) return sum
    const own = operand.shape.filter((_, axis) => operand.strides[axis] !== 0)
    return sum + size(own) * bytesPerElement[operand.dtype]
  }, 0)

/** Profiles `run` by kernel of the table, with rates. */
async function sharesOf(gpu: WebGpuBackend, run: () => Promise<void>): Promise<{ shares: StepShare[]; total: number }> {
  const counts = new Map<string, { bytes: number; flops: number; operations: number }>()
  const times = await gpu.profile(run, (operation) => {
    const count = counts.get(operation.kernel) ?? { bytes: 0, flops: 0, operations: 0 }
    count.bytes += bytesOf(operation)
    count.flops += operationCost(operation)?.flops ?? 0
    count.operations++
    counts.set(operation.kernel, count)
  })
  const total = times.reduce((sum, { seconds }) => sum + seconds, 0)
  const shares = times.map(({ kernel, seconds, calls }): StepShare => {
    const count = counts.get(kernel)
    return {
      kernel,
      callsPerStep: count?.operations ?? calls,
      millisecondsPerStep: 1000 * seconds,
      share: seconds / total,
      gigabytesPerSecond: count && count.bytes / seconds / 1e9,
      gigaflopsPerSecond: count?.flops ? count.flops / seconds / 1e9 : undefined,
    }
  })
  return { shares, total }
}

/** What a copy and matrix products reach, on sizes that fill a GPU, or that a software adapter manages. */
async function limits(gpu: WebGpuBackend): Promise<Section> {
  const software = gpu.description.includes('software')
  const [count, side, rounds] = software ? [2 ** 20, 128, 3] : [2 ** 27, 4096, 7]
  const secondsOf = async (run: () => void) => {
    const seconds: number[] = []
    for (let round = 0; round <= rounds; round++) {
      const times = await gpu.profile(() => noGrad(() => scope(run)))
      if (round > 0) seconds.push(times.reduce((sum, time) => sum + time.seconds, 0))
    }
    return median(seconds)
  }
  const x = uniform([count])
  const copied = (8 * count) / (await secondsOf(() => void mul(x, 2))) / 1e9
  x.dispose()
  const measurements = [{ name: `copy of ${(4 * count) / 2 ** 20} MiB`, value: copied, unit: 'GB/s' }]
  for (const dtype of ['float32', 'float16'] as const) {
    const [a, b] = noGrad(() => scope(() => [0, 1].map(() => cast(uniform([side, side], -1, 1), dtype))))
    const seconds = await secondsOf(() => void matmul(a, b))
    measurements.push({ name: `GEMM ${side}^3 ${dtype}`, value: (2 * side ** 3) / seconds / 1e9, unit: 'GFLOP/s' })
    a.dispose()
    b.dispose()
  }
  return { title: 'limits', ratios: [], measurements, peers: [], remarks: [] }
}

async function trainingStep(gpu: WebGpuBackend, model: MambaLM, options: ProfileOptions): Promise<Section> {
  const { model: name, batch, length, precision } = options
  const trainer = new Trainer(randomTokens(model, options), { steps: 3, learningRate: 1e-4, precision })
  try {
    const events = trainer.run()
    await events.next()
    const start = performance.now()
    await events.next()
    const wall = (performance.now() - start) / 1000
    const { shares, total } = await sharesOf(gpu, async () => {
      await events.next()
    })
    await events.return(undefined)
    return {
      title: `training step of ${name}, B=${batch} L=${length} ${precision}`,
      ratios: [{ name: 'kernels, of the step', value: total / wall, unit: 'percent' }],
      measurements: [
        { name: 'a step', value: 1000 * wall, unit: 'ms' },
        { name: 'tokens', value: (batch * length) / wall, unit: '1/s' },
      ],
      peers: [],
      remarks: [],
      kernels: shares,
    }
  } finally {
    trainer.dispose()
  }
}

async function decodingStep(gpu: WebGpuBackend, model: MambaLM, name: string): Promise<Section> {
  model.eval()
  const tokens = Int32Array.of(1)
  // The first step of a decoder runs operation by operation, while it is recorded.
  const warm = new Decoder(model, 1)
  await warm.step(tokens)
  const start = performance.now()
  await warm.step(tokens)
  const milliseconds = performance.now() - start
  const decoder = new Decoder(model, 1)
  try {
    const { shares } = await sharesOf(gpu, async () => {
      await decoder.step(tokens)
    })
    return {
      title: `decoding step of ${name}`,
      ratios: [],
      measurements: [{ name: 'a step with its logits read back', value: milliseconds, unit: 'ms' }],
      peers: [],
      remarks: ['each kernel is timed in a pass of its own, which adds some microseconds to each'],
      kernels: shares,
    }
  } finally {
    warm.dispose()
    decoder.dispose()
  }
}

/** Profiles a model on the device. */
export async function benchProfile(gpu: WebGpuBackend, options: ProfileOptions): Promise<BenchReport> {
  const load = os.loadavg()[0]
  const { model: name, onSection } = options
  const model = new MambaLM(await languageModelConfig(name)).initialize({ seed: 1, backend: gpu })
  try {
    const sections: Section[] = []
    const parts: readonly (readonly [string, () => Promise<Section>])[] = [
      ['limits', () => limits(gpu)],
      ['training step', () => trainingStep(gpu, model, options)],
      ['decoding step', () => decodingStep(gpu, model, name)],
    ]
    for (const [title, run] of parts) {
      onSection?.(title)
      sections.push(await run())
    }
    const cores = os.availableParallelism()
    const machine = { processor: os.cpus()[0]?.model.trim() ?? 'unknown', cores, load, node: process.version }
    return { command: 'bench --profile', quick: false, device: gpu.description, machine, sections }
  } finally {
    model.dispose()
  }
}
