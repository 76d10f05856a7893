// Laws of the causal convolution, in outputs, states and gradients: a sequence cut anywhere equals the whole, single
// steps equal the whole, a batch equals its members, and packed sequences equal separate ones.
import { type ConvShape, convInputs, convOutputs } from './conv.cases.js'
import {
  compareAll,
  Draw,
  type HostOperand,
  joined,
  type Launcher,
  narrow,
  operandOf,
  output,
  type PropertyCase,
  summed,
} from './operands.js'

/** A convolution to run, with the gradients that flow into its results. */
interface Problem {
  readonly shape: ConvShape
  readonly inputs: ReturnType<typeof convInputs>
  readonly gradOut: HostOperand
  readonly gradFinalState: HostOperand | null
}
type Written = Readonly<Record<string, HostOperand>>

function problemOf(seed: number, shape: ConvShape): Problem {
  const draw = new Draw(seed)
  const { batch, length, channels, width } = shape
  const inputs = convInputs(draw, shape)
  const gradOut = draw.floats([batch, length, channels])
  return { shape, inputs, gradOut, gradFinalState: draw.floats([batch, width, channels]) }
}

async function runOnce(
  launch: Launcher,
  { shape, inputs, gradOut, gradFinalState }: Problem,
  backward: boolean,
): Promise<Written> {
  const outputs = convOutputs(shape)
  const made = await launch('causalConv1d', { ...inputs, ...outputs }, { silu: 1, reverse: shape.reverse ?? 0 })
  const results: Record<string, HostOperand> = {
    out: operandOf(outputs.out.shape, (i) => made.out[i]),
    finalState: operandOf(outputs.finalState!.shape, (i) => made.finalState[i]),
  }
  if (!backward) return results
  const grads = {
    gradIn: output(inputs.input.shape),
    gradWeight: output(inputs.weight.shape),
    gradBias: inputs.bias && output(inputs.bias.shape),
    gradInitialState: output(outputs.finalState!.shape),
  }
  const written = await launch(
    'causalConv1dGrad',
    { ...inputs, gradOut, gradFinalState, ...grads },
    { silu: 1, reverse: shape.reverse ?? 0 },
  )
  for (const [name, operand] of Object.entries(grads))
    if (operand) results[name] = operandOf(operand.shape, (i) => written[name][i])
  return results
}

const valuesOfAll = (written: Written): Record<string, Float64Array> =>
  Object.fromEntries(Object.entries(written).map(([name, operand]) => [name, joined([operand], 0)]))

function part({ shape, inputs, gradOut, gradFinalState }: Problem, axis: 0 | 1, from: number, to: number): Problem {
  const cut = <T extends HostOperand | null>(x: T) => (x && narrow(x, axis, from, to - from)) as T
  const byMember = <T extends HostOperand | null>(x: T) => (axis === 0 ? cut(x) : x)
  const { input, resets, initialState } = inputs
  return {
    shape: { ...shape, [axis === 0 ? 'batch' : 'length']: to - from },
    inputs: { ...inputs, input: cut(input), resets: cut(resets), initialState: byMember(initialState) },
    gradOut: cut(gradOut),
    gradFinalState: byMember(gradFinalState),
  }
}

function together(parts: readonly Written[], axis: 0 | 1): Record<string, Float64Array> {
  const results: Record<string, Float64Array> = {}
  for (const name of Object.keys(parts[0])) {
    const operands = parts.map((written) => written[name])
    if (name === 'out' || name === 'gradIn') results[name] = joined(operands, axis)
    else if (name === 'gradWeight' || name === 'gradBias') results[name] = summed(operands)
    else if (axis === 0) results[name] = joined(operands, 0)
    else results[name] = joined(name === 'finalState' ? operands.slice(-1) : operands.slice(0, 1), 0)
  }
  return results
}

/** Runs a problem in pieces that end at `ends`, the state carried over, and gradients carried back. */
async function inPieces(launch: Launcher, problem: Problem, ends: readonly number[], backward: boolean) {
  const started: Problem[] = []
  let state = problem.inputs.initialState
  for (const [i, end] of ends.entries()) {
    const piece = part(problem, 1, ends[i - 1] ?? 0, end)
    started.push({ ...piece, inputs: { ...piece.inputs, initialState: state } })
    state = (await runOnce(launch, started[i], false)).finalState
  }
  const written: Written[] = []
  let { gradFinalState } = problem
  for (const piece of started.toReversed()) {
    const results = await runOnce(launch, { ...piece, gradFinalState }, backward)
    gradFinalState = results.gradInitialState ?? null
    written.unshift(results)
  }
  return together(written, 1)
}

const small: ConvShape = { batch: 2, length: 23, channels: 19, width: 4 }
const shapes: readonly (readonly [string, ConvShape])[] = [
  ['usual', small],
  ['width 3', { ...small, width: 3 }],
  ['packed', { ...small, given: ['bias', 'initialState', 'resets'] }],
]

export function* convProperties(): Generator<PropertyCase> {
  for (const backward of [false, true]) {
    const kernel = backward ? 'causalConv1dGrad' : 'causalConv1d'
    for (const [i, [name, shape]] of shapes.entries()) {
      const { batch, length } = shape
      const steps = Array.from({ length }, (_, t) => t + 1)
      for (const [how, ends] of [
        ['cut after the first step', [1, length]],
        ['cut at 2, 3 and 16', [2, 3, 16, length]],
        ['cut before the last step', [length - 1, length]],
        ['taken in single steps', steps],
      ] as const)
        yield {
          kernel,
          name: `${name}: a sequence ${how} equals the whole`,
          run: async (launch) => {
            const problem = problemOf(7600 + i, shape)
            const whole = valuesOfAll(await runOnce(launch, problem, backward))
            return compareAll(await inPieces(launch, problem, ends, backward), whole)
          },
        }
      yield {
        kernel,
        name: `${name}: a batch equals its members`,
        run: async (launch) => {
          const problem = problemOf(7700 + i, shape)
          const members: Written[] = []
          for (let b = 0; b < batch; b++) members.push(await runOnce(launch, part(problem, 0, b, b + 1), backward))
          return compareAll(together(members, 0), valuesOfAll(await runOnce(launch, problem, backward)))
        },
      }
    }
    yield {
      kernel,
      name: 'packed sequences equal separate ones',
      run: async (launch) => {
        const ends = [2, 3, 12, 23]
        const drawn = problemOf(7800, { ...small, given: ['bias'] })
        const starts = new Set([0, ...ends])
        const resets = operandOf([2, 23], (i) => (starts.has(i % 23) ? 1 : 0), { dtype: 'uint8' })
        const packed = await runOnce(launch, { ...drawn, inputs: { ...drawn.inputs, resets } }, backward)
        const separate: Written[] = []
        for (const [i, end] of ends.entries()) {
          const piece = part(drawn, 1, ends[i - 1] ?? 0, end)
          separate.push(
            await runOnce(launch, { ...piece, gradFinalState: end === 23 ? drawn.gradFinalState : null }, backward),
          )
        }
        const { gradInitialState, ...expected } = together(separate, 1)
        const nothing = gradInitialState && { gradInitialState: gradInitialState.map(() => 0) }
        return compareAll(valuesOfAll(packed), { ...expected, ...nothing })
      },
    }
  }
}
