import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ImageSet } from '../../data/images/image-set.js'
import { experiment } from './experiment.js'
import { digitBags } from './experiment-bags.js'
import { backbones, vims } from './experiment-models.js'

test('the networks have as many parameters with windows as without, Vim-mini half of LBVim-mini’s', () => {
  assert.equal(vims.vim().parameterCount(), 25_786)
  assert.equal(vims.lb().parameterCount(), 51_530)
  assert.equal(vims.uni().parameterCount(), 51_530)
  for (const build of Object.values(backbones)) assert.equal(build(8).parameterCount(), build(0).parameterCount())
})

test('criteria and stand-ins name methods of their part, and the headline is a criterion', () => {
  for (const { methods, standIns, criteria } of experiment.parts) {
    for (const [method, stand] of Object.entries(standIns)) assert.ok(methods[method] && methods[stand], method)
    for (const { method, minus } of criteria) assert.ok(methods[method] && (!minus || methods[minus]), method)
  }
  const [part, criterion] = experiment.headline.split('/')
  assert.ok(experiment.parts.find(({ name }) => name === part)?.criteria.some(({ name }) => name === criterion))
})

test('every other bag of digits holds one to four nines among at least ten digits', async () => {
  // One pixel an image, which tells its label.
  const labels = Int32Array.from({ length: 200 }, (_, i) => i % 10)
  const digits: ImageSet = {
    name: 'digits',
    classes: [...'0123456789'],
    images: { kind: 'pixels', name: 'digits', width: 1, height: 1, channels: 1, data: Uint8Array.from(labels) },
    labels,
    items: labels.map((_, i) => i),
  }
  const bags = await digitBags(digits, 200, 0)
  const sizes = bags.map(({ instances }) => instances.length)
  assert.ok(Math.min(...sizes) >= 10)
  assert.ok(Math.abs(sizes.reduce((a, b) => a + b) / 200 - 40) < 3)
  const nines = bags.map(({ instances }) => [...instances].filter((pixel) => Math.round(pixel * 255) === 9).length)
  bags.forEach(({ label }, i) => {
    assert.equal(label, i % 2)
    assert.ok(label ? nines[i] >= 1 && nines[i] <= 4 : nines[i] === 0)
  })
  assert.deepEqual(new Set(nines), new Set([0, 1, 2, 3, 4]))
  assert.deepEqual(await digitBags(digits, 3, 0), bags.slice(0, 3))
  assert.notDeepEqual(await digitBags(digits, 3, 1), bags.slice(0, 3))
})
