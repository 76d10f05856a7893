// The kernel suite: every kernel over a table of cases, on any backend, judged by the float64 reference; and the laws
// (splits, batches, packing, order) that launches obey among themselves. It needs nothing of Node, so that it also runs
// in a browser page.
import { IndexError, MissingKernelError } from '../errors.js'
import { fromHost, toHost } from './hostFormat.js'
import { type KernelName, type NumbersOf, signatures } from './kernels.js'
import { positionsOf } from './positions.js'
import { attentionCases } from './suite/attention.cases.js'
import { convCases } from './suite/conv.cases.js'
import { convProperties } from './suite/conv.properties.js'
import { convolutionCases } from './suite/convolution.cases.js'
import { elementwiseCases } from './suite/elementwise.cases.js'
import { gemmCases } from './suite/gemm.cases.js'
import { groupCases } from './suite/groups.cases.js'
import type {
  Comparison,
  HostMemory,
  HostOperand,
  HostOperands,
  HostOperandsOf,
  KernelCase,
  Launcher,
  PropertyCase,
  Tolerance,
} from './suite/operands.js'
import { reduceCases } from './suite/reduce.cases.js'
import { rowCases } from './suite/rows.cases.js'
import { sampleCases } from './suite/sample.cases.js'
import { samplingCases } from './suite/sampling.cases.js'
import { scanCases } from './suite/scan.cases.js'
import { scanProperties } from './suite/scan.properties.js'
import { stepCases } from './suite/step.cases.js'
import { updateCases } from './suite/update.cases.js'
import { windowCases } from './suite/windows.cases.js'
import { type Backend, bytesPerElement, type DeviceBuffer, type Dtype } from './types.js'

export interface SuiteOptions {
  /** Kernels that the backend is known not to have; their cases are skipped. A kernel that is listed but exists is a failure. */
  readonly absent?: readonly KernelName[]
  /** Only these kernels. Default all. */
  readonly kernels?: readonly KernelName[]
  /** Also the cases of 70,000 steps. Default false. */
  readonly long?: boolean
  /** Factors on the tolerance of kernels whose arithmetic a device specifies loosely. */
  readonly slack?: Partial<Record<KernelName, number>>
  /** Told of each case before it runs. */
  readonly onCase?: (kernel: KernelName, name: string) => void
}

export interface Failure {
  readonly kernel: KernelName
  readonly name: string
  /** The written operand, or why nothing could be compared. */
  readonly operand: string
  readonly index?: number
  readonly got?: number
  readonly expected?: number
  /** How many elements of the operand differ. */
  readonly wrong?: number
}

export interface SuiteResult {
  readonly passed: number
  readonly skipped: number
  readonly failures: readonly Failure[]
}

/** One line for people. */
export function describeFailure({ kernel, name, operand, index, got, expected, wrong }: Failure): string {
  const where = `${kernel} / ${name} / ${operand}`
  return index === undefined ? where : `${where}[${index}]: got ${got}, expected ${expected} (${wrong} elements differ)`
}

/** Where the cases of each kernel come from; making a family's cases costs time. */
const families: readonly (readonly [() => Iterable<KernelCase | PropertyCase>, readonly KernelName[]])[] = [
  [elementwiseCases, ['fill', 'copy', 'unary', 'unaryGrad', 'binary', 'select', 'axpby']],
  [reduceCases, ['reduce', 'softmax', 'softmaxGrad']],
  [rowCases, ['rmsNorm', 'rmsNormGrad', 'layerNorm', 'layerNormGrad', 'crossEntropy', 'gather', 'scatterAdd']],
  [groupCases, ['groupStatistics', 'groupNorm', 'groupNormGrad']],
  [windowCases, ['resample', 'maxPool', 'maxPoolGrad']],
  [samplingCases, ['gridSample', 'gridSampleGrad']],
  [gemmCases, ['gemm']],
  [convCases, ['causalConv1d', 'causalConv1dGrad']],
  [convolutionCases, ['convolution', 'convolutionGradInput', 'convolutionGradWeight']],
  [scanCases, ['selectiveScan', 'selectiveScanGrad']],
  [stepCases, ['mambaStepIn', 'mambaStepScan']],
  [attentionCases, ['attention', 'attentionGrad', 'rotary', 'gatedActivation', 'gatedActivationGrad']],
  [sampleCases, ['sample']],
  [updateCases, ['adamW', 'random', 'dropout']],
  [convProperties, ['causalConv1d', 'causalConv1dGrad']],
  [scanProperties, ['selectiveScan', 'selectiveScanGrad']],
]

