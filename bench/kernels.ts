// `mambakit bench kernels`: every kernel bench in one run, on the native device.
import os from 'node:os'
import { Bench } from './devices.js'
import { benchGemm } from './gemm.js'
import { benchMaps } from './maps.js'
import { benchMemory } from './memory.js'
import type { BenchReport, Section } from './report.js'
import { benchScan } from './scan.js'
import { benchStep, type StepShape } from './step.js'

export interface KernelBenchOptions {
  /** Tiny sizes, to see that it works. */
  readonly quick: boolean
  /** Told which part begins. */
  readonly onSection?: (title: string) => void
}

const steps: readonly StepShape[] = [
  { model: 'mamba-small', batch: 8, length: 256, steps: 8, goal: 1.5 },
  { model: 'mamba-130m', batch: 1, length: 1024, steps: 2, goal: 1.3 },
]
const quickSteps: readonly StepShape[] = [{ model: 'mamba-tiny', batch: 1, length: 32, steps: 1, goal: 1.5 }]

export async function benchKernels({ quick, onSection }: KernelBenchOptions): Promise<BenchReport> {
  const load = os.loadavg()[0]
  const devices = { one: new Bench(1), all: new Bench() }
  const { backend } = devices.all
  const parts: readonly (readonly [string, () => Promise<Section>])[] = [
    ['GEMM', () => benchGemm(devices, quick)],
    ['selective scan', () => benchScan(devices, quick)],
    ['memory', () => benchMemory(devices, quick)],
    ['maps', () => benchMaps(devices, quick)],
    ...(quick ? quickSteps : steps).map(
      (shape) => [`training step of ${shape.model}`, () => benchStep(backend, shape)] as const,
    ),
  ]
  try {
    const sections: Section[] = []
    for (const [title, run] of parts) {
      onSection?.(title)
      sections.push(await run())
    }
    const cores = os.availableParallelism()
    const machine = { processor: os.cpus()[0]?.model.trim() ?? 'unknown', cores, load, node: process.version }
    return { command: 'bench kernels', quick, device: backend.description, machine, sections }
  } finally {
    await devices.one.close()
    await devices.all.close()
  }
}
