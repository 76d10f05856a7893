import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  activations,
  type KernelName,
  launch,
  type NumbersOf,
  type OperandsOf,
  signatures,
  unaryFunctions,
} from '../kernels.js'
import { type ConvolutionShape, convolutionProblem } from '../suite/convolution.cases.js'
import { Draw, operandOf } from '../suite/operands.js'
import { type ScanShape, scanInputs, scanNumbers, scanOutputs } from '../suite/scan.cases.js'
import type { Operand } from '../types.js'
import { openReference } from './index.js'
import { placing } from './placing.js'

const backend = openReference()

const { place, blank } = placing(backend)

/** Central differences of sum(output * gradOutput) over every element of every input that has a gradient. */
function checkGradients(check: {
  readonly forward: () => void
  /** Each output beside the gradient that flows into it. */
  readonly outputs: readonly (readonly [Operand, Operand])[]
  readonly backward: () => void
  /** Each input beside the gradient that the kernel wrote. */
  readonly gradients: Readonly<Record<string, readonly [Operand | null | undefined, Operand | null | undefined]>>
}): void {
  check.forward()
  check.backward()
  const loss = () => {
    check.forward()
    let sum = 0
    for (const [output, gradOutput] of check.outputs) {
      const grads = backend.values(gradOutput)
      backend.values(output).forEach((value, i) => {
        sum += value * grads[i]
      })
    }
    return sum
  }
  const h = 1e-5
  for (const [name, [input, gradient]] of Object.entries(check.gradients)) {
    if (!input || !gradient) continue
    const written = backend.values(gradient)
    const values = backend.values(input)
    values.forEach((value, i) => {
      const nudged = values.slice()
      nudged[i] = value + h
      backend.setValues(input, nudged)
      const above = loss()
      nudged[i] = value - h
      backend.setValues(input, nudged)
      const slope = (above - loss()) / (2 * h)
      backend.setValues(input, values)
      assert.ok(
        Math.abs(slope - written[i]) <= 1e-7 * (1 + Math.abs(slope)),
        `${name}[${i}]: the kernel says ${written[i]}, differences say ${slope}`,
      )
    })
  }
}

function run<K extends KernelName>(kernel: K, operands: OperandsOf<K>, numbers: NumbersOf<K>): void {
  launch(backend, kernel, operands, numbers)
}

const draw = new Draw(77)
const random = (shape: readonly number[], low = -1, high = 1) => place(draw.floats(shape, low, high))

for (const [code, name] of unaryFunctions.entries()) {
  if (name === 'not') continue
  test(`unaryGrad of ${name} is the slope of ${name}`, () => {
    const positive = ['log', 'sqrt', 'rsqrt', 'log1p', 'pow', 'reciprocal'].includes(name)
    const input = positive ? random([40], 0.2, 5) : random([40], -7, 7)
    const [out, gradIn, gradOut] = [blank([40]), blank([40]), random([40])]
    const numbers = { function: code, alpha: name === 'clamp' ? -2 : 1.3, beta: name === 'clamp' ? 3 : 0.4 }
    checkGradients({
      forward: () => run('unary', { input, out }, numbers),
      outputs: [[out, gradOut]],
      backward: () => run('unaryGrad', { input, gradOut, gradIn }, numbers),
      gradients: { input: [input, gradIn] },
    })
  })
}

for (const log of [0, 1])
  test(`softmaxGrad is the slope of softmax, log ${log}`, () => {
    const [input, out, gradOut, gradIn] = [random([3, 7], -3, 3), blank([3, 7]), random([3, 7]), blank([3, 7])]
    checkGradients({
      forward: () => run('softmax', { input, out }, { log }),
      outputs: [[out, gradOut]],
      backward: () => run('softmaxGrad', { output: out, gradOut, gradIn }, { log }),
      gradients: { input: [input, gradIn] },
    })
  })

