import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openDevice } from '../../backend/open.js'
import { backward, noGrad, normal, scope, setDefaultBackend, slice, sum } from '../../tensor/index.js'
import { type BlockType, EfficientVMamba, EfficientVMambaBackbone, efficientVMambaDefaults } from './model.js'

const { backend } = await openDevice()
setDefaultBackend(backend)

const small = {
  ...efficientVMambaDefaults,
  ...{ in_chans: 3, num_classes: 4, dims: 8, depths: [1, 1, 1, 1], ssm_d_state: 4, drop_path_rate: 0 },
}

test('each image of a batch is classified as it is alone, whatever the sides', async () => {
  const model = new EfficientVMamba(small).initialize({ seed: 1 }).eval()
  const images = normal([2, 44, 28, 3])
  const [both, one] = await Promise.all(
    [images, slice(images, 0, 1, 2)].map((x) => noGrad(() => scope(() => model.forward(x))).data()),
  )
  for (const [i, value] of one.entries()) assert.ok(Math.abs(value - both[4 + i]) < 1e-5)
})

test('blocks that are computed again give the same gradients and count a batch once', async () => {
  const images = normal([3, 24, 20, 3])
  const trained = async (recompute: boolean) => {
    const model = new EfficientVMamba(small).initialize({ seed: 2 })
    model.recompute = recompute
    scope(() => backward(sum(model.forward(images))))
    const buffers = [...model.namedParameters()].filter(([, { trainable }]) => !trainable)
    return Promise.all([
      ...model.parameters().map(({ value }) => value.grad!.data()),
      ...buffers.map(([, { value }]) => value.data()),
    ])
  }
  assert.deepEqual(await trained(true), await trained(false))
})

test('the stages may be arranged the other way round', () => {
  const stage_types: BlockType[] = ['inverted-residual', 'inverted-residual', 'scan']
  const model = new EfficientVMamba({ ...small, depths: [1, 2, 1], stage_types })
  const names = [...model.namedParameters()].map(([name]) => name)
  assert.ok(names.includes('layers.1.2.conv_pw.0.weight') && names.includes('layers.1.4.reduction.weight'))
  assert.ok(names.includes('layers.2.blocks.0.op.A_logs'))
})

test('a backbone gives its maps through norms, and has no head', () => {
  const backbone = new EfficientVMambaBackbone(small).initialize()
  const maps = noGrad(() => backbone.eval().features(normal([1, 32, 32, 3])))
  assert.deepEqual(
    maps.map(({ shape }) => shape.slice(1)),
    [
      [8, 8, 8],
      [4, 4, 16],
      [2, 2, 32],
      [1, 1, 64],
    ],
  )
})
