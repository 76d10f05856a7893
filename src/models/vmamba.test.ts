import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openDevice } from '../backend/open.js'
import { backward, noGrad, normal, scope, setDefaultBackend, slice, sum } from '../tensor/index.js'
import { VMamba, VMambaBackbone, vanillaVMambaDefaults, vMambaDefaults } from './vmamba.js'

const { backend } = await openDevice()
setDefaultBackend(backend)

const small = { in_chans: 3, num_classes: 4, dims: 8, depths: [1, 1, 2], drop_path_rate: 0.1 }

for (const [name, defaults] of [
  ['first', vanillaVMambaDefaults],
  ['final', vMambaDefaults],
] as const) {
  test(`the ${name} version classifies each image of a batch as it does alone, whatever the sides`, async () => {
    const model = new VMamba({ ...defaults, ...small }).initialize({ seed: 1 }).eval()
    const images = normal([2, 36, 20, 3])
    const [both, one] = await Promise.all(
      [images, slice(images, 0, 1, 2)].map((x) => noGrad(() => scope(() => model.forward(x))).data()),
    )
    for (const [i, value] of one.entries()) assert.ok(Math.abs(value - both[4 + i]) < 1e-5)
    const maps = noGrad(() => model.features(images))
    assert.deepEqual(
      maps.map(({ shape }) => shape),
      [
        [2, 9, 5, 8],
        [2, 5, 3, 16],
        [2, 3, 2, 32],
      ],
    )
  })

  test(`the ${name} version has the same gradients where blocks are computed again`, async () => {
    const model = new VMamba({ ...defaults, ...small, drop_path_rate: 0 }).initialize({ seed: 2 })
    const images = normal([2, 24, 16, 3])
    const gradients = async (recompute: boolean) => {
      model.recompute = recompute
      model.clearGradients()
      scope(() => backward(sum(model.forward(images))))
      return Promise.all(model.parameters().map(({ value }) => value.grad!.data()))
    }
    assert.deepEqual(await gradients(true), await gradients(false))
  })
}

test('a stem of positions of 2 pixels halves the sides, and windows change what is scanned, not the parameters', async () => {
  const config = { ...vMambaDefaults, ...small, patch_size: 2, drop_path_rate: 0 }
  const images = normal([1, 16, 12, 3])
  const [plain, windowed] = [0, 4].map((window) => new VMamba({ ...config, window }).initialize({ seed: 1 }).eval())
  assert.deepEqual(plain.features(images)[0].shape, [1, 8, 6, 8])
  assert.equal(windowed.parameterCount(), plain.parameterCount())
  const [a, b] = await Promise.all([plain, windowed].map((model) => noGrad(() => model.forward(images)).data()))
  assert.notDeepEqual(a, b)
})

test('a backbone gives its maps through norms, and has no head', () => {
  const backbone = new VMambaBackbone({ ...vMambaDefaults, ...small }).initialize()
  const names = [...backbone.namedParameters()].map(([name]) => name)
  assert.ok(names.includes('outnorm2.weight') && !names.some((name) => name.startsWith('classifier')))
  assert.equal(backbone.features(normal([1, 16, 16, 3])).length, 3)
})

test('names of the first checkpoints become those of the present code', () => {
  const model = new VMamba({ ...vanillaVMambaDefaults, ...small })
  const names = {
    'patch_embed.proj.weight': 'patch_embed.0.weight',
    'patch_embed.norm.weight': 'patch_embed.2.weight',
    'layers.2.blocks.8.ln_1.bias': 'layers.2.blocks.8.norm.bias',
    'layers.2.blocks.8.self_attention.A_logs': 'layers.2.blocks.8.op.A_logs',
    'norm.weight': 'classifier.norm.weight',
    'head.bias': 'classifier.head.bias',
    'layers.0.blocks.0.norm.weight': 'layers.0.blocks.0.norm.weight',
  }
  for (const [stored, present] of Object.entries(names)) assert.equal(model.checkpointName(stored), present)
})

test('images that do not fit are refused', () => {
  const model = new VMamba({ ...vanillaVMambaDefaults, ...small }).initialize()
  assert.throws(() => model.forward(normal([1, 8, 8, 1])), /expected images \(B, H, W, 3\)/)
  assert.throws(() => model.forward(normal([1, 3, 8, 3])), /vmamba: expected sides of at least 4/)
})
