// Recurrent layers with gates, composed of existing operations: GRU and LSTM, several layers, one or two directions.
import { MambakitError, ShapeError } from '../errors.js'
import {
  add,
  concat,
  linear,
  mul,
  reshape,
  select,
  sigmoid,
  slice,
  split,
  sub,
  type Tensor,
  tanh,
  zeros,
} from '../tensor/index.js'
import { sameShape } from '../tensor/shape.js'
import { uniformWithin } from './initializers.js'
import { Module, type Parameter } from './module.js'

export interface RecurrentOptions {
  /** Default 1. */
  layers?: number
  /** Also run backwards, and join both outputs. Default false. */
  bidirectional?: boolean
  /** Default true. */
  bias?: boolean
}

/** Weights of one layer in one direction. */
interface Direction {
  readonly inputWeight: Parameter
  readonly hiddenWeight: Parameter
  readonly inputBias: Parameter | null
  readonly hiddenBias: Parameter | null
}

/** Values that are carried from step to step, (B, H) each. */
type Carried = readonly Tensor[]

/** Weights under PyTorch's names, and the loop over time, layers and directions. */
abstract class Recurrent extends Module {
  readonly #directions: readonly (readonly Direction[])[]
  readonly #perLayer: number
  protected constructor(
    readonly inputSize: number,
    readonly hiddenSize: number,
    /** Gates, and values that are carried. */
    protected readonly gates: number,
    protected readonly carriedValues: number,
    options: RecurrentOptions,
  ) {
    super()
    const { layers = 1, bidirectional = false, bias = true } = options
    if (!(Number.isInteger(layers) && layers > 0))
      throw new MambakitError(`${this.constructor.name}: expected a number of layers, got ${layers}`)
    this.#perLayer = bidirectional ? 2 : 1
    const initializer = uniformWithin(1 / Math.sqrt(hiddenSize))
    const rows = gates * hiddenSize
    const direction = (layer: number, suffix: string): Direction => {
      const name = (what: string) => `${what}_l${layer}${suffix}`
      const from = layer === 0 ? inputSize : hiddenSize * this.#perLayer
      const vector = (what: string) => (bias ? this.parameter(name(what), [rows], initializer, { decay: false }) : null)
      return {
        inputWeight: this.parameter(name('weight_ih'), [rows, from], initializer),
        hiddenWeight: this.parameter(name('weight_hh'), [rows, hiddenSize], initializer),
        inputBias: vector('bias_ih'),
        hiddenBias: vector('bias_hh'),
      }
    }
    const suffixes = bidirectional ? ['', '_reverse'] : ['']
    this.#directions = Array.from({ length: layers }, (_, layer) => suffixes.map((suffix) => direction(layer, suffix)))
  }

  /** One step from the gates of the input and of the carried hidden values, (B, gates H) each. */
  protected abstract step(fromInput: Tensor, fromHidden: Tensor, carried: Carried): Carried

  /** (B, L, in) -> out (B, L, H directions) and the carried values (layers directions, B, H). */
  protected run(input: Tensor, initial: readonly (Tensor | null | undefined)[]): { out: Tensor; last: Carried } {
    if (input.rank !== 3 || input.shape[2] !== this.inputSize)
      throw new ShapeError(this.constructor.name, [input.shape], `expected (B, L, ${this.inputSize})`)
    const [batch] = input.shape
    const shape = [this.#directions.length * this.#perLayer, batch, this.hiddenSize]
    for (const state of initial)
      if (state && !sameShape(state.shape, shape))
        throw new ShapeError(this.constructor.name, [state.shape], `expected a state (${shape.join(', ')})`)
    const start = (at: number) =>
      Array.from({ length: this.carriedValues }, (_, i) => {
        const given = initial[i]
        return given ? select(given, 0, at) : zeros(shape.slice(1), { dtype: input.dtype, backend: input.backend })
      })
    const last: Tensor[][] = Array.from({ length: this.carriedValues }, () => [])
    let out = input
    this.#directions.forEach((directions, layer) => {
      const outputs = directions.map((weights, d) => {
        const result = this.#along(out, weights, start(layer * this.#perLayer + d), d === 1)
        result.carried.forEach((value, i) => {
          last[i].push(reshape(value, [1, batch, this.hiddenSize]))
        })
        return result.out
      })
      out = outputs.length === 1 ? outputs[0] : concat(outputs, 2)
    })
    return { out, last: last.map((values) => concat(values, 0)) }
  }

  #along(input: Tensor, weights: Direction, start: Carried, backwards: boolean): { out: Tensor; carried: Carried } {
    const [batch, length] = input.shape
    const gates = linear(input, weights.inputWeight.value, weights.inputBias?.value)
    const steps: Tensor[] = new Array(length)
    let carried = start
    for (let i = 0; i < length; i++) {
      const t = backwards ? length - 1 - i : i
      const fromInput = reshape(slice(gates, 1, t, t + 1), [batch, this.gates * this.hiddenSize])
      const fromHidden = linear(carried[0], weights.hiddenWeight.value, weights.hiddenBias?.value)
      carried = this.step(fromInput, fromHidden, carried)
      steps[t] = reshape(carried[0], [batch, 1, this.hiddenSize])
    }
    return { out: concat(steps, 1), carried }
  }
}

/** Gated recurrent units; gates in the order r, z, n. mirrors: torch.nn.GRU with batch_first */
export class GRU extends Recurrent {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super(inputSize, hiddenSize, 3, 1, options)
  }
  protected step(fromInput: Tensor, fromHidden: Tensor, [hidden]: Carried): Carried {
    const sizes = [this.hiddenSize, this.hiddenSize, this.hiddenSize]
    const [ri, zi, ni] = split(fromInput, sizes)
    const [rh, zh, nh] = split(fromHidden, sizes)
    const next = tanh(add(ni, mul(sigmoid(add(ri, rh)), nh)))
    return [add(next, mul(sigmoid(add(zi, zh)), sub(hidden, next)))]
  }
  /** (B, L, in), hidden (layers directions, B, H), default zeros -> out (B, L, H directions), hidden. */
  forward(input: Tensor, hidden: Tensor | null = null): { out: Tensor; hidden: Tensor } {
    const { out, last } = this.run(input, [hidden])
    return { out, hidden: last[0] }
  }
}

/** Long short-term memory; gates in the order i, f, g, o. mirrors: torch.nn.LSTM with batch_first */
export class LSTM extends Recurrent {
  constructor(inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super(inputSize, hiddenSize, 4, 2, options)
  }
  protected step(fromInput: Tensor, fromHidden: Tensor, [, cell]: Carried): Carried {
    const sizes = [this.hiddenSize, this.hiddenSize, this.hiddenSize, this.hiddenSize]
    const [i, f, g, o] = split(add(fromInput, fromHidden), sizes)
    const kept = add(mul(sigmoid(f), cell), mul(sigmoid(i), tanh(g)))
    return [mul(sigmoid(o), tanh(kept)), kept]
  }
  /** (B, L, in), hidden and cell (layers directions, B, H), default zeros -> out (B, L, H directions), hidden, cell. */
  forward(
    input: Tensor,
    state: { hidden?: Tensor | null; cell?: Tensor | null } = {},
  ): { out: Tensor; hidden: Tensor; cell: Tensor } {
    const { out, last } = this.run(input, [state.hidden, state.cell])
    return { out, hidden: last[0], cell: last[1] }
  }
}
