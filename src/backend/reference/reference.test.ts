import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DeviceError, IndexError } from '../../errors.js'
import { fromHost, toHost } from '../hostFormat.js'
import {
  activations,
  binaryFunctions,
  type KernelName,
  launch,
  type NumbersOf,
  type OperandsOf,
  signatures,
  unaryFunctions,
} from '../kernels.js'
import { Draw, type HostOperand, operandOf, valuesOf } from '../suite/operands.js'
import { type ScanShape, scanInputs, scanNumbers } from '../suite/scan.cases.js'
import { bytesPerElement, type Operand } from '../types.js'
import { erf } from './elementwise.reference.js'
import { openReference } from './index.js'
import { philox4x32 } from './random.reference.js'

const backend = openReference()

/** A dense operand on the reference with the values of a host operand. */
function place<T extends HostOperand | null | undefined>(host: T): T extends HostOperand ? Operand : null {
  if (!host) return null as never
  const operand = blank(host.shape, host.dtype)
  backend.setValues(operand, valuesOf(host))
  return operand as never
}

function blank(shape: readonly number[], dtype: Operand['dtype'] = 'float32'): Operand {
  const size = shape.reduce((n, extent) => n * extent, 1)
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((n, extent) => n * extent, 1))
  return { buffer: backend.allocate(size * bytesPerElement[dtype]), offset: 0, dtype, shape, strides }
}

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
    test(`causalConv1dGrad is the slope of causalConv1d: ${name}, silu ${silu}`, () => {
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
        forward: () => run('causalConv1d', { ...given, out, finalState }, { silu }),
        outputs: [
          [out, gradOut],
          [finalState, gradFinalState],
        ],
        backward: () =>
          run(
            'causalConv1dGrad',
            { ...given, gradOut, gradFinalState, gradIn, gradWeight, gradBias, gradInitialState },
            { silu },
          ),
        gradients: {
          input: [input, gradIn],
          weight: [weight, gradWeight],
          bias: [bias, gradBias],
          initialState: [initialState, gradInitialState],
        },
      })
    })

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
    const { batch, length, channels, stateSize, chunk } = { ...small, ...shape }
    const stateShape = [batch, channels, stateSize]
    const [out, finalState, states] = [like(given.u), blank(stateShape), blank([batch, length, channels, stateSize])]
    const chunkStates = blank([batch, Math.ceil(length / chunk), stateSize, channels])
    const [gradOut, gradFinalState, gradStates] = [random(out.shape), random(stateShape), random(states.shape)]
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
        [states, gradStates],
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

test('the error function has its published values', () => {
  // Abramowitz and Stegun, table 7.1.
  for (const [x, value] of [
    [0.5, 0.5204998778],
    [1, 0.8427007929],
    [2, 0.995322265],
  ])
    assert.ok(Math.abs(erf(x) - value) < 1e-9 && erf(-x) === -erf(x))
})

test('Philox4x32-10 gives the published words', () => {
  const ones = 0xffffffff
  assert.deepEqual(philox4x32([0, 0, 0, 0], [0, 0]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8])
  assert.deepEqual(philox4x32([ones, ones, ones, ones], [ones, ones]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd])
  const counter = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344] as const
  assert.deepEqual(philox4x32(counter, [0xa4093822, 0x299f31d0]), [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1])
})

test('random numbers have the moments of their distribution', () => {
  const numbers = { seed: 5, stream: 2 ** 33 + 1, offset: 2 ** 32 - 3 }
  const out = blank([40000])
  const moments = (distribution: number, alpha: number, beta: number) => {
    run('random', { out }, { ...numbers, distribution, alpha, beta })
    const values = backend.values(out)
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length
    return [mean, Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length)]
  }
  const near = ([mean, deviation]: number[], wantedMean: number, wantedDeviation: number) =>
    assert.ok(
      Math.abs(mean - wantedMean) < 0.03 && Math.abs(deviation - wantedDeviation) < 0.02,
      `${mean}, ${deviation}`,
    )
  near(moments(0, -1, 1), 0, 1 / Math.sqrt(3))
  near(moments(1, 0.5, 1.5), 0.5, 1.5)
  near(moments(2, 3, 6), 4, Math.sqrt(2 / 3))
})

