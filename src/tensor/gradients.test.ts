// Every differentiable operation against central differences, in float64 on the reference backend.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openReference } from '../backend/reference/index.js'
import * as T from './index.js'
import { elementCount } from './shape.js'

const backend = openReference()
T.setDefaultBackend(backend)

/** Deterministic values in [low, high) with no structure. */
function values(shape: readonly number[], seed: number, low = -1.5, high = 1.5): Float64Array {
  const out = new Float64Array(elementCount(shape))
  let state = seed * 2654435761 + 12345
  for (let i = 0; i < out.length; i++) {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 0x9e3779b9) >>> 0
    out[i] = low + ((state >>> 8) / 2 ** 24) * (high - low)
  }
  return out
}

function leaf(shape: readonly number[], content: ArrayLike<number>): T.Tensor {
  const tensor = T.empty(backend, shape)
  backend.setValues(tensor, content)
  tensor.requiresGrad = true
  return tensor
}

interface Case {
  inputs: (readonly number[])[]
  run: (...inputs: T.Tensor[]) => T.Tensor | readonly T.Tensor[]
  low?: number
  high?: number
}

/** Compares d sum(out * g) / d input by the tape with central differences. */
function check(name: string, { inputs, run, low, high }: Case): void {
  test(`gradient of ${name} equals central differences`, () => {
    T.scope(() => {
      const contents = inputs.map((shape, i) => values(shape, i + 1, low, high))
      const outputsOf = (leaves: T.Tensor[]) => [run(...leaves)].flat() as T.Tensor[]
      const weights = outputsOf(inputs.map((shape, i) => leaf(shape, contents[i]))).map((out, i) =>
        values(out.shape, 100 + i),
      )
      const objective = (leaves: T.Tensor[]) =>
        outputsOf(leaves)
          .map((out, i) => T.sum(T.mul(out, leaf(out.shape, weights[i]))))
          .reduce((a, b) => T.add(a, b))
      const leaves = inputs.map((shape, i) => leaf(shape, contents[i]))
      const grads = T.grad(objective(leaves), leaves).map((g) => backend.values(g))
      const evaluate = () =>
        T.scope(() => backend.values(T.noGrad(() => objective(inputs.map((shape, i) => leaf(shape, contents[i])))))[0])
      contents.forEach((content, which) => {
        for (let i = 0; i < content.length; i++) {
          const before = content[i]
          const h = 1e-5
          content[i] = before + h
          const above = evaluate()
          content[i] = before - h
          const below = evaluate()
          content[i] = before
          const expected = (above - below) / (2 * h)
          const got = grads[which][i]
          assert.ok(
            Math.abs(got - expected) <= 1e-6 * (1 + Math.abs(expected)),
            `input ${which}, element ${i}: tape ${got}, differences ${expected}`,
          )
        }
      })
    })
  })
}

const shape = [2, 3, 4]
const everywhere = [
  T.neg,
  T.exp,
  T.square,
  T.sin,
  T.cos,
  T.tanh,
  T.sigmoid,
  T.silu,
  T.relu,
  T.relu6,
  T.gelu,
  T.softplus,
]
for (const apply of [...everywhere, T.elu, T.mish, T.logSigmoid, T.expm1, T.erf, T.hardswish, T.hardsigmoid])
  check(apply.name, { inputs: [shape], run: (x) => apply(x) })
for (const apply of [T.log, T.sqrt, T.rsqrt, T.reciprocal, T.log1p, T.abs])
  check(apply.name, { inputs: [shape], run: (x) => apply(x), low: 0.3, high: 2 })
check('gelu by tanh', { inputs: [shape], run: (x) => T.gelu(x, 'tanh') })
check('affine', { inputs: [shape], run: (x) => T.affine(x, 2, 3) })
check('clamp', { inputs: [shape], run: (x) => T.clamp(x, -0.5, 0.7) })
check('leakyRelu', { inputs: [shape], run: (x) => T.leakyRelu(x, 0.1) })

const broadcast = [
  [2, 1, 4],
  [3, 1],
]
for (const apply of [T.add, T.sub, T.mul, T.maximum, T.minimum])
  check(`${apply.name} with broadcasting`, { inputs: broadcast, run: (a, b) => apply(a, b) })
