// Cases of the selective scan and its gradient over the whole surface: every optional operand, maps fixed, per token
// and grouped, state sizes special and general, chunks that do and do not divide the length, order, packing.
import type { Dtype } from '../types.js'
import { Draw, type KernelCase, kernelCase, type Launcher, operandOf, output } from './operands.js'

type Map = 'fixed' | 'token' | 'groups'
type Optional = 'D' | 'z' | 'deltaBias' | 'initialState' | 'resets' | 'path'

export interface ScanShape {
  readonly batch: number
  readonly length: number
  readonly channels: number
  readonly stateSize: number
  readonly B?: Map
  readonly C?: Map
  readonly groups?: number
  readonly dtype?: Dtype
  /** Optional operands that are given. Default all but resets and path. */
  readonly given?: readonly Optional[]
  readonly softplus?: 0 | 1
  readonly reverse?: 0 | 1
  readonly chunk?: number
  /** Row padding of u, delta, z and out. Default 0. */
  readonly pad?: number
  /** Probability of a reset. Default 0.2. */
  readonly resetRate?: number
  /** Directions of the path, which then has two axes; `channels` counts those of all of them. Default one path of one axis. */
  readonly directions?: number
  /** Steps of a direction, where it does not visit every position. */
  readonly steps?: number
  /** No position is visited by two directions. */
  readonly apart?: boolean
  /** What has the channels of one direction only. */
  readonly shared?: readonly ('u' | 'delta' | 'z' | 'out')[]
  /** delta, B and C lie in the order of the steps. */
  readonly byStep?: 0 | 1
  readonly window?: number
}

/** Channels of u, delta, z or out. */
const channelsOf = ({ channels, directions = 1, shared = [] }: ScanShape, name: 'u' | 'delta' | 'z' | 'out') =>
  shared.includes(name) ? channels / directions : channels
/** Steps of a direction. */
const stepsOf = ({ length, steps = length }: ScanShape) => steps
/** Rows of delta, B and C. */
const rowsOf = (shape: ScanShape) => (shape.byStep ? stepsOf(shape) : shape.length)
const chunksOf = (shape: ScanShape) => Math.ceil(stepsOf(shape) / (shape.chunk ?? 16))

const usualOptional: readonly Optional[] = ['D', 'z', 'deltaBias', 'initialState']

/** Inputs of a scan. A is random and negative: no two channels are alike. */
export function scanInputs(draw: Draw, shape: ScanShape) {
  const { batch, length, channels, stateSize, groups = 1, dtype = 'float32', given = usualOptional, pad = 0 } = shape
  const softplus = shape.softplus ?? 1
  const sequence = (name: 'u' | 'delta' | 'z', low: number, high: number) =>
    draw.floats([batch, name === 'delta' ? rowsOf(shape) : length, channelsOf(shape, name)], low, high, {
      dtype,
      pad,
      offset: pad,
    })
  const mapOf = (kind: Map = 'token') =>
    kind === 'fixed'
      ? draw.floats([channels, stateSize])
      : draw.floats([batch, rowsOf(shape), kind === 'groups' ? groups : 1, stateSize], -1, 1, { dtype, offset: pad })
  const optional = <T>(name: Optional, make: () => T) => (given.includes(name) ? make() : null)
  return {
    u: sequence('u', -1, 1),
    delta: softplus ? sequence('delta', -3, 1) : sequence('delta', 0.01, 0.7),
    A: draw.floats([channels, stateSize], -4, -0.1),
    B: mapOf(shape.B),
    C: mapOf(shape.C),
    D: optional('D', () => draw.floats([channels])),
    z: optional('z', () => sequence('z', -2, 2)),
    deltaBias: optional('deltaBias', () => draw.floats([channels], softplus ? -1 : 0, 0.2)),
    initialState: optional('initialState', () => draw.floats([batch, channels, stateSize])),
    resets: optional('resets', () => draw.flags([batch, length], shape.resetRate ?? 0.2)),
    path: optional('path', () => {
      const steps = stepsOf(shape)
      const count = shape.directions ?? 1
      const orders = shape.apart
        ? draw.order(length).slice(0, count * steps)
        : Array.from({ length: count }, () => draw.order(length).slice(0, steps)).flat()
      const axes = shape.directions ? [shape.directions, steps] : [steps]
      return operandOf(axes, (i) => orders[i], { dtype: 'int32' })
    }),
  }
}