test('floats keep float64 precision from kernel to kernel, whatever their dtype', () => {
  const [x, out] = [blank([1], 'bfloat16'), blank([1], 'bfloat16')]
  backend.setValues(x, [1 + 1e-12])
  run('unary', { input: x, out }, { function: unaryFunctions.indexOf('neg'), alpha: 0, beta: 0 })
  assert.equal(backend.values(out)[0], -1 - 1e-12)
})

test('bytes that are uploaded come back, and are seen as the dtype of the kernel that reads them', async () => {
  const bytes = toHost([1.5, -2, 3e-8], 'float16')
  const x = blank([3], 'float16')
  backend.upload(x.buffer, 0, bytes)
  assert.deepEqual(new Uint8Array(await backend.download(x.buffer, 0, 6)), bytes)
  const out = blank([3])
  run('copy', { input: x, out }, {})
  assert.deepEqual([...backend.values(out)], [1.5, -2, 2 ** -24])
  backend.upload(x.buffer, 2, toHost([7], 'float16'))
  assert.equal(backend.values(x)[1], 7)
})

test('half-precision values round to the nearest, ties to even', () => {
  const back = (dtype: 'float16' | 'bfloat16', values: number[]) => [...fromHost(toHost(values, dtype), dtype)]
  const ulp = 2 ** -10
  assert.deepEqual(back('float16', [1 + ulp / 2, 1 + (3 * ulp) / 2, 1 + ulp * 0.51]), [1, 1 + 2 * ulp, 1 + ulp])
  assert.deepEqual(back('float16', [65519, 65520, 2 ** -25, 2 ** -24]), [65504, Number.POSITIVE_INFINITY, 0, 2 ** -24])
  assert.deepEqual(back('bfloat16', [1 + 2 ** -8, 1 + 3 * 2 ** -8, -3.5]), [1, 1 + 2 ** -6, -3.5])
  assert.ok(Number.isNaN(back('float16', [Number.NaN])[0]) && Number.isNaN(back('bfloat16', [Number.NaN])[0]))
  for (let bits = 0; bits < 0x7c00; bits += 7) {
    const bytes = new Uint8Array(Uint16Array.of(bits, bits | 0x8000).buffer)
    assert.deepEqual(toHost(fromHost(bytes, 'float16'), 'float16'), bytes)
  }
})

test('an index error waits for the next read-back and is reported once', async () => {
  const table = place(operandOf([3, 2], (i) => i))
  const [ids, out] = [place(operandOf([2], (i) => [2, 9][i], { dtype: 'int32' })), blank([2, 2])]
  run('gather', { table, ids, out }, {})
  await assert.rejects(backend.download(out.buffer, 0, 16), (error) => error instanceof IndexError && error.index === 9)
  assert.deepEqual([...backend.values(out)], [4, 5, 0, 0])
})

test('a capture repeats its operations on its own buffers until it is disposed of', () => {
  const own = openReference()
  const operand = (buffer: Operand['buffer']): Operand => ({
    buffer,
    offset: 0,
    dtype: 'float32',
    shape: [1],
    strides: [1],
  })
  const counter = operand(own.allocate(4))
  own.beginCapture()
  const one = operand(own.allocate(4))
  launch(own, 'fill', { out: one }, { value: 1 })
  launch(own, 'binary', { a: counter, b: one, out: counter }, { function: binaryFunctions.indexOf('add') })
  own.release(one.buffer)
  const capture = own.endCapture()
  capture.replay()
  capture.replay()
  assert.deepEqual([...own.values(counter)], [3])
  assert.equal(own.memory().inUse, 8)
  capture.dispose()
  assert.equal(own.memory().inUse, 4)
  assert.throws(() => own.enqueue({ kernel: 'fill', operands: [one], numbers: [1] }), DeviceError)
})

test('memory that was released cannot be used', () => {
  const own = openReference()
  const buffer = own.allocate(4)
  own.release(buffer)
  const out = { buffer, offset: 0, dtype: 'float32', shape: [1], strides: [1] } as const
  assert.throws(() => launch(own, 'fill', { out }, { value: 1 }), DeviceError)
  assert.throws(() => own.release(buffer), DeviceError)
})

test('every kernel of the table whose name ends in Grad is checked here', () => {
  const checked = [
    'unary',
    'softmax',
    'rmsNorm',
    'layerNorm',
    'causalConv1d',
    'selectiveScan',
    'attention',
    'gatedActivation',
  ]
  const gradients = Object.keys(signatures).filter((name) => name.endsWith('Grad'))
  assert.deepEqual(gradients.sort(), checked.map((name) => `${name}Grad`).sort())
})