for (const kernel of ['rmsNorm', 'layerNorm'] as const)
  for (const full of [true, false])
    test(`${kernel}Grad is the slope of ${kernel}, ${full ? 'with every operand' : 'bare'}`, () => {
      const shape = [4, 9]
      const [input, out, sum, gradOut, gradIn] = [
        random(shape),
        blank(shape),
        blank(shape),
        random(shape),
        blank(shape),
      ]
      const residual = full ? random(shape) : null
      const weight = full ? random([9]) : null
      const bias = full && kernel === 'layerNorm' ? random([9]) : null
      const gradSum = full ? random(shape) : null
      const [mean, rstd, gradWeight, gradBias] = [blank([4]), blank([4]), weight && blank([9]), bias && blank([9])]
      const forward = { input, residual, weight, out, sum, rstd }
      const backward = { input: sum, weight, rstd, gradOut, gradSum, gradIn, gradWeight }
      checkGradients({
        forward: () =>
          kernel === 'rmsNorm'
            ? run(kernel, forward, { eps: 1e-2 })
            : run(kernel, { ...forward, bias, mean }, { eps: 1e-2 }),
        outputs: [[out, gradOut], ...(gradSum ? ([[sum, gradSum]] as const) : [])],
        backward: () =>
          kernel === 'rmsNorm'
            ? run('rmsNormGrad', backward, {})
            : run('layerNormGrad', { ...backward, mean, gradBias }, {}),
        gradients: {
          input: [input, gradIn],
          residual: [residual, gradIn],
          weight: [weight, gradWeight],
          bias: [bias, gradBias],
        },
      })
    })

for (const [name, groups, weighted] of [
  ['every channel a group', 6, true],
  ['groups of three', 2, true],
  ['bare', 3, false],
] as const)
  for (const fixed of [0, 1])
    test(`groupNormGrad is the slope of groupNorm: ${name}, fixed ${fixed}`, () => {
      const shape = [2, 5, 6]
      const [input, out, gradOut, gradIn] = [random(shape, -2, 2), blank(shape), random(shape), blank(shape)]
      const [weight, bias] = [weighted ? random([6], 0.5, 2) : null, weighted ? random([6]) : null]
      const [gradWeight, gradBias] = [weight && blank([6]), bias && blank([6])]
      const [mean, variance] = [random([2, groups]), random([2, groups], 0.5, 2)]
      const numbers = { eps: 1e-2 }
      const statistics = { mean, variance }
      checkGradients({
        forward: () => {
          if (!fixed) run('groupStatistics', { input, ...statistics }, {})
          run('groupNorm', { input, ...statistics, weight, bias, out }, numbers)
        },
        outputs: [[out, gradOut]],
        backward: () =>
          run(
            'groupNormGrad',
            { input, ...statistics, weight, gradOut, gradIn, gradWeight, gradBias },
            { ...numbers, fixed },
          ),
        gradients: { input: [input, gradIn], weight: [weight, gradWeight], bias: [bias, gradBias] },
      })
    })

test('maxPoolGrad is the slope of maxPool', () => {
  const [input, out, gradOut, gradIn] = [random([2, 5, 3]), blank([2, 4, 3]), random([2, 4, 3]), blank([2, 5, 3])]
  const table = (shape: readonly number[], values: readonly number[]) =>
    place(operandOf(shape, (i) => values[i], { dtype: 'int32' }))
  const winner = blank([2, 4, 3], 'int32')
  const index = table([4, 3], [-1, 0, 1, 0, 1, 2, 2, 3, 4, 4, 3, 5])
  const readers = table([5, 2], [0, 1, 1, 0, 1, 2, 2, 3, 3, 2])
  checkGradients({
    forward: () => run('maxPool', { input, index, out, winner }, {}),
    outputs: [[out, gradOut]],
    backward: () => run('maxPoolGrad', { winner, gradOut, index: readers, gradIn }, {}),
    gradients: { input: [input, gradIn] },
  })
})

for (const [filter, name] of ['linear', 'nearest', 'cubic'].entries())
  for (const outside of [0, 1, 2])
    for (const axes of [2, 3])
      test(`gridSampleGrad is the slope of gridSample: ${name}, outside ${outside}, ${axes} axes`, () => {
        const [depth, height, width] = axes === 3 ? [2, 3, 4] : [1, 3, 4]
        const input = random([2, depth * height * width, 2])
        const [grid, out] = [random([2, 6, axes], -1.6, 1.6), blank([2, 6, 2])]
        const [gradOut, gradIn, gradGrid] = [random([2, 6, 2]), blank(input.shape), blank(grid.shape)]
        const numbers = { depth, height, width, filter, outside, alignCorners: (filter + outside) % 2 }
        checkGradients({
          forward: () => run('gridSample', { input, grid, out }, numbers),
          outputs: [[out, gradOut]],
          backward: () => run('gridSampleGrad', { input, grid, gradOut, gradIn, gradGrid }, numbers),
          gradients: { input: [input, gradIn], grid: [grid, gradGrid] },
        })
      })

