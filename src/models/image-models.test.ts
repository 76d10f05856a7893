// Settings, shapes and recomputed blocks of image models. What every row of the catalogue must be: src/papers/image-models.test.ts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openDevice } from '../backend/open.js'
import { backward, normal, RandomStream, scope, setDefaultBackend, sum, withRandom } from '../tensor/index.js'
import { sharedImageModels } from './image-catalogue.js'
import { ViT, type ViTConfig } from './vit.js'

const { backend } = await openDevice()
setDefaultBackend(backend)

const tiny: ViTConfig = {
  img_size: 8,
  patch_size: 4,
  in_chans: 1,
  num_classes: 3,
  embed_dim: 16,
  depth: 2,
  num_heads: 2,
  mlp_ratio: 4,
  drop_path_rate: 0.3,
}

test('a setting that the model does not have is an error that lists those it has', async () => {
  const { build, shape } = sharedImageModels['vit-mini']
  await assert.rejects(build(shape, { width: 3 }), /has no setting 'width'; expected one of .*embed_dim/)
  await assert.rejects(build(shape, { depth: 'two' }), /depth: expected a value like 4, got "two"/)
  const shallow = await build(shape, { depth: 2 })
  assert.ok(shallow.parameterCount() < 0.6 * sharedImageModels['vit-mini'].parameters)
})

test('images that the positions do not fit are refused', () => {
  const model = new ViT(tiny).initialize()
  assert.throws(() => model.forward(normal([1, 12, 12, 1])), /expected images of 8 x 8/)
  assert.throws(() => model.forward(normal([1, 8, 8, 3])), /expected images \(B, H, W, 1\)/)
})

test('recomputing blocks in the backward gives the same gradients, drop-path masks included', async () => {
  const model = new ViT(tiny).initialize({ seed: 3 })
  const images = normal([4, 8, 8, 1])
  const gradients = async (recompute: boolean) => {
    model.recompute = recompute
    model.clearGradients()
    withRandom(new RandomStream(7), () => scope(() => backward(sum(model.forward(images)))))
    return Promise.all(model.parameters().map(({ value }) => value.grad!.data()))
  }
  assert.deepEqual(await gradients(true), await gradients(false))
})