for (const apply of [T.div, T.pow])
  check(`${apply.name} with broadcasting`, { inputs: broadcast, run: (a, b) => apply(a, b), low: 0.5, high: 2 })
check('where', { inputs: [shape, shape], run: (a, b) => T.where(T.greater(a, b), a, T.square(b)) })

check('sum over an axis', { inputs: [shape], run: (x) => T.square(T.sum(x, { axis: 1 })) })
check('mean over two axes', { inputs: [shape], run: (x) => T.square(T.mean(x, { axis: [0, 2], keepDims: true })) })
check('max', { inputs: [shape], run: (x) => T.max(x, { axis: -1 }) })
check('min over everything', { inputs: [shape], run: (x) => T.min(x) })
check('softmax', { inputs: [shape], run: (x) => T.softmax(x) })
check('softmax over a middle axis', { inputs: [shape], run: (x) => T.softmax(x, 1) })
check('logSoftmax', { inputs: [shape], run: (x) => T.logSoftmax(x) })

check('reshape, permute and transpose', {
  inputs: [shape],
  run: (x) => T.square(T.reshape(T.transpose(T.permute(x, [2, 0, 1])), [4, 6])),
})
check('slice, select and split', {
  inputs: [[3, 6]],
  run: (x) => {
    const [a, b, c] = T.split(x, [1, 3, 2])
    return [T.square(a), T.mul(T.select(b, 0, 1), 3), T.exp(T.slice(c, 0, 1, 3))]
  },
})
check('concat and expand', {
  inputs: [
    [2, 1],
    [2, 3],
  ],
  run: (a, b) => T.square(T.concat([T.expand(a, [2, 4]), b, b], 1)),
})

check('matmul', {
  inputs: [
    [2, 3, 4],
    [2, 4, 5],
  ],
  run: (a, b) => T.matmul(a, b),
})
check('matmul with a repeated matrix', {
  inputs: [
    [2, 3, 4],
    [4, 5],
  ],
  run: (a, b) => T.matmul(a, b, { scale: 0.5 }),
})
check('matmul of transposes', {
  inputs: [
    [2, 4, 3],
    [5, 4],
  ],
  run: (a, b) => T.matmul(a, b, { transposeA: true, transposeB: true }),
})
check('linear', { inputs: [[2, 3, 4], [5, 4], [5]], run: (x, w, b) => T.linear(x, w, b) })
check('groupedLinear of a part of the columns', {
  inputs: [
    [2, 3, 2, 5],
    [2, 4, 3],
  ],
  run: (x, w) => T.groupedLinear(T.slice(x, -1, 1, 4), w),
})
check('embedding', {
  inputs: [[5, 3]],
  run: (table) => T.square(T.embedding(table, T.tensor(Int32Array.of(4, 0, 4, 2), { shape: [2, 2] }))),
})

check('rmsNorm with residual', {
  inputs: [[2, 3, 5], [2, 3, 5], [5]],
  run: (x, residual, weight) => {
    const { out, sum } = T.addRmsNorm(x, { residual, weight })
    return [out, T.square(sum)]
  },
})
check('layerNorm with residual', {
  inputs: [[2, 3, 5], [2, 3, 5], [5], [5]],
  run: (x, residual, weight, bias) => {
    const { out, sum } = T.addLayerNorm(x, { residual, weight, bias })
    return [out, T.square(sum)]
  },
})

const targets = () => T.tensor(Int32Array.of(1, -100, 4, 0), { shape: [4] })
check('crossEntropy with smoothing and ignored targets', {
  inputs: [[4, 5]],
  run: (x) => T.crossEntropy(x, targets(), { labelSmoothing: 0.1 }),
})
check('crossEntropy with class weights', {
  inputs: [[4, 5]],
  run: (x) => T.crossEntropy(x, targets(), { classWeights: T.tensor([1, 2, 0.5, 1, 3]) }),
})
check('linearCrossEntropy', {
  inputs: [
    [4, 3],
    [5, 3],
  ],
  run: (x, w) => T.mul(T.linearCrossEntropy(x, w, targets(), { labelSmoothing: 0.1 }), 2),
})

