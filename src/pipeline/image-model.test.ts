import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CheckpointReader } from '../hub/checkpoint.js'
import { VMamba, vanillaVMambaDefaults } from '../models/vmamba.js'
import { underModelNames } from './image-model.js'

/** A checkpoint of tensors without data. */
function checkpointOf(...names: string[]): CheckpointReader {
  const tensors = new Map(names.map((name) => [name, { dtype: 'F32', shape: [1] } as const]))
  const read = async (name: string) => new TextEncoder().encode(name)
  return { file: 'old.pth', tensors, read, readInto: async () => {}, locate: () => null, close: async () => {} }
}

const config = { ...vanillaVMambaDefaults, in_chans: 3, num_classes: 2, dims: 8, depths: [1] }

test("an old checkpoint of a wrapped model is read under the model's present names", async () => {
  const model = new VMamba(config)
  const reader = underModelNames(model, checkpointOf('module.module.norm.weight', 'module.layers.0.blocks.0.ln_1.bias'))
  assert.deepEqual([...reader.tensors.keys()], ['classifier.norm.weight', 'layers.0.blocks.0.norm.bias'])
  const bytes = await reader.read('classifier.norm.weight')
  assert.equal(new TextDecoder().decode(bytes), 'module.module.norm.weight')
})

test('a checkpoint with a tensor under two spellings is refused', () => {
  const both = checkpointOf('norm.weight', 'classifier.norm.weight')
  assert.throws(() => underModelNames(new VMamba(config), both), /old\.pth: .*classifier\.norm\.weight.*twice/)
})
