// A training step and decoding of the 130M Mamba shape on a GPU, by the wall clock, with the kernels' shares.
import type { WebGpuBackend } from '../../src/backend/webgpu/backend.js'
import { Decoder } from '../../src/models/decoding.js'
import { mambaDefaults } from '../../src/models/mamba-config.js'
import { MambaLM } from '../../src/models/mamba-lm.js'
import { backward, randomIntegers, scope } from '../../src/tensor/index.js'
import { AdamW } from '../../src/train/adamw.js'
import { describeKernels } from './operators.js'
import { median, type Row } from './rows.js'

const shape = { ...mambaDefaults, dModel: 768, nLayer: 24, vocabSize: 50280 }

export async function* measureTrain(gpu: WebGpuBackend): AsyncGenerator<Row> {
  const [B, L] = [8, 2048]
  const model = new MambaLM(shape).initialize()
  const optimizer = new AdamW(model.namedParameters(), { clipNorm: 1 })
  const step = async () => {
    const loss = scope(() => {
      const ids = randomIntegers([B, L], 0, shape.vocabSize)
      const loss = model.loss(ids, ids)
      backward(loss)
      return loss
    })
    scope(() => optimizer.step(1e-3))
    model.clearGradients()
    const value = (await loss.data())[0]
    loss.dispose()
    if (!Number.isFinite(value)) throw new Error(`the loss became ${value}`)
  }
  await step()
  const times: number[] = []
  for (let i = 0; i < 5; i++) {
    const start = performance.now()
    await step()
    times.push(performance.now() - start)
  }
  const { reserved } = gpu.memory()
  const kernels = await gpu.profile(step)
  const onDevice = kernels.reduce((sum, { seconds }) => sum + seconds, 0) * 1000
  yield {
    what: `training step of 130M, B ${B}, L ${L}, float32`,
    milliseconds: median(times),
    rate: `${((B * L) / median(times)).toFixed(0)} k tokens/s`,
    target: '390 ms, 24.7 GB',
    detail: [
      `${(reserved / 1e9).toFixed(1)} GB reserved; kernels ${onDevice.toFixed(1)} ms`,
      ...describeKernels(kernels, 1, 45),
    ],
  }
  optimizer.dispose()
  model.dispose()
}

export async function* measureDecode(gpu: WebGpuBackend): AsyncGenerator<Row> {
  const model = new MambaLM(shape).initialize()
  model.eval()
  for (const batch of [1, 64]) {
    const decoder = new Decoder(model, batch)
    const tokens = (i: number) => Int32Array.from({ length: batch }, (_, b) => (i + b) % shape.vocabSize)
    await decoder.prefill(Array.from(tokens(0), (token) => Int32Array.of(token)))
    for (let i = 0; i < 100; i++) await decoder.step(tokens(i))
    const count = 200
    const before = gpu.dispatchCount
    const start = performance.now()
    for (let i = 0; i < count; i++) await decoder.step(tokens(i))
    const ms = (performance.now() - start) / count
    const dispatches = (gpu.dispatchCount - before) / count
    const kernels = await gpu.profile(async () => {
      for (let i = 0; i < 4; i++) await decoder.step(tokens(i))
    })
    const onDevice = kernels.reduce((sum, { seconds }) => sum + seconds, 0) * 250
    yield {
      what: `decode of 130M, batch ${batch}, float32`,
      milliseconds: ms,
      rate: `${((1000 * batch) / ms).toFixed(0)} tokens/s`,
      target: batch === 1 ? '1000 tokens/s in float16' : '32000 tokens/s in float16',
      detail: [
        `${dispatches} dispatches a token; kernels ${onDevice.toFixed(3)} ms a token`,
        ...describeKernels(kernels, 4, 25),
      ],
    }
    decoder.dispose()
  }
  model.dispose()
}