check('causalConv1d with state', {
  inputs: [[2, 5, 3], [3, 1, 4], [3], [2, 4, 3]],
  run: (x, weight, bias, initialState) => {
    const { out, finalState } = T.causalConv1d(x, weight, {
      bias,
      initialState,
      activation: 'silu',
      returnFinalState: true,
    })
    return [out, finalState!]
  },
})
check('selectiveScan with everything', {
  inputs: [[2, 7, 3], [2, 7, 3], [3, 4], [2, 7, 4], [2, 7, 4], [3], [2, 7, 3], [3], [2, 3, 4]],
  run: (u, delta, A, B, C, D, z, deltaBias, initialState) => {
    const resets = T.tensor(Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1), { shape: [2, 7] })
    const options = { D, z, deltaBias, initialState, resets, deltaSoftplus: true, returnFinalState: true, chunk: 3 }
    const { out, finalState, states } = T.selectiveScan(u, delta, T.neg(T.exp(A)), B, C, {
      ...options,
      returnStates: true,
    })
    return [out, finalState!, states!]
  },
})
check('selectiveScan along a path, backwards, with fixed and grouped maps', {
  inputs: [
    [1, 5, 4],
    [1, 5, 4],
    [4, 2],
    [4, 2],
    [1, 5, 2, 2],
  ],
  run: (u, delta, A, B, C) =>
    T.selectiveScan(u, T.exp(delta), T.neg(T.exp(A)), B, C, {
      path: T.tensor(Int32Array.of(3, 0, 4, 1, 2)),
      reverse: true,
      chunk: 2,
    }).out,
})
check('selectiveScan over three directions that share u, delta and z, by step, with a window, merged', {
  inputs: [[2, 5, 2], [2, 5, 2], [6, 3], [2, 5, 3, 3], [2, 5, 3], [6], [2, 5, 2]],
  run: (u, delta, A, B, C, D, z) =>
    T.selectiveScan(u, T.exp(delta), T.neg(T.exp(A)), B, C, {
      ...{ D, z, merge: true, byStep: true, window: 2, chunk: 4 },
      path: T.tensor(Int32Array.of(3, 0, 4, 1, 2, 0, 1, 2, 3, 4, 2, 4, 1, 3, 0), { shape: [3, 5] }),
    }).out,
})
check('selectiveScan over a part of the positions', {
  inputs: [
    [1, 5, 4],
    [1, 5, 4],
    [4, 2],
    [1, 5, 2],
    [1, 5, 2, 2],
  ],
  run: (u, delta, A, B, C) =>
    T.selectiveScan(u, T.exp(delta), T.neg(T.exp(A)), B, C, {
      path: T.tensor(Int32Array.of(3, 0, 4, 1), { shape: [2, 2] }),
    }).out,
})

