import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AudioUNet } from '../../models/audio-unet.js'
import { TimeInvariantMixer } from '../../ssm/time-invariant.js'
import { experiment } from './experiment.js'
import { mambaOf, timeInvariantOf, transformerOf } from './experiment-models.js'

const sizes = [
  { dModel: 32, nLayer: 2, vocabSize: 16 },
  { dModel: 128, nLayer: 4, vocabSize: 256 },
  { dModel: 64, nLayer: 2, vocabSize: 5 },
]

test('the time-invariant baseline has at least as many parameters, and at most 3 % more', () => {
  for (const size of sizes) {
    const [mamba, lti] = [mambaOf(size), timeInvariantOf(size)].map((model) => model.parameterCount())
    assert.ok(lti >= mamba && lti <= 1.03 * mamba, `${lti} and ${mamba}`)
  }
  const unet = { dModel: 32, pool: [4, 4], blocks: 2 }
  const [mamba, lti] = [new AudioUNet(unet), new AudioUNet(unet, (m) => new TimeInvariantMixer(m))].map((model) =>
    model.parameterCount(),
  )
  assert.ok(lti >= mamba && lti <= 1.03 * mamba, `${lti} and ${mamba}`)
})

test('the Transformers come within 3 % of the size they are given', () => {
  const within = (count: number, wanted: number) =>
    assert.ok(Math.abs(count / wanted - 1) < 0.03, `${count}, ${wanted}`)
  for (const [size, heads, positions] of [
    [sizes[0], 2, 64],
    [sizes[0], 2, 'rotary'],
    [{ ...sizes[1], nLayer: 2 }, 4, 'rotary'],
  ] as const) {
    const parameters = mambaOf(size === sizes[0] ? size : sizes[1]).parameterCount()
    within(transformerOf({ ...size, heads, positions, parameters }).parameterCount(), parameters)
  }
  const doubled = 2 * mambaOf(sizes[1]).parameterCount()
  const size = { ...sizes[1], nLayer: 4, heads: 4, positions: 'rotary', parameters: doubled } as const
  within(transformerOf(size).parameterCount(), doubled)
})

test('criteria and stand-ins name methods of their part, and the headline is a criterion', () => {
  const names = experiment.parts.map(({ name }) => name)
  assert.equal(new Set(names).size, names.length)
  for (const { methods, standIns, criteria } of experiment.parts) {
    for (const [method, stand] of Object.entries(standIns)) assert.ok(methods[method] && methods[stand], method)
    for (const { method, minus } of criteria) assert.ok(methods[method] && (!minus || methods[minus]), method)
  }
  const [part, criterion] = experiment.headline.split('/')
  assert.ok(experiment.parts.find(({ name }) => name === part)?.criteria.some(({ name }) => name === criterion))
})

test('the sweep gives every method of a part as many tries', () => {
  for (const { name, methods, tuneBy } of experiment.parts.filter((part) => part.tuneBy)) {
    const tuned = Object.values(methods).filter(({ grid }) => grid.length > 0)
    assert.equal(new Set(tuned.map(({ grid }) => grid.length)).size, 1, `${name} ${tuneBy}`)
    for (const { grid, tuned: used, label } of tuned)
      assert.ok(
        grid.some((settings) => JSON.stringify(settings) === JSON.stringify(used)),
        label,
      )
  }
})
