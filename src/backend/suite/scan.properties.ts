// Laws of the selective scan, in outputs, states and gradients: a sequence cut anywhere equals the whole, single steps
// equal the whole, a batch equals its members, packed sequences equal separate ones, and an order equals sorted inputs.
import { IndexError } from '../../errors.js'
import {
  type Comparison,
  compareAll,
  Draw,
  type HostOperand,
  joined,
  type Launcher,
  narrow,
  operandOf,
  output,
  type PropertyCase,
  permuted,
  summed,
} from './operands.js'
import { type ScanShape, scanInputs, scanNumbers, scanOutputs } from './scan.cases.js'

type Inputs = ReturnType<typeof scanInputs>

/** A scan to run, with the gradients that flow into its results. */
interface Problem {
  readonly shape: ScanShape
  readonly inputs: Inputs
  readonly gradOut: HostOperand
  readonly gradFinalState: HostOperand | null
}
type Written = Readonly<Record<string, HostOperand>>

function problemOf(seed: number, shape: ScanShape): Problem {
  const draw = new Draw(seed)
  const { batch, length, channels, stateSize } = shape
  const inputs = scanInputs(draw, shape)
  const gradOut = draw.floats([batch, length, channels])
  return { shape, inputs, gradOut, gradFinalState: draw.floats([batch, channels, stateSize]) }
}

/** Gradients by the axis of time, or by none where they are sums over time. */
const alongTime = ['out', 'gradU', 'gradDelta', 'gradZ']
const alongBatch = [...alongTime, 'finalState', 'gradInitialState']

/** One launch forward and, where asked for, one backward. */
async function runOnce(
  launch: Launcher,
  { shape, inputs, gradOut, gradFinalState }: Problem,
  backward: boolean,
): Promise<Written> {
  const numbers = scanNumbers(shape)
  const outputs = scanOutputs(shape, ['finalState', 'chunkStates'])
  const made = await launch('selectiveScan', { ...inputs, ...outputs }, numbers)
  const results: Record<string, HostOperand> = {
    out: operandOf(outputs.out.shape, (i) => made.out[i]),
    finalState: operandOf(outputs.finalState!.shape, (i) => made.finalState[i]),
  }
  if (!backward) return results
  const { initialState, ...given } = inputs
  const chunkStates = operandOf(outputs.chunkStates!.shape, (i) => made.chunkStates[i])
  const like = (x: HostOperand) => output(x.shape)
  const grads = {
    ...{ gradU: like(given.u), gradDelta: like(given.delta), gradA: like(given.A) },
    ...{ gradB: like(given.B), gradC: like(given.C), gradD: given.D && like(given.D), gradZ: given.z && like(given.z) },
    gradDeltaBias: given.deltaBias && like(given.deltaBias),
    gradInitialState: like(outputs.finalState!),
  }
  const written = await launch(
    'selectiveScanGrad',
    { ...given, chunkStates, gradOut, gradFinalState, ...grads },
    numbers,
  )
  for (const [name, operand] of Object.entries(grads))
    if (operand) results[name] = operandOf(operand.shape, (i) => written[name][i])
  return results
}

const valuesOfAll = (written: Written): Record<string, Float64Array> =>
  Object.fromEntries(Object.entries(written).map(([name, operand]) => [name, joined([operand], 0)]))

/** The part of a problem within steps [from, to), or of members [from, to). */
function part({ shape, inputs, gradOut, gradFinalState }: Problem, axis: 0 | 1, from: number, to: number): Problem {
  const cut = <T extends HostOperand | null>(x: T) => (x && narrow(x, axis, from, to - from)) as T
  const map = (x: HostOperand) => (x.shape.length === 4 ? cut(x) : x)
  const byMember = <T extends HostOperand | null>(x: T) => (axis === 0 ? cut(x) : x)
  return {
    shape: { ...shape, [axis === 0 ? 'batch' : 'length']: to - from },
    inputs: {
      ...inputs,
      ...{ u: cut(inputs.u), delta: cut(inputs.delta), z: cut(inputs.z), resets: cut(inputs.resets) },
      ...{ B: map(inputs.B), C: map(inputs.C), initialState: byMember(inputs.initialState) },
    },
    gradOut: cut(gradOut),
    gradFinalState: byMember(gradFinalState),
  }
}

