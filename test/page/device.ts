// What the browser test runs inside a page, on the device that it asks for: a part of the kernel suite, some steps of
// training, and a generation.
import { openDevice } from '../../src/backend/open.js'
import { openReference } from '../../src/backend/reference/index.js'
import { describeFailure, runSuite } from '../../src/backend/suite.js'
import { generateTokens } from '../../src/models/generation.js'
import { mambaDefaults } from '../../src/models/mamba-config.js'
import { MambaLM } from '../../src/models/mamba-lm.js'
import { backward, scope, setDefaultBackend, tensor } from '../../src/tensor/index.js'
import { AdamW } from '../../src/train/adamw.js'

export interface PageRun {
  readonly description: string
  readonly passed: number
  readonly failures: readonly string[]
  readonly losses: readonly number[]
  readonly tokens: readonly number[]
}

/** Few, because the software adapter takes its time to compile; the whole suite runs in Node. */
const kernels = ['rmsNorm', 'rmsNormGrad', 'gather', 'mambaStepIn', 'mambaStepScan'] as const

async function runOn(device: 'webgpu' | 'wasm'): Promise<PageRun> {
  const { backend } = await openDevice(device)
  setDefaultBackend(backend)
  const { passed, failures } = await runSuite(backend, openReference(), { kernels })
  const model = new MambaLM({ ...mambaDefaults, dModel: 16, nLayer: 2, vocabSize: 32 }).initialize({ seed: 3 })
  const optimizer = new AdamW(model.namedParameters(), { clipNorm: 1 })
  const text = Int32Array.from({ length: 66 }, (_, i) => (i * i) % 11)
  const losses: number[] = []
  for (let step = 0; step < 12; step++) {
    const loss = scope(() => {
      const window = (start: number) => tensor(text.slice(start, start + 64), { shape: [2, 32] })
      const loss = model.loss(window(0), window(1))
      backward(loss)
      return loss
    })
    scope(() => optimizer.step(0.02))
    model.clearGradients()
    losses.push(await loss.item())
    loss.dispose()
  }
  const tokens: number[] = []
  for await (const token of generateTokens(model.eval(), text.slice(0, 6), { maxTokens: 20, temperature: 0 }))
    tokens.push(token)
  const { description } = backend
  await backend.close()
  return { description, passed, failures: failures.map(describeFailure), losses, tokens }
}

Object.assign(globalThis, { runOn })
