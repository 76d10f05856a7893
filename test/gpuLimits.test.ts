// A model of which some tensors are larger than a GPU lets a kernel bind.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openNative } from '../src/backend/native/index.js'
import type { Backend } from '../src/backend/types.js'
import { openWebGpu } from '../src/backend/webgpu/index.js'
import { Decoder } from '../src/models/decoding.js'
import { mambaDefaults } from '../src/models/mamba-config.js'
import { MambaLM } from '../src/models/mamba-lm.js'
import {
  backward,
  dropout,
  outsideScopes,
  RandomStream,
  scope,
  setDefaultBackend,
  tensor,
} from '../src/tensor/index.js'
import { AdamW } from '../src/train/adamw.js'

const opened = await openWebGpu({ bindingBytes: 2 ** 18 }).catch((error: Error) => error)
const skip = opened instanceof Error ? opened.message : false

/** Losses and gradient norms of a few training steps, and what the model then writes. */
async function run(backend: Backend): Promise<{ measured: number[]; written: Int32Array[] }> {
  setDefaultBackend(backend)
  // The embedding takes 320,000 bytes, the residual stream 278,528, what lies between the projections twice that.
  const model = new MambaLM({ ...mambaDefaults, dModel: 32, nLayer: 1, vocabSize: 2500 }).initialize({ seed: 2 })
  const optimizer = new AdamW(model.namedParameters(), { clipNorm: 1 })
  const ids = tensor(
    Int32Array.from({ length: 2176 }, (_, i) => (i * 151) % 2500),
    { shape: [8, 272] },
  )
  const measured: number[] = []
  for (let step = 0; step < 3; step++) {
    const loss = scope(() => {
      const loss = model.loss(ids, ids)
      backward(loss)
      return loss
    })
    const norm = outsideScopes(() => optimizer.step(0.01))
    model.clearGradients()
    measured.push(await loss.item(), await norm.item())
    loss.dispose()
    norm.dispose()
  }
  const table = model.parameters()[0].value
  const dropped = scope(() => dropout(table, 0.5, new RandomStream(3)))
  for (const value of (await dropped.data()) as Float32Array) measured.push(value)
  dropped.dispose()
  const decoder = new Decoder(model.eval())
  const written: Int32Array[] = []
  for await (const chosen of decoder.chosen(Int32Array.of(151), 12)) written.push(chosen)
  decoder.dispose()
  optimizer.dispose()
  model.dispose()
  return { measured, written }
}

test('a model whose embedding and activations are larger than a binding trains and writes as on the CPU', {
  skip,
}, async () => {
  const gpu = opened as Backend
  const got = await run(gpu)
  await gpu.close()
  const native = openNative({ threads: 1 })
  const expected = await run(native)
  await native.close()
  assert.deepEqual(got.written, expected.written)
  assert.equal(got.measured.length, expected.measured.length)
  for (const [i, value] of got.measured.entries())
    assert.ok(
      Math.abs(value - expected.measured[i]) <= 1e-4 * Math.max(1, Math.abs(expected.measured[i])),
      `${i}: ${value}, ${expected.measured[i]}`,
    )
})