export function scanNumbers(shape: ScanShape) {
  const { softplus = 1, reverse = 0, chunk = 16, window = 0, byStep = 0 } = shape
  return { softplus, reverse, chunk, window, byStep }
}

/** Outputs of a forward scan. */
export function scanOutputs(shape: ScanShape, wanted: readonly ('finalState' | 'states' | 'chunkStates')[]) {
  const { batch, length, channels, stateSize, dtype = 'float32', pad = 0 } = shape
  return {
    out: output([batch, length, channelsOf(shape, 'out')], { dtype, pad, offset: pad }),
    finalState: wanted.includes('finalState') ? output([batch, channels, stateSize]) : null,
    states: wanted.includes('states') ? output([batch, length, channels, stateSize]) : null,
    chunkStates: wanted.includes('chunkStates') ? output([batch, chunksOf(shape), stateSize, channels]) : null,
  }
}

/** Operands of the gradient, whose chunk states the reference computes. */
async function gradientOperands(draw: Draw, shape: ScanShape, reference: Launcher, states: boolean, kept = true) {
  const { batch, length, channels, stateSize, dtype = 'float32', pad = 0 } = shape
  const { initialState, ...inputs } = scanInputs(draw, shape)
  const forward = await reference(
    'selectiveScan',
    { ...inputs, initialState, ...scanOutputs(shape, ['chunkStates']) },
    scanNumbers(shape),
  )
  const sequence = (like: { readonly shape: readonly number[] }) => output(like.shape, { dtype, pad })
  const state = [batch, channels, stateSize]
  return {
    ...inputs,
    chunkStates: kept ? operandOf([batch, chunksOf(shape), stateSize, channels], (i) => forward.chunkStates[i]) : null,
    gradOut: draw.floats([batch, length, channelsOf(shape, 'out')], -1, 1, { dtype, pad: pad && 2 * pad }),
    gradFinalState: initialState && draw.floats(state),
    gradStates: states ? draw.floats([batch, length, channels, stateSize], -0.3, 0.3) : null,
    gradU: sequence(inputs.u),
    gradDelta: sequence(inputs.delta),
    gradA: output([channels, stateSize]),
    gradB: output(inputs.B.shape),
    gradC: output(inputs.C.shape),
    gradD: inputs.D && output([channels]),
    gradZ: inputs.z && sequence(inputs.z),
    gradDeltaBias: inputs.deltaBias && output([channels]),
    gradInitialState: initialState && output(state),
  }
}

const small = { batch: 2, length: 37, channels: 20, stateSize: 16 } as const