check('convolution', {
  inputs: [[2, 5, 4, 4], [6, 2, 3, 2], [6]], // biome-ignore format: shapes
  run: (x, w, bias) =>
    T.convolution(x, w, { bias, stride: [2, 1], dilation: [1, 2], padding: [[1, 0], [0, 2]], groups: 2 }), // biome-ignore format: pairs
})
check('convolution of one axis without bias', {
  inputs: [[2, 6, 3], [2, 3, 4]], // biome-ignore format: shapes
  run: (x, w) => T.convolution(x, w, { padding: 'same' }),
})
check('depth-wise convolution of three axes', {
  inputs: [[1, 2, 3, 3, 2], [4, 1, 2, 2, 2], [4]], // biome-ignore format: shapes
  run: (x, w, bias) => T.convolution(x, w, { bias, padding: 1, groups: 2 }),
})
check('convolutionTransposed', {
  inputs: [[2, 3, 2, 4], [4, 3, 2, 3], [6]], // biome-ignore format: shapes
  run: (x, w, bias) =>
    T.convolutionTransposed(x, w, { bias, stride: [2, 3], padding: [0, 1], outputPadding: [1, 0], groups: 2 }),
})
check('convolutionTransposed of one axis, dilated', {
  inputs: [[2, 3, 3], [3, 2, 2]], // biome-ignore format: shapes
  run: (x, w) => T.convolutionTransposed(x, w, { dilation: 3, outputPadding: 2 }),
})
const image = [2, 5, 4, 3]
check('groupNorm', {
  inputs: [[2, 3, 6], [6], [6]],
  run: (x, weight, bias) => T.groupNorm(x, 2, { weight, bias, eps: 1e-2 }),
})
check('instanceNorm without parameters', { inputs: [[2, 5, 3]], run: (x) => T.instanceNorm(x, { eps: 1e-2 }) })
check('batchNorm', {
  inputs: [image, [3], [3]],
  run: (x, weight, bias) => T.batchNorm(x, { weight, bias, eps: 1e-2 }).out,
})
check('batchNorm by given statistics', {
  inputs: [image, [3], [3]],
  run: (x, weight, bias) => {
    const statistics = { mean: leaf([3], [1, -1, 0.5]), variance: leaf([3], [1, 2, 0.5]) }
    return T.batchNorm(x, { weight, bias, statistics }).out
  },
})
for (const mode of ['nearest', 'nearest-exact', 'bilinear', 'bicubic', 'area'] as const)
  check(`interpolate ${mode}`, {
    inputs: [image],
    run: (x) => [T.interpolate(x, { size: [3, 7], mode }), T.interpolate(x, { scale: 1.6, mode })],
  })
check('interpolate with corners and with antialiasing', {
  inputs: [image],
  run: (x) => [
    T.interpolate(x, { size: [9, 1], mode: 'bicubic', alignCorners: true }),
    T.interpolate(x, { size: [2, 3], mode: 'bilinear', antialias: true }),
  ],
})
check('interpolate of one and of three axes', {
  inputs: [
    [2, 5, 3],
    [1, 2, 3, 4, 2],
  ],
  run: (line, volume) => [
    T.interpolate(line, { size: 8, mode: 'linear' }),
    T.interpolate(volume, { scale: 2, mode: 'trilinear' }),
  ],
})
for (const mode of ['zeros', 'reflect', 'replicate', 'circular'] as const)
  check(`pad ${mode}`, { inputs: [image], run: (x) => T.pad(x, [[2, 1], 3], mode) })
check('averagePool', {
  inputs: [image],
  run: (x) => [
    T.averagePool(x, [3, 2], { stride: 2, padding: 1, ceil: true }),
    T.averagePool(x, 3, { padding: 1, countPadding: false }),
  ],
})
check('maxPool', {
  inputs: [image],
  run: (x) => [
    T.maxPool(x, 3, { stride: 2, padding: 1, ceil: true }),
    T.maxPool(x, 2, { stride: 1, dilation: [2, 1] }),
  ],
})
check('adaptive pooling', {
  inputs: [image],
  run: (x) => [T.adaptiveAveragePool(x, [3, 1]), T.adaptiveMaxPool(x, [2, 3])],
})

check('gridSample', {
  inputs: [
    [1, 3, 4, 2],
    [1, 5, 2],
  ],
  run: (x, grid) => [
    T.gridSample(x, grid, { padding: 'reflection' }),
    T.gridSample(x, grid, { mode: 'bicubic', padding: 'border', alignCorners: true }),
  ],
})
check('gridSample of volumes, and affineGrid', {
  inputs: [
    [2, 2, 3, 3, 2],
    [2, 3, 4],
  ],
  run: (x, theta) => T.gridSample(x, T.affineGrid(T.mul(theta, 0.37), [2, 2, 3])),
})
check('pixelShuffle and pixelUnshuffle', {
  inputs: [
    [1, 2, 3, 8],
    [1, 4, 6, 3],
  ],
  run: (x, y) => [T.square(T.pixelShuffle(x, 2)), T.square(T.pixelUnshuffle(y, 2))],
})
check('unfold and fold', {
  inputs: [
    [2, 5, 6, 2],
    [2, 6, 12],
  ],
  run: (x, windows) => [
    T.square(T.unfold(x, [3, 2], { dilation: [1, 2], padding: [1, 0], stride: [2, 1] })),
    T.square(T.fold(windows, [5, 4], [3, 2], { padding: [1, 0], stride: 2 })),
  ],
})
const pair = [
  [3, 4],
  [3, 4],
]
check('softCrossEntropy', {
  inputs: [...pair, [4]],
  run: (logits, targets, classWeights) =>
    T.softCrossEntropy(logits, T.softmax(targets), { labelSmoothing: 0.1, classWeights }),
})
check('binaryCrossEntropy', {
  inputs: [...pair, [4], [4]],
  run: (logits, targets, weight, positiveWeight) =>
    T.binaryCrossEntropy(logits, T.sigmoid(targets), { weight, positiveWeight, reduction: 'none' }),
})
check('huberLoss and smoothL1Loss', {
  inputs: pair,
  run: (x, y) => [T.huberLoss(x, y, { delta: 0.7, reduction: 'none' }), T.smoothL1Loss(x, y, { beta: 0.3 })],
})
check('klDivergence', {
  inputs: pair,
  run: (x, y) => [
    T.klDivergence(T.logSoftmax(x), T.softmax(y)),
    T.klDivergence(T.logSoftmax(x), T.logSoftmax(y), { logTarget: true, reduction: 'none' }),
  ],
})

