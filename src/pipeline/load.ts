// A language model from its config.json and its weights, wherever these come from.
import type { Backend } from '../backend/types.js'
import { byteTokenizer, type Tokenizer } from '../data/tokenizer.js'
import { MambakitError } from '../errors.js'
import { loadModule } from '../hub/module-state.js'
import type { SafetensorsReader } from '../hub/safetensors.js'
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

/** Builds the model that `json` (named `configName` in errors) describes and loads its weights strictly. */
export async function buildLanguageModel(
  json: Readonly<Record<string, unknown>>,
  configName: string,
  weights: SafetensorsReader,
  options: LoadModelOptions,
): Promise<LanguageModel> {
  let model: MambaLM
  try {
    model = new MambaLM(parseMambaConfig(json))
  } catch (error) {
    if (error instanceof ConfigError) throw new MambakitError(`${configName}: ${error.message.replace('config: ', '')}`)
    throw error
  }
  const tokenizer = tokenizerOf(json, configName)
  await loadModule(model, weights, { backend: options.backend ?? defaultBackend(), announce: options.announce })
  return new LanguageModel(model, tokenizer)
}

function tokenizerOf(json: Readonly<Record<string, unknown>>, file: string): Tokenizer {
  const name = json.tokenizer ?? (json.vocab_size === byteTokenizer.vocabSize ? 'bytes' : undefined)
  if (name === 'bytes') return byteTokenizer
  throw new MambakitError(`${file}: tokenizer: expected "bytes" (a vocabulary of 256); no other is built yet`)
}

/** Parses a config.json. Throws a MambakitError that names it. */
export function parseConfigText(text: string, name: string): Record<string, unknown> {
  try {
    const json: unknown = JSON.parse(text)
    if (json !== null && typeof json === 'object' && !Array.isArray(json)) return json as Record<string, unknown>
  } catch (error) {
    throw new MambakitError(`${name}: expected a JSON object (${(error as Error).message})`)
  }
  throw new MambakitError(`${name}: expected a JSON object`)
}