/** Names and shapes of all cases; each is run forward and backward. */
const scanShapes: readonly (readonly [string, ScanShape])[] = [
  ['everything usual', small],
  ['one of each', { batch: 1, length: 1, channels: 1, stateSize: 1 }],
  ['one step', { ...small, length: 1 }],
  ['one channel', { ...small, channels: 1 }],
  ['bare', { ...small, given: [], softplus: 0 }],
  ['no softplus', { ...small, softplus: 0 }],
  ...(['D', 'z', 'deltaBias', 'initialState', 'resets', 'path'] as const).map(
    (name) => [`only ${name}`, { ...small, given: [name] }] as const,
  ),
  ...[1, 2, 3, 4, 5, 8, 13, 16, 17, 64, 256].map(
    (stateSize) => [`N = ${stateSize}`, { ...small, length: 19, channels: 9, stateSize }] as const,
  ),
  ...[7, 15, 16, 17, 33, 70, 131].map((channels) => [`D = ${channels}`, { ...small, length: 11, channels }] as const),
  ...[15, 16, 17, 32, 33, 129].map((length) => [`L = ${length}`, { ...small, length, channels: 5 }] as const),
  ['chunk 1', { ...small, length: 9, chunk: 1 }],
  ['chunk 5', { ...small, chunk: 5 }],
  ['chunk 64', { ...small, length: 150, chunk: 64 }],
  ['chunk longer than the sequence', { ...small, chunk: 100 }],
  ['fixed B', { ...small, B: 'fixed' }],
  ['fixed C', { ...small, C: 'fixed' }],
  ['fixed B and C, N = 4', { ...small, stateSize: 4, B: 'fixed', C: 'fixed' }],
  ['2 groups', { ...small, B: 'groups', C: 'groups', groups: 2 }],
  ['3 groups of 20 channels', { ...small, B: 'groups', C: 'groups', groups: 3 }],
  ['as many groups as channels', { ...small, B: 'groups', C: 'groups', groups: 20, stateSize: 3 }],
  ['groups in B only', { ...small, B: 'groups', groups: 4 }],
  ['reverse', { ...small, reverse: 1 }],
  ['path', { ...small, given: [...usualOptional, 'path'] }],
  ['path and reverse', { ...small, reverse: 1, given: [...usualOptional, 'path'] }],
  ['resets', { ...small, given: [...usualOptional, 'resets'] }],
  ['resets and reverse', { ...small, reverse: 1, given: [...usualOptional, 'resets'] }],
  ['a reset at every step', { ...small, given: [...usualOptional, 'resets'], resetRate: 1 }],
  ['everything', { ...small, reverse: 1, given: [...usualOptional, 'resets', 'path'], B: 'groups', groups: 2 }],
  ['padded rows', { ...small, pad: 3 }],
  ['float16', { ...small, dtype: 'float16' }],
  ['bfloat16', { ...small, dtype: 'bfloat16', pad: 1, given: [...usualOptional, 'resets'] }],
  ['eight sequences', { batch: 8, length: 9, channels: 33, stateSize: 8 }],
  ['no sequence is mixed with another', { batch: 3, length: 40, channels: 64, stateSize: 2, given: ['z'] }],
]

const along = [...usualOptional, 'path'] as const
const perDirection = { B: 'groups', C: 'groups' } as const
/** Four directions over one map, as SS2D has them. */
const crossed: ScanShape = {
  ...{ batch: 2, length: 35, channels: 36, stateSize: 1, directions: 4, groups: 4, given: ['D', 'deltaBias', 'path'] },
  ...{ ...perDirection, shared: ['u', 'out'] },
}

/** Four directions that share the positions out, as the scan of EfficientVMamba that skips. */
const sharedOut: ScanShape = { ...crossed, length: 36, steps: 9, stateSize: 4, apart: true }

/** Several directions. */
const directedShapes: readonly (readonly [string, ScanShape])[] = [
  ['two directions that share nothing', { ...small, directions: 2, given: along }],
  ['four directions, u and out shared', crossed],
  ...[3, 4, 8, 16].map((stateSize) => [`four directions, N = ${stateSize}`, { ...crossed, stateSize }] as const),
  ['four directions of 16 channels', { ...crossed, channels: 64, given: along }],
  [
    'two directions of 64 channels, N = 8',
    { ...crossed, channels: 128, directions: 2, groups: 2, stateSize: 8, given: along },
  ],
  [
    'three directions, everything shared',
    { ...small, channels: 21, directions: 3, given: along, shared: ['u', 'delta', 'z', 'out'] },
  ],
  [
    'everything shared, fixed maps',
    { ...small, directions: 2, given: along, shared: ['u', 'delta', 'z', 'out'], B: 'fixed', C: 'fixed' },
  ],
  [
    'two groups a direction, reverse',
    { ...small, channels: 24, directions: 2, groups: 4, ...perDirection, reverse: 1, given: along },
  ],
  ['groups in B only, by step', { ...crossed, C: 'token', byStep: 1, stateSize: 4, shared: ['u', 'delta', 'out'] }],
  [
    'by step, 64 channels a direction',
    {
      ...crossed,
      channels: 128,
      directions: 2,
      groups: 2,
      C: 'token',
      byStep: 1,
      stateSize: 16,
      given: along,
      shared: ['u', 'delta', 'z', 'out'],
    },
  ],
  ['by step and reverse, chunk 8', { ...crossed, byStep: 1, reverse: 1, chunk: 8, stateSize: 5 }],
  ['one direction by step', { ...small, given: along, byStep: 1 }],
  ['directions with resets', { ...small, directions: 2, given: [...along, 'resets'], shared: ['u', 'out'] }],
  ['directions over a part of the positions', { ...crossed, length: 40, steps: 10, byStep: 1, stateSize: 2 }],
  ['a part of the positions, nothing shared', { ...small, directions: 2, steps: 18, given: along }],
  [
    'a part of the positions, by tiles',
    { ...crossed, length: 70, steps: 33, channels: 128, directions: 2, groups: 2, stateSize: 16, given: along },
  ],
  ['positions shared out, by step', { ...sharedOut, byStep: 1 }],
  ['positions shared out, everything shared', { ...sharedOut, given: along, shared: ['u', 'delta', 'z', 'out'] }],
  [
    'positions shared out, everything shared by step',
    { ...sharedOut, ...{ B: 'token', C: 'token', byStep: 1 }, given: along, shared: ['u', 'delta', 'z', 'out'] },
  ],
  [
    'positions shared out, reverse, blocks and tiles',
    {
      ...sharedOut,
      ...{ batch: 3, length: 280, steps: 70, channels: 256, stateSize: 16, reverse: 1, chunk: 64 },
      given: [...along, 'resets'],
      shared: ['u', 'z', 'out'],
    },
  ],
  ['positions shared out, bfloat16', { ...sharedOut, dtype: 'bfloat16', pad: 1, shared: ['u', 'delta', 'out'] }],
  ['positions shared out, nothing shared', { ...sharedOut, shared: [] }],
  ['as many steps as positions, some visited twice', { ...sharedOut, apart: false }],
  ['visited once or never', { ...sharedOut, length: 40 }],
  ['directions in float16', { ...crossed, dtype: 'float16', pad: 1, stateSize: 4 }],
]