for (const labelSmoothing of [0, 0.3])
  for (const weighted of [true, false])
    test(`crossEntropy writes the slope of its loss, smoothing ${labelSmoothing}, ${weighted ? 'weighted' : 'plain'}`, () => {
      const [logits, loss, gradLogits] = [random([5, 6], -3, 3), blank([5]), blank([5, 6])]
      const targets = place(operandOf([5], (i) => [0, 5, -100, 3, 3][i], { dtype: 'int32' }))
      const rowScale = weighted ? random([5], 0.1, 2) : place(operandOf([5], () => 1))
      const classWeights = weighted ? random([6], 0.2, 2) : null
      const scale = place(operandOf([5], (i) => 0.7 * backend.values(rowScale)[i]))
      const numbers = { ignoreIndex: -100, labelSmoothing, scale: 0.7 }
      checkGradients({
        forward: () => run('crossEntropy', { logits, targets, classWeights, loss }, numbers),
        outputs: [[loss, scale]],
        backward: () =>
          run(
            'crossEntropy',
            { logits, targets, classWeights, rowScale: weighted ? rowScale : null, gradLogits },
            numbers,
          ),
        gradients: { logits: [logits, gradLogits] },
      })
    })

for (const [name, length, width, full] of [
  ['every operand', 7, 4, true],
  ['bare', 7, 3, false],
  ['a sequence shorter than the kernel', 2, 4, true],
  ['one tap', 3, 1, true],
] as const)
  for (const silu of [0, 1])
    test(`causalConv1dGrad is the slope of causalConv1d: ${name}, silu and reverse ${silu}`, () => {
      const [batch, channels] = [2, 3]
      const shape = [batch, length, channels]
      const state = [batch, width, channels]
      const [input, weight, out] = [random(shape), random([channels, 1, width]), blank(shape)]
      const bias = full ? random([channels]) : null
      const initialState = full ? random(state) : null
      const resets = full ? place(draw.flags([batch, length], 0.25)) : null
      const [finalState, gradOut, gradFinalState] = [blank(state), random(shape), random(state)]
      const [gradIn, gradWeight] = [blank(shape), blank([channels, 1, width])]
      const [gradBias, gradInitialState] = [bias && blank([channels]), initialState && blank(state)]
      const given = { input, weight, bias, initialState, resets }
      checkGradients({
        forward: () => run('causalConv1d', { ...given, out, finalState }, { silu, reverse: silu }),
        outputs: [
          [out, gradOut],
          [finalState, gradFinalState],
        ],
        backward: () =>
          run(
            'causalConv1dGrad',
            { ...given, gradOut, gradFinalState, gradIn, gradWeight, gradBias, gradInitialState },
            { silu, reverse: silu },
          ),
        gradients: {
          input: [input, gradIn],
          weight: [weight, gradWeight],
          bias: [bias, gradBias],
          initialState: [initialState, gradInitialState],
        },
      })
    })

