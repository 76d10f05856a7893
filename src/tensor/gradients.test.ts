// Every differentiable operation against central differences, in float64 on the reference backend.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backend, check, leaf, values } from './gradients.check.js'
import * as T from './index.js'

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
check('causalConv1d from the end', {
  inputs: [[2, 5, 3], [3, 1, 4], [3]],
  run: (x, weight, bias) => T.causalConv1d(x, weight, { bias, reverse: true }).out,
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
