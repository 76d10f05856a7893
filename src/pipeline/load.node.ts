// Models from folders and files. Node only.
import { readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Backend } from '../backend/types.js'
import { byteTokenizer } from '../data/tokenizer.js'
import { MambakitError } from '../errors.js'
import { loadModule } from '../hub/module-state.js'
import { openSafetensors } from '../hub/safetensors.node.js'
import { ConfigError, parseMambaConfig } from '../models/mamba-config.js'
import { MambaLM } from '../models/mamba-lm.js'
import { defaultBackend } from '../tensor/index.js'
import { LanguageModel } from './language-model.js'

export interface LoadModelOptions {
  /** Default: the default device. */
  backend?: Backend
  /** Told of tensors that had to be narrowed. */
  announce?: (message: string) => void
}

/** Reads config.json of a model folder. Throws ConfigError or MambakitError that names the file. */
export async function readConfig(path: string): Promise<Record<string, unknown>> {
  const text = await readFile(path, 'utf8')
  try {
    const json: unknown = JSON.parse(text)
    if (json === null || typeof json !== 'object' || Array.isArray(json)) throw new Error('not an object')
    return json as Record<string, unknown>
  } catch (error) {
    throw new MambakitError(`${path}: expected a JSON object, got something else (${(error as Error).message})`)
  }
}

/** Where a model lies: a folder with config.json and model.safetensors, a run folder (best/ or last/), or the weights file. */
async function locate(path: string): Promise<{ folder: string; weights: string }> {
  const found = await stat(path).catch(() => null)
  if (found?.isFile()) return { folder: dirname(path), weights: path }
  if (found?.isDirectory())
    for (const folder of [path, join(path, 'best'), join(path, 'last')]) {
      const weights = join(folder, 'model.safetensors')
      if (await stat(weights).catch(() => null)) return { folder, weights }
    }
  throw new MambakitError(`${path}: expected a folder with config.json and model.safetensors, or a .safetensors file`)
}

/** Loads a language model onto a device. A checkpoint that does not fit its config.json is an error that names the tensor. */
export async function loadModel(path: string, options: LoadModelOptions = {}): Promise<LanguageModel> {
  const { folder, weights } = await locate(path)
  const configPath = join(folder, 'config.json')
  const json = await readConfig(configPath)
  let model: MambaLM
  try {
    model = new MambaLM(parseMambaConfig(json))
  } catch (error) {
    if (error instanceof ConfigError) throw new MambakitError(`${configPath}: ${error.message}`)
    throw error
  }
  const reader = await openSafetensors(weights)
  try {
    await loadModule(model, reader, { backend: options.backend ?? defaultBackend(), announce: options.announce })
  } finally {
    await reader.close()
  }
  return new LanguageModel(model, tokenizerOf(json, configPath))
}

function tokenizerOf(json: Record<string, unknown>, file: string) {
  const name = json.tokenizer ?? (json.vocab_size === byteTokenizer.vocabSize ? 'bytes' : undefined)
  if (name === 'bytes') return byteTokenizer
  throw new MambakitError(
    `${file}: expected "tokenizer": "bytes" (a vocabulary of 256); no other tokenizer is built yet`,
  )
}