/** Results of parts put together: joined along the axis of their cut, or added where each part sums over it. */
function together(parts: readonly Written[], axis: 0 | 1): Record<string, Float64Array> {
  const results: Record<string, Float64Array> = {}
  for (const name of Object.keys(parts[0])) {
    const operands = parts.map((written) => written[name])
    const map = (name === 'gradB' || name === 'gradC') && operands[0].shape.length === 4
    const joins = map || (axis === 1 ? alongTime : alongBatch).includes(name)
    if (joins) results[name] = joined(operands, axis)
    else if (name === 'finalState') results[name] = joined(operands.slice(-1), 0)
    else if (name === 'gradInitialState') results[name] = joined(operands.slice(0, 1), 0)
    else results[name] = summed(operands)
  }
  return results
}

/** Runs a problem in pieces that end at `ends`, the state carried over, and gradients carried back. */
async function inPieces(launch: Launcher, problem: Problem, ends: readonly number[], backward: boolean) {
  const pieces = ends.map((end, i) => part(problem, 1, ends[i - 1] ?? 0, end))
  const forward: Problem[] = []
  let state = problem.inputs.initialState
  for (const piece of pieces) {
    const started = { ...piece, inputs: { ...piece.inputs, initialState: state } }
    forward.push(started)
    state = (await runOnce(launch, started, false)).finalState
  }
  const written: Written[] = []
  let { gradFinalState } = problem
  for (const piece of forward.toReversed()) {
    const results = await runOnce(launch, { ...piece, gradFinalState }, backward)
    gradFinalState = results.gradInitialState ?? null
    written.unshift(results)
  }
  return together(written, 1)
}

const small: ScanShape = { batch: 2, length: 37, channels: 19, stateSize: 16 }
const kept = ['D', 'z', 'deltaBias', 'initialState'] as const
const shapes: readonly (readonly [string, ScanShape])[] = [
  ['usual', small],
  ['N = 5', { ...small, stateSize: 5 }],
  ['fixed maps', { ...small, B: 'fixed', C: 'fixed', stateSize: 4 }],
  ['packed', { ...small, given: [...kept, 'resets'] }],
  ['two groups', { ...small, B: 'groups', C: 'groups', groups: 2, channels: 34, stateSize: 8 }],
]

export function* scanProperties(): Generator<PropertyCase> {
  for (const backward of [false, true]) {
    const kernel = backward ? 'selectiveScanGrad' : 'selectiveScan'
    for (const [i, [name, shape]] of shapes.entries()) {
      const { length, batch } = shape
      for (const ends of [
        [1, length],
        [16, length],
        [5, 21, 22, length],
        [length - 1, length],
      ])
        yield {
          kernel,
          name: `${name}: cut at ${ends.slice(0, -1)} equals the whole`,
          run: async (launch) => {
            const problem = problemOf(3000 + i, shape)
            const whole = valuesOfAll(await runOnce(launch, problem, backward))
            return compareAll(await inPieces(launch, problem, ends, backward), whole)
          },
        }
      yield {
        kernel,
        name: `${name}: single steps equal the whole`,
        run: async (launch) => {
          const problem = problemOf(3100 + i, shape)
          const whole = valuesOfAll(await runOnce(launch, problem, backward))
          const steps = Array.from({ length }, (_, t) => t + 1)
          return compareAll(await inPieces(launch, problem, steps, backward), whole)
        },
      }
      yield {
        kernel,
        name: `${name}: a batch equals its members`,
        run: async (launch) => {
          const problem = problemOf(3200 + i, shape)
          const members: Written[] = []
          for (let b = 0; b < batch; b++) members.push(await runOnce(launch, part(problem, 0, b, b + 1), backward))
          return compareAll(together(members, 0), valuesOfAll(await runOnce(launch, problem, backward)))
        },
      }
    }
    yield packedProperty(kernel, backward)
    for (const reverse of [0, 1] as const) yield pathProperty(kernel, backward, reverse)
    yield reverseProperty(kernel, backward)
  }
  yield outsideProperty()
}