/** Every case and law of some kernels, or of all. */
export function* allCases(kernels?: readonly KernelName[]): Generator<KernelCase | PropertyCase> {
  for (const [cases, itsKernels] of families)
    if (!kernels || itsKernels.some((kernel) => kernels.includes(kernel))) yield* cases()
}

const exact: Tolerance = { scale: 0, relative: 0 }
const usual: Tolerance = { scale: 1e-5, relative: 1e-5 }

/** What float32 arithmetic may differ by from float64, where it is not `usual`. */
const tolerances: Partial<Record<KernelName, Tolerance>> = {
  fill: exact,
  copy: exact,
  select: exact,
}

/** Rounding of a stored result, as a part of it and absolutely. */
const storage: Readonly<Record<Dtype, { relative: number; absolute: number }>> = {
  float32: { relative: 0, absolute: 1e-37 },
  float16: { relative: 2 ** -10, absolute: 2 ** -24 },
  bfloat16: { relative: 2 ** -7, absolute: 1e-37 },
  int8: { relative: 0, absolute: 0 },
  int32: { relative: 0, absolute: 0 },
  uint8: { relative: 0, absolute: 0 },
  bool: { relative: 0, absolute: 0 },
}

/** Runs every case on the backend; `reference` judges. */
export async function runSuite(backend: Backend, reference: Backend, options: SuiteOptions = {}): Promise<SuiteResult> {
  const { absent = [], kernels, long = false, slack = {}, onCase } = options
  const failures: Failure[] = []
  let passed = 0
  let skipped = 0
  const present = new Set<KernelName>()
  for (const test of allCases(kernels)) {
    const { kernel, name } = test
    if (kernels && !kernels.includes(kernel)) continue
    if (absent.includes(kernel) && present.has(kernel)) continue
    if (test.long && !long) continue
    onCase?.(kernel, name)
    let found: Failure[]
    try {
      found = await runCase(backend, reference, test, slack[kernel] ?? 1)
      if (absent.includes(kernel)) {
        present.add(kernel)
        found = [{ kernel, name, operand: 'listed as absent, but the kernel exists' }]
      }
    } catch (error) {
      if (error instanceof MissingKernelError && absent.includes(kernel)) {
        skipped++
        continue
      }
      found = [{ kernel, name, operand: error instanceof Error ? error.message : String(error) }]
    }
    if (found.length === 0) passed++
    failures.push(...found)
  }
  return { passed, skipped, failures }
}

/** Runs one case; no failures mean that it passed. `slack` is a factor on its tolerance. */
export async function runCase(
  backend: Backend,
  reference: Backend,
  test: KernelCase | PropertyCase,
  slack = 1,
): Promise<Failure[]> {
  const { kernel, name } = test
  const fail = (found: Omit<Failure, 'kernel' | 'name'> | null): Failure[] =>
    found ? [{ kernel, name, ...found }] : []
  const loosened = ({ scale, relative, absolute = 0 }: Tolerance) => ({
    scale: scale * slack,
    relative: relative * slack,
    absolute: absolute * slack,
  })
  const usualHere = tolerances[kernel] ?? usual
  if ('run' in test) {
    const comparisons = await test.run(launcherFor(backend))
    return comparisons.flatMap(({ tolerance = usualHere, ...comparison }) =>
      fail(compare({ ...comparison, tolerance: loosened(tolerance) }, 'float32')),
    )
  }
  const operands = await test.operands(launcherFor(reference))
  const launch = { kernel, operands, numbers: test.numbers }
  const got = await launchOn(backend, launch)
  const expected = await launchOn(reference, launch)
  const { indexError } = test
  if (indexError && !(got.error instanceof IndexError && got.error.index === indexError.index))
    return fail({ operand: `expected an index error of ${indexError.index}, got ${got.error ?? 'none'}` })
  if (got.error && !indexError) throw got.error
  return [...got.written].flatMap(([operand, { view, contents }]) => {
    const inside = positionsOf(view)
    const tolerance = loosened(test.tolerance ?? usualHere)
    const want = expected.written.get(operand)!.contents
    const differs = compare(
      {
        operand,
        got: Float64Array.from(inside, (position) => contents[position]),
        expected: Float64Array.from(inside, (position) => want[position]),
        tolerance,
      },
      view.dtype,
    )
    return differs ? fail(differs) : fail(compareGaps(launch, operand, contents))
  })
}

