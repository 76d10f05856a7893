import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openDevice } from '../backend/open.js'
import { Draws } from '../data/draws.js'
import { Linear, Module } from '../nn/index.js'
import { mean, setDefaultBackend, type Tensor } from '../tensor/index.js'
import { Trainer } from '../train/trainer.js'
import { aucItems, type Bag, BagClassification, measureBags, reportBags } from './bag-classification.js'

const { backend } = await openDevice()
setDefaultBackend(backend)

test('a report of scores counts ties half, and right answers at 0.5', () => {
  const { auc, f1, accuracy, correct, placements } = reportBags([0.9, 0.4, 0.6, 0.4, 0.1], [1, 1, 0, 0, 0])
  // Of six pairs the positives win three and one, and one is a tie.
  assert.equal(auc, 4.5 / 6)
  assert.deepEqual(placements.ofPositives, [1, 0.5])
  assert.deepEqual(placements.ofNegatives, [0.5, 0.75, 1])
  assert.deepEqual(correct, [1, 0, 0, 1, 1])
  assert.equal(accuracy, 0.6)
  // One hit, two told positive, two positive.
  assert.equal(f1, 0.5)
  assert.equal(reportBags([0.2, 0.1], [1, 0]).f1, 0)
  assert.throws(() => reportBags([0.2, 0.1], [1, 1]), /both labels to measure on, got 2 positive and 0 negative ones/)
})

test('the items of an AUC have it as their mean and vary as it does', () => {
  const draws = new Draws(1)
  const [pairs, repeats] = [50, 400]
  const labels = Array.from({ length: 2 * pairs }, (_, i) => i % 2)
  const reports = Array.from({ length: repeats }, () =>
    reportBags(
      labels.map((label) => draws.normal(label)),
      labels,
    ),
  )
  const variance = (values: readonly number[]) => {
    const centre = average(values)
    return values.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (values.length - 1)
  }
  for (const report of reports) assert.ok(Math.abs(average(aucItems(report)) - report.auc) < 1e-12)
  const real = variance(reports.map(({ auc }) => auc))
  const told = average(reports.map((report) => variance(aucItems(report)) / pairs))
  assert.ok(Math.abs(told / real - 1) < 0.2, `${told} and ${real}`)
  assert.throws(() => aucItems(reportBags([0, 1, 1], [0, 0, 1])), /as many positive as negative/)
})

const average = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length

/** The mean instance, and a linear map. */
class MeanClassifier extends Module {
  readonly #head = this.child('head', new Linear(2, 2))
  forward(bags: Tensor): Tensor {
    return this.#head.forward(mean(bags, { axis: 1 }))
  }
}

test('training meets every bag once an epoch, and learns which are positive', async () => {
  const draws = new Draws(2)
  const bagOf = (label: number): Bag => {
    const rows = 3 + draws.integer(4)
    const instances = Float32Array.from({ length: 2 * rows }, (_, i) => draws.normal(i % 2 ? 0 : 2 * label - 1, 0.5))
    return { instances, features: 2, label }
  }
  const [train, heldOut] = [24, 16].map((count) => Array.from({ length: count }, (_, i) => bagOf(i % 2)))
  const model = new MeanClassifier().initialize({ seed: 1 })
  const task = new BagClassification(model, { train, heldOut }, { seed: 3 })
  const epochs = await Promise.all([0, 1].map((e) => Promise.all(train.map((_, i) => task.batch(24 * e + i)))))
  for (const epoch of epochs) assert.deepEqual(new Set(epoch), new Set(train))
  assert.notDeepEqual(epochs[0], epochs[1])
  const trainer = new Trainer(task, { steps: 72, learningRate: 0.05 })
  for await (const event of trainer.run())
    if (event.type === 'evaluation') assert.equal(event.measurements.missed, 1 - event.measurements.auc)
  const { auc, accuracy } = await measureBags(model, heldOut)
  assert.ok(auc === 1 && accuracy === 1)
  trainer.dispose()
})
