import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openReference } from '../backend/reference/index.js'
import { backward, noGrad, scope, setDefaultBackend, sum, type Tensor, tensor } from '../tensor/index.js'
import { runBlock } from './layers.js'
import { BatchNorm1d, BatchNorm2d, InstanceNorm } from './normalization.js'

const backend = openReference()
setDefaultBackend(backend)
const values = (x: Tensor) => [...backend.values(x)]
const close = (got: readonly number[], expected: readonly number[]) => {
  assert.equal(got.length, expected.length)
  for (const [i, value] of got.entries()) assert.ok(Math.abs(value - expected[i]) < 1e-6, `${got} is not ${expected}`)
}

// Channel means 2 and 20, biased variances 2/3 and 200/3.
const batch = () => tensor([1, 10, 2, 20, 3, 30], { shape: [1, 3, 1, 2] })

test('a batch moves the running statistics by the unbiased variance, in training only', () => {
  const norm = new BatchNorm2d(2, { momentum: 0.25 }).initialize()
  noGrad(() => scope(() => void norm.forward(batch())))
  close(values(norm.runningMean!.value), [0.5, 5])
  close(values(norm.runningVar!.value), [0.75 + 0.25, 0.75 + 25])
  assert.deepEqual(values(norm.numBatchesTracked!.value), [1])
  norm.eval()
  noGrad(() => scope(() => void norm.forward(batch())))
  close(values(norm.runningMean!.value), [0.5, 5])
  assert.deepEqual(values(norm.numBatchesTracked!.value), [1])
})

test('without momentum the running statistics are the means over all batches', () => {
  const norm = new BatchNorm1d(1, { momentum: null }).initialize()
  for (const [a, b] of [
    [0, 2],
    [4, 8],
    [1, 3],
  ])
    scope(() => void norm.forward(tensor([[a], [b]])))
  close(values(norm.runningMean!.value), [3])
  close(values(norm.runningVar!.value), [(2 + 8 + 2) / 3])
})

test('a batch that is computed again for its gradient counts once', () => {
  const norm = new BatchNorm2d(2).initialize()
  scope(() => backward(sum(runBlock(norm, batch(), true))))
  assert.deepEqual(values(norm.numBatchesTracked!.value), [1])
  close(values(norm.runningMean!.value), [0.2, 2])
})

test('evaluation normalises by the running statistics', () => {
  const norm = new BatchNorm2d(2, { eps: 0 }).initialize()
  norm.runningMean!.value = tensor([1, 10])
  norm.runningVar!.value = tensor([4, 25])
  norm.eval()
  close(values(norm.forward(batch())), [0, 0, 0.5, 2, 1, 4])
})

test('the running statistics are saved, and are no parameters', () => {
  const norm = new BatchNorm2d(3)
  assert.deepEqual(
    [...norm.namedParameters()].map(([name]) => name),
    ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked'],
  )
  assert.equal(norm.parameterCount(), 6)
})

test('an instance norm that tracks moves by the means over the batch', () => {
  const norm = new InstanceNorm(1, { trackRunningStats: true, momentum: 0.5 }).initialize()
  noGrad(() => scope(() => void norm.forward(tensor([0, 2, 4, 10], { shape: [2, 2, 1] }))))
  close(values(norm.runningMean!.value), [2])
  close(values(norm.runningVar!.value), [0.5 + 0.5 * ((2 + 18) / 2)])
})

test('a wrong number of channels or axes, or a single value a channel, is named', () => {
  const norm = new BatchNorm2d(2).initialize()
  assert.throws(() => norm.forward(tensor([1, 2, 3], { shape: [1, 1, 1, 3] })), /BatchNorm2d.*2 channels/s)
  assert.throws(() => norm.forward(tensor([1, 2], { shape: [1, 1, 2] })), /BatchNorm2d/)
  assert.throws(() => norm.forward(tensor([1, 2], { shape: [1, 1, 1, 2] })), /more than one value/)
})