/** Elements of a written buffer that lie in no written view must be what they were. */
function compareGaps(launch: Launch, operand: string, contents: Float64Array): Omit<Failure, 'kernel' | 'name'> | null {
  const { memory } = launch.operands[operand]!
  const expected = memory.values.slice()
  const { operandNames, writes } = signatures[launch.kernel]
  operandNames.forEach((other, i) => {
    const view = launch.operands[other]
    if (writes[i] && view?.memory === memory)
      for (const position of positionsOf(view)) expected[position] = contents[position]
  })
  return compare({ operand: `${operand} (memory around it)`, got: contents, expected, tolerance: exact }, memory.dtype)
}

function compare(
  { operand, got, expected, tolerance = usual }: Comparison,
  dtype: Dtype,
): Omit<Failure, 'kernel' | 'name'> | null {
  let largest = 0
  for (let i = 0; i < expected.length; i++)
    if (Number.isFinite(expected[i])) largest = Math.max(largest, Math.abs(expected[i]))
  const isExact = tolerance.scale === 0 && tolerance.relative === 0
  const { relative, absolute } = isExact ? { relative: 0, absolute: 0 } : storage[dtype]
  const integer = dtype !== 'float32' && dtype !== 'float16' && dtype !== 'bfloat16'
  let wrong = 0
  let index = -1
  for (let i = 0; i < Math.max(got.length, expected.length); i++) {
    const allowed = integer
      ? 0
      : absolute +
        (tolerance.absolute ?? 0) +
        tolerance.scale * largest +
        (tolerance.relative + relative) * Math.abs(expected[i])
    const same =
      got[i] === expected[i] ||
      (Number.isNaN(got[i]) && Number.isNaN(expected[i])) ||
      (Number.isFinite(expected[i]) && Math.abs(got[i] - expected[i]) <= allowed)
    if (same) continue
    wrong++
    if (index < 0) index = i
  }
  return wrong ? { operand, index, got: got[index], expected: expected[index], wrong } : null
}

interface Launch {
  readonly kernel: KernelName
  readonly operands: HostOperands
  readonly numbers: Readonly<Record<string, number>>
}

interface Launched {
  readonly error: unknown
  /** Whole buffers of the written operands, gaps included. */
  readonly written: ReadonlyMap<string, { view: HostOperand; contents: Float64Array }>
}

async function launchOn(backend: Backend, launch: Launch): Promise<Launched> {
  const { operandNames, numberNames, writes } = signatures[launch.kernel]
  const buffers = new Map<HostMemory, DeviceBuffer>()
  try {
    const operands = operandNames.map((name) => {
      const host = launch.operands[name]
      if (!host) return null
      const { memory, ...view } = host
      let buffer = buffers.get(memory)
      if (!buffer) {
        const bytes = toHost(memory.values, memory.dtype)
        buffer = backend.allocate(bytes.length)
        buffers.set(memory, buffer)
        backend.upload(buffer, 0, bytes)
      }
      return { ...view, buffer }
    })
    backend.enqueue({ kernel: launch.kernel, operands, numbers: numberNames.map((name) => launch.numbers[name]) })
    const written = new Map<string, { view: HostOperand; contents: Float64Array }>()
    let error: unknown = null
    for (const [i, name] of operandNames.entries()) {
      const view = launch.operands[name]
      if (!writes[i] || !view) continue
      const { memory } = view
      const byteLength = memory.values.length * bytesPerElement[memory.dtype]
      const download = () => backend.download(buffers.get(memory)!, 0, byteLength)
      // A kernel's error comes with the first read-back; the memory can be read after it.
      const bytes = await download().catch((met: unknown) => {
        error ??= met
        return download()
      })
      written.set(name, { view, contents: fromHost(new Uint8Array(bytes), memory.dtype) })
    }
    return { error, written }
  } finally {
    for (const buffer of buffers.values()) backend.release(buffer)
  }
}

function launcherFor(backend: Backend): Launcher {
  return async <K extends KernelName>(kernel: K, operands: HostOperandsOf<K>, numbers: NumbersOf<K>) => {
    const { error, written } = await launchOn(backend, { kernel, operands: operands as HostOperands, numbers })
    if (error) throw error
    return Object.fromEntries(
      [...written].map(([name, { view, contents }]) => [
        name,
        Float64Array.from(positionsOf(view), (position) => contents[position]),
      ]),
    )
  }
}
