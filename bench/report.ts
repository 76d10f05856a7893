// What a bench reports: ratios first, then the absolute numbers of this run, then remarks; as text and as JSON.
import type { KernelTime } from '../src/backend/native/index.js'
import { formatTable } from '../src/cli/table.js'

/** A quotient of two things measured in this run. */
export interface Ratio {
  readonly name: string
  readonly value: number
  /** 'percent': printed as a share of 100. */
  readonly unit: 'times' | 'percent'
  /** What it should reach, for people to read. */
  readonly goal?: string
}

/** An absolute number; it belongs to this machine at this moment. */
export interface Measurement {
  readonly name: string
  readonly value: number
  readonly unit: string
}

/** What one kernel took in a training step. */
export interface StepShare {
  readonly kernel: string
  readonly callsPerStep: number
  readonly millisecondsPerStep: number
  readonly share: number
  /** What its operands hold, and its counted arithmetic, over its time; absent where nobody counted. */
  readonly gigabytesPerSecond?: number
  readonly gigaflopsPerSecond?: number
}

/** A public library that was measured beside us. */
export interface PeerFacts {
  readonly name: string
  readonly version: string
  readonly threads: number
  /** The kernel path or build that it says it uses. */
  readonly path: string
  /** What it reaches where it is itself, for people to read. */
  readonly expected: string
}

/** The kernels' times over `steps` steps that took `seconds` each, longest first. */
export function stepShares(times: readonly KernelTime[], steps: number, seconds: number): StepShare[] {
  return [...times]
    .sort((a, b) => b.seconds - a.seconds)
    .map(({ kernel, seconds: total, calls }) => ({
      kernel,
      callsPerStep: calls / steps,
      millisecondsPerStep: (1000 * total) / steps,
      share: total / steps / seconds,
    }))
}

export interface Section {
  readonly title: string
  readonly ratios: readonly Ratio[]
  readonly measurements: readonly Measurement[]
  readonly peers: readonly PeerFacts[]
  readonly remarks: readonly string[]
  readonly kernels?: readonly StepShare[]
}

export interface BenchReport {
  readonly command: string
  readonly quick: boolean
  readonly device: string
  readonly machine: { readonly processor: string; readonly cores: number; readonly load: number; readonly node: string }
  readonly sections: readonly Section[]
}

const digits = (value: number) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3))
const shown = ({ value, unit }: Ratio) => (unit === 'percent' ? `${(100 * value).toFixed(0)} %` : `${digits(value)} x`)

/** The report as lines of text. */
export function formatReport({ machine, device, sections }: BenchReport): string[] {
  const ratios = sections.flatMap((section) =>
    section.ratios.map((each) => [section.title, each.name, shown(each), each.goal ?? '']),
  )
  const measurements = sections.flatMap((section) =>
    section.measurements.map(({ name, value, unit }) => [section.title, name, digits(value), unit]),
  )
  const peers = sections
    .flatMap(({ peers }) => peers)
    .map((p) => [p.name, p.version, `${p.threads}`, p.path, p.expected])
  const remarks = sections.flatMap(({ title, remarks }) => remarks.map((remark) => `${title}: ${remark}`))
  // Contenders that use one core suffer less from a busy machine than those that use all.
  const busy = machine.load > machine.cores / 4
  const blocks = [
    busy
      ? [
          `This machine is busy (load ${machine.load.toFixed(1)} on ${machine.cores} cores): measure again when it is quiet.`,
        ]
      : [],
    formatTable(columns('of', 'ratio', '>value', 'goal'), ratios),
    ...sections.flatMap(({ title, kernels }) => (kernels ? [stepTable(title, kernels)] : [])),
    formatTable(columns('of', 'this run, this machine', '>value', 'unit'), measurements),
    peers.length > 0 ? formatTable(columns('peer', 'version', '>threads', 'path', 'expected'), peers) : [],
    remarks,
    [`${device}; ${machine.processor}, ${machine.cores} cores, load ${machine.load.toFixed(1)} at the start`],
  ]
  return blocks.filter((lines) => lines.length > 0).flatMap((lines, i) => (i === 0 ? lines : ['', ...lines]))
}

/** A title that starts with > is for numbers. */
const columns = (...titles: string[]) =>
  titles.map((title) => ({ title: title.replace(/^>/, ''), align: title.startsWith('>') ? 'right' : 'left' }) as const)

function stepTable(title: string, kernels: readonly StepShare[]): string[] {
  const rated = kernels.some(({ gigabytesPerSecond }) => gigabytesPerSecond !== undefined)
  const rows = kernels.map(({ kernel, callsPerStep, millisecondsPerStep, share, ...rates }) => [
    kernel,
    Number.isInteger(callsPerStep) ? `${callsPerStep}` : callsPerStep.toFixed(1),
    millisecondsPerStep.toFixed(2),
    `${(100 * share).toFixed(1)} %`,
    ...(rated
      ? [rates.gigabytesPerSecond, rates.gigaflopsPerSecond].map((rate) => (rate === undefined ? '' : digits(rate)))
      : []),
  ])
  const titles = [title, '>calls', '>ms a step', '>share', ...(rated ? ['>GB/s', '>GFLOP/s'] : [])]
  return formatTable(columns(...titles), rows)
}