function outsideProperty(): PropertyCase {
  return {
    kernel: 'selectiveScan',
    name: 'a place outside the map is an index error',
    run: async (launch) => {
      const shape: ScanShape = { ...small, directions: 1, given: ['path'] }
      const path = operandOf([1, 37], (i) => (i === 20 ? 37 : i), { dtype: 'int32' })
      const inputs = { ...scanInputs(new Draw(3600), shape), path }
      const met = await launch('selectiveScan', { ...inputs, ...scanOutputs(shape, []) }, scanNumbers(shape)).then(
        () => -1,
        (error: unknown) => (error instanceof IndexError ? error.index : -1),
      )
      return [{ operand: 'the index of the error', got: Float64Array.of(met), expected: Float64Array.of(37) }]
    },
  }
}

function packedProperty(kernel: PropertyCase['kernel'], backward: boolean): PropertyCase {
  return {
    kernel,
    name: 'packed sequences equal separate ones',
    run: async (launch) => {
      const ends = [3, 4, 20, 37]
      const drawn = problemOf(3300, { ...small, given: ['D', 'z', 'deltaBias'] })
      const starts = new Set([0, ...ends])
      const resets = operandOf([2, 37], (i) => (starts.has(i % 37) ? 1 : 0), { dtype: 'uint8' })
      const packed = await runOnce(launch, { ...drawn, inputs: { ...drawn.inputs, resets } }, backward)
      const separate: Written[] = []
      for (const [i, end] of ends.entries()) {
        const piece = part(drawn, 1, ends[i - 1] ?? 0, end)
        const gradFinalState = end === 37 ? drawn.gradFinalState : null
        separate.push(await runOnce(launch, { ...piece, gradFinalState }, backward))
      }
      const { gradInitialState, ...expected } = together(separate, 1)
      // The reset at the first step keeps every gradient from the state before it.
      const nothing = gradInitialState && { gradInitialState: gradInitialState.map(() => 0) }
      return compareAll(valuesOfAll(packed), { ...expected, ...nothing })
    },
  }
}

/** Compares a scan in another order with one over inputs that were put in that order. */
async function compareOrder(
  launch: Launcher,
  ordered: Problem,
  order: readonly number[],
  backward: boolean,
): Promise<Comparison[]> {
  const { inputs, gradOut, shape } = ordered
  const put = <T extends HostOperand | null>(x: T) => (x && permuted(x, 1, order)) as T
  const { resets, u, delta, z, B, C } = inputs
  const plain = {
    ...ordered,
    shape: { ...shape, reverse: 0 as const },
    inputs: {
      ...inputs,
      ...{ path: null, resets: put(resets), u: put(u), delta: put(delta), z: put(z), B: put(B), C: put(C) },
    },
    gradOut: put(gradOut),
  }
  const inverse = order.map((_, position) => order.indexOf(position))
  const got = await runOnce(launch, ordered, backward)
  const expected = Object.entries(await runOnce(launch, plain, backward)).map(([name, operand]) => {
    const timed = alongTime.includes(name) || name === 'gradB' || name === 'gradC'
    return [name, timed ? permuted(operand, 1, inverse) : operand] as const
  })
  return compareAll(valuesOfAll(got), valuesOfAll(Object.fromEntries(expected)))
}

function pathProperty(kernel: PropertyCase['kernel'], backward: boolean, reverse: 0 | 1): PropertyCase {
  return {
    kernel,
    name: `a path${reverse ? ' in reverse' : ''} equals permuted inputs`,
    run: async (launch) => {
      const problem = problemOf(3400, { ...small, reverse, given: [...kept, 'path', 'resets'] })
      const path = Array.from(problem.inputs.path!.memory.values).slice(0, small.length)
      return compareOrder(launch, problem, reverse ? path.reverse() : path, backward)
    },
  }
}

function reverseProperty(kernel: PropertyCase['kernel'], backward: boolean): PropertyCase {
  return {
    kernel,
    name: 'reverse equals flipped inputs',
    run: async (launch) => {
      const problem = problemOf(3500, { ...small, reverse: 1, given: [...kept, 'resets'] })
      const order = Array.from({ length: small.length }, (_, t) => small.length - 1 - t)
      return compareOrder(launch, problem, order, backward)
    },
  }
}
