// Every image model that has a name: its parameters, its operations as its paper counts them, its logits and maps. Built on
// the meta device, which computes nothing.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { countCost } from '../models/cost.js'
import { empty, noGrad, scope, withBackend } from '../tensor/index.js'
import { findImageModel, imageModelNames } from './image-models.js'

for (const name of imageModelNames())
  test(`${name} has its published parameters and operations, and maps at falling sizes`, async () => {
    const { build, shape, parameters, flops } = (await findImageModel(name))!
    const model = await build(shape)
    assert.equal(model.parameterCount(), parameters)
    const { publishedFlops } = countCost((backend) => {
      model.initialize({ backend }).eval()
      const run = () => {
        const logits = model.forward(empty(backend, [1, shape.size, shape.size, shape.channels]))
        assert.deepEqual(logits.shape, [1, shape.classes])
      }
      withBackend(backend, () => noGrad(() => scope(run)))
    })
    assert.ok(Math.abs(publishedFlops / flops - 1) < 0.03, `${publishedFlops} operations, published ${flops}`)
    countCost((backend) => {
      model.initialize({ backend })
      const images = empty(backend, [2, shape.size, shape.size, shape.channels])
      const maps = withBackend(backend, () => noGrad(() => scope(() => model.features(images))))
      assert.ok(maps.every((map) => map.rank === 4 && map.shape[0] === 2))
      for (let i = 1; i < maps.length; i++) assert.ok(maps[i].shape[1] <= maps[i - 1].shape[1])
    })
    model.dispose()
  })
