// The differentiable operations on images and their losses against central differences: see gradients.test.ts.
import { check, leaf } from './gradients.check.js'
import * as T from './index.js'

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