const images = { batch: 2, extents: [5, 4], inChannels: 4, outChannels: 6, kernel: [3, 2] } as const
const convolutions: readonly (readonly [string, ConvolutionShape])[] = [
  ['plain', { ...images, bias: false }],
  ['padded, strided, dilated, grouped', { ...images, padding: [[2, 1], [0, 1]], stride: [2, 1], dilation: [1, 2], groups: 2 }], // biome-ignore format: pairs
  ['depth-wise', { ...images, outChannels: 4, groups: 4, padding: [[1, 1], [1, 0]] }], // biome-ignore format: pairs
  ['3-D', { ...images, extents: [2, 3, 2], kernel: [2, 2, 1], stride: [1, 2, 1], padding: [[1, 0], [1, 1], [0, 0]] }], // biome-ignore format: pairs
]
for (const [name, shape] of convolutions) {
  const host = convolutionProblem(draw, shape)
  const { numbers } = host
  const given = { input: place(host.input), weight: place(host.weight), bias: place(host.bias) }
  const gradOut = place(host.gradOut)
  const [gradIn, gradWeight] = [blank(host.input.shape), blank(host.weight.shape)]
  test(`the gradients of convolution are its slopes: ${name}`, () => {
    const out = blank(host.out.shape)
    const gradBias = given.bias && blank(given.bias.shape)
    checkGradients({
      forward: () => run('convolution', { ...given, out }, numbers),
      outputs: [[out, gradOut]],
      backward: () => {
        run('convolutionGradInput', { gradOut, weight: given.weight, gradIn }, numbers)
        run('convolutionGradWeight', { input: given.input, gradOut, gradWeight, gradBias }, numbers)
      },
      gradients: {
        input: [given.input, gradIn],
        weight: [given.weight, gradWeight],
        bias: [given.bias, gradBias],
      },
    })
  })
  test(`the gradients of the transposed convolution are its slopes: ${name}`, () => {
    const [out, gradTo] = [blank(host.input.shape), random(host.input.shape)]
    const gradFrom = blank(host.gradOut.shape)
    checkGradients({
      forward: () => run('convolutionGradInput', { gradOut, weight: given.weight, gradIn: out }, numbers),
      outputs: [[out, gradTo]],
      backward: () => {
        run('convolution', { input: gradTo, weight: given.weight, out: gradFrom }, numbers)
        run('convolutionGradWeight', { input: gradTo, gradOut, gradWeight }, numbers)
      },
      gradients: { input: [gradOut, gradFrom], weight: [given.weight, gradWeight] },
    })
  })
}

const small = { batch: 2, length: 7, channels: 4, stateSize: 3, chunk: 3 } as const
const most = ['D', 'z', 'deltaBias', 'initialState'] as const
const scans: readonly (readonly [string, ScanShape])[] = [
  ['every operand but resets and path', small],
  ['bare, without softplus', { ...small, given: [], softplus: 0 }],
  ['fixed B and C', { ...small, B: 'fixed', C: 'fixed' }],
  ['two groups', { ...small, B: 'groups', C: 'groups', groups: 2 }],
  ['reverse with resets', { ...small, reverse: 1, given: [...most, 'resets'], resetRate: 0.3 }],
  ['path with resets', { ...small, given: [...most, 'path', 'resets'], resetRate: 0.3 }],
  ['path and reverse', { ...small, reverse: 1, given: [...most, 'path'] }],
  [
    'directions that share all',
    { ...small, directions: 2, given: [...most, 'path'], shared: ['u', 'delta', 'z', 'out'], B: 'groups', groups: 2 },
  ],
  ['directions by step', { ...small, directions: 2, given: [...most, 'path'], shared: ['u', 'out'], byStep: 1 }],
  ['directions over a part', { ...small, directions: 2, steps: 4, given: [...most, 'path'], B: 'fixed' }],
  ['a window', { ...small, window: 3 }],
  ['a window of 2 in reverse, fixed C', { ...small, window: 2, chunk: 4, reverse: 1, C: 'fixed', softplus: 0 }],
  [
    'a window along directions',
    { ...small, window: 3, directions: 2, given: [...most, 'path'], shared: ['u', 'delta', 'z', 'out'], byStep: 1 },
  ],
]
for (const [name, shape] of scans)
  test(`selectiveScanGrad is the slope of selectiveScan: ${name}`, () => {
    const host = scanInputs(draw, shape)
    const given = {
      ...{ u: place(host.u), delta: place(host.delta), A: place(host.A), B: place(host.B), C: place(host.C) },
      ...{ D: place(host.D), z: place(host.z), deltaBias: place(host.deltaBias) },
      ...{ resets: place(host.resets), path: place(host.path) },
    }
    const initialState = place(host.initialState)
    const like = <T extends Operand | null>(x: T) => (x ? blank(x.shape) : null) as T
    const wanted = ['finalState', 'chunkStates', ...(shape.window || shape.steps ? [] : ['states' as const])] as const
    const outputs = scanOutputs(shape, wanted)
    const [out, finalState] = [blank(outputs.out.shape), blank(outputs.finalState!.shape)]
    const states = outputs.states && blank(outputs.states.shape)
    const chunkStates = blank(outputs.chunkStates!.shape)
    const [gradOut, gradFinalState] = [random(out.shape), random(finalState.shape)]
    const gradStates = states && random(states.shape)
    const grads = {
      ...{ gradU: like(given.u), gradDelta: like(given.delta), gradA: like(given.A), gradB: like(given.B) },
      ...{ gradC: like(given.C), gradD: like(given.D), gradZ: like(given.z), gradDeltaBias: like(given.deltaBias) },
      gradInitialState: like(initialState),
    }
    const numbers = scanNumbers(shape)
    checkGradients({
      forward: () => run('selectiveScan', { ...given, initialState, out, finalState, states, chunkStates }, numbers),
      outputs: [
        [out, gradOut],
        [finalState, gradFinalState],
        ...(states && gradStates ? [[states, gradStates] as const] : []),
      ],
      backward: () =>
        run('selectiveScanGrad', { ...given, chunkStates, gradOut, gradFinalState, gradStates, ...grads }, numbers),
      gradients: {
        u: [given.u, grads.gradU],
        delta: [given.delta, grads.gradDelta],
        A: [given.A, grads.gradA],
        B: [given.B, grads.gradB],
        C: [given.C, grads.gradC],
        D: [given.D, grads.gradD],
        z: [given.z, grads.gradZ],
        deltaBias: [given.deltaBias, grads.gradDeltaBias],
        initialState: [initialState, grads.gradInitialState],
      },
    })
  })

