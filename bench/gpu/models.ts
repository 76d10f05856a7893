// A training step and decoding of the 130M Mamba shape on a GPU, by the wall clock, with the kernels' shares.
import type { WebGpuBackend } from '../../src/backend/webgpu/backend.js'
import { Decoder } from '../../src/models/decoding.js'
import { mambaDefaults } from '../../src/models/mamba-config.js'
import { MambaLM } from '../../src/models/mamba-lm.js'
import { autocast, backward, cast, mul, noGrad, outsideScopes, randomIntegers, scope } from '../../src/tensor/index.js'
import { AdamW } from '../../src/train/adamw.js'
import { describeKernels, warmUp } from './operators.js'
import { median, type Row } from './rows.js'

const shape = { ...mambaDefaults, dModel: 768, nLayer: 24, vocabSize: 50280 }

/** A training step in float32, or in mixed precision with float16 activations. */
export async function* measureTrain(gpu: WebGpuBackend, compute: 'float16' | null): AsyncGenerator<Row> {
  const [B, L] = [8, 2048]
  const model = new MambaLM(shape).initialize()
  const optimizer = new AdamW(model.namedParameters(), { clipNorm: 1 })
  const lossScale = compute ? 2 ** 16 : 1
  const losses: number[] = []
  const step = async () => {
    const loss = scope(() =>
      autocast(compute, () => {
        const ids = randomIntegers([B, L], 0, shape.vocabSize)
        const loss = model.loss(ids, ids)
        backward(lossScale === 1 ? loss : mul(loss, lossScale))
        return loss
      }),
    )
    const norm = outsideScopes(() => optimizer.step(1e-3, lossScale))
    model.clearGradients()
    const [value, gradientNorm] = [(await loss.data())[0], (await norm.data())[0]]
    loss.dispose()
    norm.dispose()
    if (!Number.isFinite(value + gradientNorm))
      throw new Error(`the loss became ${value}, the gradient's norm ${gradientNorm}`)
    losses.push(value)
  }
  await step()
  const times: number[] = []
  for (let i = 0; i < 5; i++) {
    const start = performance.now()
    await step()
    times.push(performance.now() - start)
  }
  const gigabytes = gpu.memory().reserved / 1e9
  const kernels = await gpu.profile(step)
  const onDevice = kernels.reduce((sum, { seconds }) => sum + seconds, 0) * 1000
  yield {
    what: `training step of 130M, B ${B}, L ${L}, ${compute ? 'mixed float16' : 'float32'}, ${gigabytes.toFixed(1)} GB`,
    milliseconds: median(times),
    rate: { value: ((B * L) / median(times)) * 1000, unit: 'tokens/s' },
    target: compute ? '1.5, 19.3 GB' : '1.1, 24.7 GB',
    peer: [`mamba1_130m_train_${compute ? 'bf16' : 'fp32'}`, 'ms'],
    detail: [
      `kernels ${onDevice.toFixed(1)} ms; losses ${losses.map((x) => x.toFixed(3)).join(' ')}`,
      ...describeKernels(kernels, 1, 45),
    ],
  }
  optimizer.dispose()
  model.dispose()
}

/** Stores the matrices of linear maps and embeddings in float16; vectors, A and the convolutions stay float32. */
function halveMatrices(model: MambaLM): void {
  for (const parameter of model.parameters())
    if (parameter.decay && parameter.shape.length === 2)
      parameter.value = noGrad(() => outsideScopes(() => cast(parameter.value, 'float16')))
}

/** A usual way to sample; which draws does not matter for the time. */
const sampling = { temperature: 0.8, topK: 50, topP: 0.95, minP: 0, uniform: (i: number) => (i * 0.618) % 1 }

/** Decoding, the tokens chosen on the device: the most likely ones, and once drawn. */
export async function* measureDecode(gpu: WebGpuBackend): AsyncGenerator<Row> {
  const model = new MambaLM(shape).initialize()
  model.eval()
  for (const dtype of ['float32', 'float16'] as const) {
    if (dtype === 'float16') halveMatrices(model)
    for (const [batch, choice] of [
      [1, {}],
      ...(dtype === 'float16' ? ([[1, { sampling }]] as const) : []),
      [64, {}],
    ] as const) {
      const decoder = new Decoder(model, batch)
      const first = Int32Array.from({ length: batch }, (_, b) => (7919 * b) % shape.vocabSize)
      const decode = async (count: number) => {
        let last: Int32Array = first
        for await (const ids of decoder.chosen(first, count, choice)) last = ids
        return last
      }
      await decode(240)
      const count = 480
      await warmUp()
      await decode(24)
      const [dispatchesBefore, submissionsBefore] = [gpu.dispatchCount, gpu.submissionCount]
      const start = performance.now()
      await decode(count)
      const ms = (performance.now() - start) / count
      const [dispatched, submitted] = [gpu.dispatchCount - dispatchesBefore, gpu.submissionCount - submissionsBefore]
      const perToken = (n: number) => (n / count).toFixed(1)
      const kernels = await gpu.profile(async () => {
        await decode(8)
      })
      const steps = 8
      const onDevice = kernels.reduce((sum, { seconds }) => sum + seconds, 0) * (1000 / steps)
      const target = batch === 1 ? '1,000 tokens/s, 110 dispatches' : '32,000 tokens/s'
      const compared = !('sampling' in choice)
      yield {
        what: `decode of 130M, batch ${batch}, ${dtype}, ${compared ? 'the most likely' : 'temperature 0.8, top-k 50, top-p 0.95'}, ${perToken(dispatched)} dispatches`,
        milliseconds: ms,
        rate: { value: (1000 * batch) / ms, unit: 'tokens/s' },
        ...(compared && { peer: [`mamba1_130m_decode_${dtype}_batch${batch}`, 'tokens_s'] }),
        ...(compared && dtype === 'float16' && { target }),
        detail: [
          `${perToken(submitted)} submissions a token; kernels ${onDevice.toFixed(3)} ms`,
          ...describeKernels(kernels, steps, 25),
        ],
      }
      decoder.dispose()
    }
  }
  model.dispose()
}