/** Locally bidirectional scans. */
const localShapes: readonly (readonly [string, ScanShape])[] = [
  ...[4, 8, 16].flatMap((window) =>
    [1, 3, 4, 8, 16].map(
      (stateSize) => [`window ${window}, N = ${stateSize}`, { ...small, stateSize, window }] as const,
    ),
  ),
  ['window 2', { ...small, window: 2, chunk: 6 }],
  ['window 5', { ...small, window: 5, chunk: 10 }],
  ['window 32', { ...small, length: 75, window: 32, chunk: 64 }],
  ['window 4, one step', { ...small, length: 1, window: 4 }],
  ['window 4, whole windows', { ...small, length: 32, window: 4 }],
  ['window 8, a chunk a window', { ...small, window: 8, chunk: 8 }],
  ['window 8, one channel', { ...small, channels: 1, window: 8 }],
  ['window 8, long', { ...small, length: 196, window: 8, chunk: 64 }],
  ['window 8, bare', { ...small, given: [], softplus: 0, window: 8 }],
  ['window 4, fixed B and C', { ...small, B: 'fixed', C: 'fixed', window: 4 }],
  ['window 4, groups', { ...small, ...perDirection, groups: 3, window: 4 }],
  ['window 16, groups of 64 channels', { ...small, channels: 128, ...perDirection, groups: 2, window: 16 }],
  ['window 8, reverse', { ...small, reverse: 1, window: 8 }],
  ['window 8, path and reverse', { ...small, reverse: 1, given: along, window: 8 }],
  ['window 4, four directions', { ...crossed, window: 4 }],
  ['window 8, by step, padded bfloat16', { ...crossed, byStep: 1, window: 8, stateSize: 4, dtype: 'bfloat16', pad: 3 }],
]

export function* scanCases(): Generator<KernelCase> {
  for (const [i, [name, shape]] of [...scanShapes, ...directedShapes, ...localShapes].entries()) {
    const hasStates = !shape.window && !shape.steps
    const all = hasStates
      ? (['finalState', 'states', 'chunkStates'] as const)
      : (['finalState', 'chunkStates'] as const)
    const inputs = () => scanInputs(new Draw(3000 + i), shape)
    const numbers = scanNumbers(shape)
    yield kernelCase('selectiveScan', name, { ...inputs(), ...scanOutputs(shape, all) }, numbers)
    yield kernelCase('selectiveScan', `${name}, out alone`, { ...inputs(), ...scanOutputs(shape, []) }, numbers)
    for (const states of hasStates ? [false, true] : [false])
      yield kernelCase(
        'selectiveScanGrad',
        `${name}${states ? ', gradient of states' : ''}`,
        (reference) => gradientOperands(new Draw(3000 + i), shape, reference, states),
        numbers,
      )
  }
  yield* oddScanCases()
  yield* longScanCases()
}