check('attention', {
  inputs: [
    [2, 3, 4, 5],
    [2, 4, 2, 5],
    [2, 4, 2, 5],
  ],
  run: (q, k, v) => T.attention(q, k, v, { causal: true }),
})
check('maskedAttention', {
  inputs: [
    [2, 3, 5],
    [2, 4, 5],
    [2, 4, 5],
    [3, 4],
  ],
  run: (q, k, v, mask) => T.maskedAttention(q, k, v, mask),
})
check('rotary', { inputs: [[1, 3, 2, 6]], run: (x) => T.rotary(x, { rotaryDim: 4 }) })
check('gatedActivation', {
  inputs: [
    [2, 3],
    [2, 3],
  ],
  run: (gate, value) => T.gatedActivation(gate, value),
})
check('dropout', { inputs: [[4, 5]], run: (x) => T.dropout(x, 0.4, new T.RandomStream(3)) })
check('checkpoint', {
  inputs: [
    [3, 4],
    [4, 4],
  ],
  run: (x, w) =>
    T.withRandom(new T.RandomStream(5), () =>
      T.checkpoint((a) => T.tanh(T.dropout(T.matmul(a, w), 0.3, T.defaultRandom())), [x], [w]),
    ),
})

test('backward works after every intermediate handle has ended', () => {
  T.scope(() => {
    const x = leaf([3], [1, 2, 3])
    const loss = T.scope(() => T.sum(T.scope(() => T.square(T.scope(() => T.exp(x))))))
    const [g] = T.grad(loss, [x])
    for (const [i, value] of backend.values(g).entries()) assert.ok(Math.abs(value - 2 * Math.exp(2 * (i + 1))) < 1e-9)
  })
})

test('backward frees every saved tensor', () => {
  const before = backend.memory().inUse
  T.scope(() => {
    const x = leaf([4, 4], values([4, 4], 1))
    T.backward(T.sum(T.matmul(T.tanh(x), T.exp(x))))
    x.dispose()
  })
  assert.equal(backend.memory().inUse, before)
})

test('gradients that grad() returns end with the scope they were asked for in', () => {
  const before = backend.memory().inUse
  T.scope(() => {
    const [x, y] = [leaf([4], [1, 2, 3, 4]), leaf([4], [1, 2, 3, 4])]
    T.grad(T.sum(T.mul(x, y)), [x, y])
  })
  assert.equal(backend.memory().inUse, before)
})

test('a tape that is dropped without backward frees what it saved', () => {
  const before = backend.memory().inUse
  T.scope(() => {
    const x = leaf([4, 4], values([4, 4], 1))
    T.sum(T.matmul(T.tanh(x), T.exp(x)))
    x.dispose()
  })
  assert.equal(backend.memory().inUse, before)
})

test('a tensor changed in place after it was saved is caught', () => {
  T.scope(() => {
    const x = leaf([3], [1, 2, 3])
    const loss = T.sum(T.square(x))
    x.storage.version++
    assert.throws(() => T.backward(loss), /changed in place/)
  })
})
