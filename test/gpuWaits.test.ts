// The host waits for a GPU only where values are read: counted on Dawn's own objects, so that a wait anywhere counts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openNative } from '../src/backend/native/index.js'
import type { Backend } from '../src/backend/types.js'
import type { WebGpuBackend } from '../src/backend/webgpu/backend.js'
import { openWebGpu } from '../src/backend/webgpu/index.js'
import { Decoder } from '../src/models/decoding.js'
import { mambaDefaults } from '../src/models/mamba-config.js'
import { MambaLM } from '../src/models/mamba-lm.js'
import { uniformDraw } from '../src/models/sampling.js'
import { backward, outsideScopes, scope, setDefaultBackend, tensor } from '../src/tensor/index.js'
import { AdamW } from '../src/train/adamw.js'

const opened = await openWebGpu().catch((error: Error) => error)
const skip = opened instanceof Error ? opened.message : false
const config = { ...mambaDefaults, dModel: 16, nLayer: 2, vocabSize: 32 }

/** How often the host waits for the device while `run` runs: mapped buffers, and queues waited for. */
async function waitsOf(gpu: WebGpuBackend, run: () => Promise<void>): Promise<number> {
  const device = Reflect.get(gpu, 'gpu') as GPUDevice
  const buffer = device.createBuffer({ size: 16, usage: 0x8 })
  const watched = [
    [Object.getPrototypeOf(buffer), 'mapAsync'],
    [Object.getPrototypeOf(device.queue), 'onSubmittedWorkDone'],
  ] as const
  const originals = watched.map(([prototype, name]) => prototype[name])
  let waits = 0
  for (const [prototype, name] of watched) {
    const original = prototype[name]
    prototype[name] = function (...given: unknown[]) {
      waits++
      return original.apply(this, given)
    }
  }
  try {
    await run()
  } finally {
    watched.forEach(([prototype, name], i) => {
      prototype[name] = originals[i]
    })
    buffer.destroy()
  }
  return waits
}

test('a training step waits once for each value that is read, and decoding once in eight tokens', {
  skip,
}, async () => {
  const gpu = opened as WebGpuBackend
  setDefaultBackend(gpu)
  const model = new MambaLM(config).initialize({ seed: 1 })
  const optimizer = new AdamW(model.namedParameters(), { clipNorm: 1 })
  const ids = tensor(
    Int32Array.from({ length: 32 }, (_, i) => i),
    { shape: [2, 16] },
  )
  const step = async () => {
    const loss = scope(() => {
      const loss = model.loss(ids, ids)
      backward(loss)
      return loss
    })
    const norm = outsideScopes(() => optimizer.step(0.01))
    model.clearGradients()
    await Promise.all([loss.item(), norm.item()])
    loss.dispose()
    norm.dispose()
  }
  await step()
  assert.equal(await waitsOf(gpu, step), 2)

  const decoder = new Decoder(model.eval())
  const decode = async (count: number) => {
    let got = 0
    for await (const chosen of decoder.chosen(Int32Array.of(1), count)) got += chosen.length
    assert.equal(got, count)
  }
  await decode(8)
  const submissions = gpu.submissionCount
  assert.equal(await waitsOf(gpu, () => decode(64)), 8)
  // Eight recordings of eight steps and 96 dispatches, so two batches each.
  assert.ok(gpu.submissionCount - submissions <= 25, `${gpu.submissionCount - submissions} submissions for 64 tokens`)
  decoder.dispose()
  await gpu.close()
})

test('sampling on the device draws what the CPU draws, and waits once in eight tokens', { skip }, async () => {
  const draw = async (backend: Backend) => {
    setDefaultBackend(backend)
    const model = new MambaLM({ ...config, vocabSize: 300 }).initialize({ seed: 8 }).eval()
    const decoder = new Decoder(model)
    const got: number[] = []
    const choice = { vocabSize: 290, sampling: { temperature: 0.9, topK: 40, topP: 0.95, minP: 0.02, uniform } }
    for await (const [id] of decoder.chosen(Int32Array.of(1), 48, choice)) got.push(id)
    decoder.dispose()
    return got
  }
  const uniform = (i: number) => uniformDraw(2, i)
  const gpu = await openWebGpu()
  try {
    let got: number[] = []
    assert.equal(
      await waitsOf(gpu, async () => {
        got = await draw(gpu)
      }),
      6,
    )
    const native = openNative({ threads: 1 })
    assert.deepEqual(got, await draw(native))
    await native.close()
  } finally {
    await gpu.close()
  }
})

test('decoding many sequences takes five dispatches a layer, and the tokens that the CPU takes', { skip }, async () => {
  const nLayer = 3
  const tokens = async (backend: Backend) => {
    setDefaultBackend(backend)
    const model = new MambaLM({ ...mambaDefaults, dModel: 72, nLayer, vocabSize: 40 }).initialize({ seed: 4 }).eval()
    const decoder = new Decoder(model, 9)
    const got: Int32Array[] = []
    const first = Int32Array.from({ length: 9 }, (_, row) => 3 * row)
    const dispatches = () => (backend as Partial<WebGpuBackend>).dispatchCount ?? 0
    const before = dispatches()
    for await (const ids of decoder.chosen(first, 16)) got.push(ids)
    decoder.dispose()
    return { got, perToken: (dispatches() - before) / 16 }
  }
  // As on a GPU, where products of few rows are made in parts.
  const gpu = await openWebGpu({ fillingInvocations: 2 ** 18, cheapBarriers: true })
  try {
    const { got, perToken } = await tokens(gpu)
    assert.ok(perToken <= 5 * nLayer + 9, `${perToken} dispatches a token`)
    const native = openNative({ threads: 1 })
    assert.deepEqual(got, (await tokens(native)).got)
    await native.close()
  } finally {
    await gpu.close()
  }
})