function* longScanCases(): Generator<KernelCase> {
  const long: ScanShape = { batch: 1, length: 70000, channels: 4, stateSize: 4, chunk: 64 }
  const shapes: readonly (readonly [string, ScanShape])[] = [
    ['L = 70,000', long],
    ['L = 70,000, path and reverse', { ...long, reverse: 1, given: [...usualOptional, 'path'] }],
    ['L = 70,000, packed, N = 16', { ...long, stateSize: 16, given: ['resets', 'z'], resetRate: 0.001 }],
    ['L = 131,073', { ...long, length: 131073, channels: 2, stateSize: 2 }],
  ]
  for (const [i, [name, shape]] of shapes.entries()) {
    const numbers = scanNumbers(shape)
    const operands = async () => ({
      ...scanInputs(new Draw(3800 + i), shape),
      ...scanOutputs(shape, ['finalState', 'chunkStates']),
    })
    yield kernelCase('selectiveScan', name, operands, numbers, { long: true })
    const gradient = (reference: Launcher) => gradientOperands(new Draw(3800 + i), shape, reference, false)
    yield kernelCase('selectiveScanGrad', name, gradient, numbers, { long: true })
  }
}

function* oddScanCases(): Generator<KernelCase> {
  const numbers = scanNumbers(small)
  const draw = new Draw(3900)
  const inPlace = scanInputs(draw, small)
  const state = { ...scanOutputs(small, []), finalState: inPlace.initialState }
  yield kernelCase('selectiveScan', 'the state in place', { ...inPlace, ...state }, numbers)

  const wide = scanInputs(draw, small)
  const delta = draw.floats([2, 37, 20], -10, 30)
  yield kernelCase(
    'selectiveScan',
    'delta up to 30',
    { ...wide, delta, ...scanOutputs(small, ['finalState']) },
    numbers,
  )

  // One chunk that starts from zeros.
  for (const [name, shape] of [
    ['usual', { ...small, given: ['D', 'z', 'deltaBias'], chunk: 64 }],
    ['four directions', { ...crossed, batch: 5, chunk: 64 }],
    ['fixed maps, a window', { ...small, given: [], B: 'fixed', chunk: 64, window: 8 }],
    ['many sequences by tiles', { ...small, batch: 9, channels: 128, given: ['z'], chunk: 48 }],
  ] as const satisfies [string, ScanShape][])
    yield kernelCase(
      'selectiveScanGrad',
      `no kept states, ${name}`,
      (reference) => gradientOperands(new Draw(3950), shape, reference, false, false),
      scanNumbers(shape),
    )

  // One NaN spoils its own channel of each direction, or its own window and what follows.
  for (const operand of ['u', 'delta', 'B'] as const)
    for (const [name, shape] of [
      ['directions', { ...crossed, stateSize: 4 }],
      ['a window', { ...small, window: 8 }],
    ] as const) {
      const inputs = scanInputs(draw, shape)
      const spoiled = inputs[operand]
      const values = spoiled.memory.values.slice()
      values[spoiled.offset + 205] = Number.NaN
      const memory = { ...spoiled.memory, values }
      yield kernelCase(
        'selectiveScan',
        `NaN in ${operand}, ${name}`,
        { ...inputs, [operand]: { ...spoiled, memory }, ...scanOutputs(shape, ['finalState']) },
        scanNumbers(shape),
      )
    }

  // One NaN spoils its own channel from its step on, and nothing else.
  for (const operand of ['u', 'delta', 'z', 'initialState', 'B'] as const) {
    const inputs = scanInputs(draw, small)
    const spoiled = inputs[operand]!
    const values = spoiled.memory.values.slice()
    values[spoiled.offset + 205] = Number.NaN
    const memory = { ...spoiled.memory, values }
    yield kernelCase(
      'selectiveScan',
      `NaN in ${operand}`,
      { ...inputs, [operand]: { ...spoiled, memory }, ...scanOutputs(small, ['finalState']) },
      numbers,
    )
  }
}
