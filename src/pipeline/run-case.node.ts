// `mambakit run`: answers a recorded case. A whole model is built from config.json and loaded strictly; single parts go
// to the papers' probes, single operators to the table of operators.
import { join } from 'node:path'
import type { Backend } from '../backend/types.js'
import { MambakitError } from '../errors.js'
import { loadModule, tensorsToWrite } from '../hub/module-state.js'
import { readTensor } from '../hub/read-tensors.js'
import { openSafetensors, writeSafetensors } from '../hub/safetensors.node.js'
import { generateTokens } from '../models/generation.js'
import { parseMambaConfig } from '../models/mamba-config.js'
import { MambaLM } from '../models/mamba-lm.js'
import type { Module } from '../nn/index.js'
import type { Probe } from '../papers/probe.js'
import { partProbes } from '../papers/probes.js'
import { noGrad, Scope, type Tensor, tensor } from '../tensor/index.js'
import { readConfig } from './load.node.js'

/** Classes of cases that are whole language models. */
const languageModelClasses = ['MambaLMHeadModel', 'MambaForCausalLM']
/** Tokens that a language case continues its prompt by. */
const continuation = 24

/** Runs the case in `folder` on `backend`: inputs from one file, outputs to another. */
export async function runCase(folder: string, inputPath: string, outputPath: string, backend: Backend): Promise<void> {
  const config = await readConfig(join(folder, 'config.json'))
  const calls = backend.operationCount
  using owned = new Scope()
  const inputs = await readInputs(inputPath, backend, owned)
  const probe = await probeFor(config, join(folder, 'model.safetensors'), backend)
  const outputs = await runOwned(owned, probe, { config, inputs })
  await writeSafetensors(outputPath, tensorsToWrite(Object.entries(outputs)), {
    device: backend.device,
    description: backend.description,
    kernel_calls: `${backend.operationCount - calls}`,
    fallbacks: '0',
  })
}

/** Probes are small: what they make is kept until the outputs are written. */
async function runOwned(owned: Scope, probe: Probe, given: Parameters<Probe>[0]): Promise<Record<string, Tensor>> {
  const outputs = await probe(given)
  for (const output of Object.values(outputs)) owned.own(output)
  return outputs
}

async function readInputs(path: string, backend: Backend, owned: Scope): Promise<Map<string, Tensor>> {
  const reader = await openSafetensors(path)
  try {
    const inputs = new Map<string, Tensor>()
    for (const name of reader.tensors.keys()) inputs.set(name, owned.own(await readTensor(reader, name, { backend })))
    return inputs
  } finally {
    await reader.close()
  }
}

async function probeFor(config: Readonly<Record<string, unknown>>, weights: string, backend: Backend): Promise<Probe> {
  if (typeof config.operator === 'string') return (await import('./operators.js')).operatorProbe
  const architecture = Array.isArray(config.architectures) ? config.architectures[0] : config.class
  if (languageModelClasses.includes(architecture as string)) {
    const model = new MambaLM(parseMambaConfig(config))
    await loadWeights(model, weights, backend)
    return languageModelProbe(model)
  }
  const parts = (await partProbes[config.model as string]?.())?.probes
  const part = parts?.[config.class as string]?.(config)
  if (part) {
    if (part.module) await loadWeights(part.module, weights, backend)
    return part.answer
  }
  throw new MambakitError(
    `config: no model is built yet for ${JSON.stringify({ model: config.model ?? config.model_type, class: architecture })}`,
  )
}

async function loadWeights(module: Module, path: string, backend: Backend): Promise<void> {
  const reader = await openSafetensors(path)
  try {
    await loadModule(module, reader, { backend })
  } finally {
    await reader.close()
  }
}

/** Logits and last hidden states of input_ids; the greedy continuation of prompt_ids. */
const languageModelProbe =
  (model: MambaLM): Probe =>
  async ({ inputs }) => {
    model.eval()
    const outputs: Record<string, Tensor> = {}
    const ids = inputs.get('input_ids')
    if (ids) {
      const { hidden } = noGrad(() => model.hidden(ids))
      outputs.hidden_last = hidden
      outputs.logits = noGrad(() => model.logits(hidden))
    }
    const prompt = inputs.get('prompt_ids')
    if (prompt) {
      const tokens = [...((await prompt.data()) as Int32Array)]
      const generated = generateTokens(model, Int32Array.from(tokens), { maxTokens: continuation, temperature: 0 })
      for await (const token of generated) tokens.push(token)
      outputs.generated_ids = tensor(Int32Array.from(tokens), { shape: [1, tokens.length], backend: prompt.backend })
    }
    return outputs
  }