for (const [name, causal, lengths] of [
  ['all keys', 0, null],
  ['causal', 1, null],
  ['key lengths', 0, [3, 6]],
  ['causal with key lengths and a query without keys', 1, [2, 6]],
] as const)
  test(`attentionGrad is the slope of attention: ${name}`, () => {
    const [batch, length, keys, heads, keyHeads, dimension] = [2, 4, 6, 4, 2, 3]
    const queries = [batch, length, heads, dimension]
    const [q, k, v] = [
      random(queries),
      random([batch, keys, keyHeads, dimension]),
      random([batch, keys, keyHeads, dimension]),
    ]
    const keyLengths = lengths && place(operandOf([batch], (i) => lengths[i], { dtype: 'int32' }))
    const [out, gradOut, logSumExp] = [blank(queries), random(queries), blank([batch, heads, length])]
    const [gradQ, gradK, gradV] = [blank(queries), blank(k.shape), blank(v.shape)]
    const numbers = { scale: 0.6, causal }
    checkGradients({
      forward: () => run('attention', { q, k, v, keyLengths, out, logSumExp }, numbers),
      outputs: [[out, gradOut]],
      backward: () =>
        run('attentionGrad', { q, k, v, keyLengths, out, logSumExp, gradOut, gradQ, gradK, gradV }, numbers),
      gradients: { q: [q, gradQ], k: [k, gradK], v: [v, gradV] },
    })
  })

for (const interleaved of [0, 1])
  test(`turning back is the gradient of rotary, interleaved ${interleaved}`, () => {
    const shape = [2, 3, 2, 6]
    const [input, out, gradOut, gradIn] = [random(shape), blank(shape), random(shape), blank(shape)]
    const numbers = { base: 100, rotaryDim: 4, interleaved }
    checkGradients({
      forward: () => run('rotary', { input, out }, { ...numbers, inverse: 0 }),
      outputs: [[out, gradOut]],
      backward: () => run('rotary', { input: gradOut, out: gradIn }, { ...numbers, inverse: 1 }),
      gradients: { input: [input, gradIn] },
    })
  })

for (const [activation, name] of activations.entries())
  test(`gatedActivationGrad is the slope of gatedActivation: ${name}`, () => {
    const [gate, value, out, gradOut] = [random([30], -4, 4), random([30]), blank([30]), random([30])]
    const [gradGate, gradValue] = [blank([30]), blank([30])]
    checkGradients({
      forward: () => run('gatedActivation', { gate, value, out }, { activation }),
      outputs: [[out, gradOut]],
      backward: () => run('gatedActivationGrad', { gate, value, gradOut, gradGate, gradValue }, { activation }),
      gradients: { gate: [gate, gradGate], value: [value, gradValue] },
    })
  })

test('every kernel of the table whose name ends in Grad is checked here', () => {
  const checked = [
    'unary',
    'softmax',
    'rmsNorm',
    'layerNorm',
    'groupNorm',
    'maxPool',
    'gridSample',
    'causalConv1d',
    'selectiveScan',
    'attention',
    'gatedActivation',
  ]
  const gradients = Object.keys(signatures).filter((name) => name.endsWith('Grad'))
  assert.deepEqual(gradients.sort(), checked.map((name) => `${name}Grad`).sort())
})
