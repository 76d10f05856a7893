// A language model from its config.json, its weights and its tokenizer, wherever these come from.
import type { Backend } from '../backend/types.js'
import { baseTokenizer } from '../data/bases.js'
import { readTokenizer, tokenizerFiles } from '../data/hf-tokenizer.js'
import { byteTokenizer, type Tokenizer } from '../data/tokenizer.js'
import { MambakitError } from '../errors.js'
import type { CheckpointReader } from '../hub/checkpoint.js'
import { underMambaNames } from '../hub/mamba-names.js'
import { loadModule } from '../hub/module-state.js'
import { ConfigError, type MambaLMConfig, parseMambaConfig } from '../models/mamba-config.js'
import { MambaLM } from '../models/mamba-lm.js'
import { defaultBackend } from '../tensor/index.js'
import { LanguageModel } from './language-model.js'

export interface LoadModelOptions {
  /** Default: the default device. */
  backend?: Backend
  /**
   * A tokenizer, or where one is: 'bytes', or a folder, a tokenizer.json or a hub id. Default: the one that config.json
   * names or that lies beside the model.
   */
  tokenizer?: Tokenizer | string
  /**
   * Native device: share the system's copy of the file instead of copying it. Loads at once and takes no memory of its
   * own; decoding takes about 15 % longer, and the file must not be overwritten in place meanwhile. Default false.
   */
  map?: boolean
  /** Told of tensors that had to be narrowed, and of files that are fetched. */
  announce?: (message: string) => void
  /** Another hub. Default: HF_ENDPOINT in Node, else https://huggingface.co. */
  endpoint?: string
  /** Ends a download. */
  signal?: AbortSignal
  /** Watches a download. */
  onProgress?: (progress: { readonly file: string; readonly done: number; readonly total: number | null }) => void
}

export type Json = Readonly<Record<string, unknown>>

/** Builds the model that `json` (named `configName` in errors) describes and loads its weights strictly. */
export async function buildLanguageModel(
  json: Json,
  configName: string,
  weights: CheckpointReader,
  tokenizer: Tokenizer,
  options: LoadModelOptions,
): Promise<LanguageModel> {
  const model = new MambaLM(configOf(json, configName))
  checkVocabulary(tokenizer, model.config.vocabSize, configName)
  try {
    await loadModule(model, underMambaNames(weights, model.config.layout), {
      backend: options.backend ?? defaultBackend(),
      announce: options.announce,
      map: options.map,
    })
  } catch (error) {
    model.dispose()
    throw error
  }
  return new LanguageModel(model, tokenizer)
}

/** The configuration in a parsed config.json. Throws a MambakitError that names the file. */
export function configOf(json: Json, configName: string): MambaLMConfig {
  try {
    return parseMambaConfig(json)
  } catch (error) {
    if (error instanceof ConfigError) throw new MambakitError(`${configName}: ${error.message.replace('config: ', '')}`)
    throw error
  }
}

/** Embeddings are padded to a multiple of some power of two; more spare rows than this are another vocabulary's. */
const mostPadding = 1024

/** Throws a MambakitError, which names `configName`, where a model of so many rows cannot be one of this tokenizer. */
export function checkVocabulary(tokenizer: Tokenizer, rows: number, configName: string): void {
  const spare = rows - tokenizer.vocabSize
  if (spare < 0 || spare > mostPadding)
    throw new MambakitError(
      `${configName}: the tokenizer has ${tokenizer.vocabSize} tokens, the model's vocabulary ${rows}; they do not belong together, choose another tokenizer`,
    )
}

/** The tokenizer that config.json itself settles: bytes or bases of our own models, bytes for a vocabulary of 256. */
export function tokenizerInConfig(json: Json): Tokenizer | null {
  const name = json.tokenizer ?? (json.vocab_size === byteTokenizer.vocabSize ? 'bytes' : undefined)
  if (name === 'mulaw')
    throw new MambakitError('this model continues sound (8-bit mu-law samples), not text; `mambakit eval` measures it')
  return name === 'bytes' ? byteTokenizer : name === 'bases' ? baseTokenizer : null
}

/** What config.json says of a tokenizer that has no files; nothing of others. */
export function tokenizerField(tokenizer: Tokenizer): { tokenizer?: string } {
  if (tokenizer === byteTokenizer) return { tokenizer: 'bytes' }
  return tokenizer === baseTokenizer ? { tokenizer: 'bases' } : {}
}

/** A model's own tokenizer: the one that config.json names, else the one beside it, else bytes where they fit. */
export async function ownTokenizer(json: Json, beside: () => Promise<Tokenizer | null>): Promise<Tokenizer | null> {
  const settled = tokenizerInConfig(json)
  return json.tokenizer !== undefined && settled ? settled : ((await beside()) ?? settled)
}

/** Whose tokenizer the checkpoints of state-spaces use; their own folders hold none. */
export const gptNeoxTokenizer = { id: 'EleutherAI/gpt-neox-20b', vocabSizes: [50277, 50280, 50288] }

/** The error where a model comes without a tokenizer. */
export function noTokenizer(place: string): MambakitError {
  return new MambakitError(
    `${place}: holds no ${tokenizerFiles.tokenizer}; give the tokenizer's folder or hub id (--tokenizer)`,
  )
}

/** The tokenizer in a folder, whose files `readText` gives, or null for one that is not there. `file` is its own name. */
export async function tokenizerIn(
  place: string,
  readText: (name: string) => Promise<string | null>,
  file: string = tokenizerFiles.tokenizer,
): Promise<Tokenizer | null> {
  const text = await readText(file)
  if (text === null) return null
  const join = (name: string) => `${place.replace(/\/$/, '')}/${name}`
  const json = parseConfigText(text, join(file))
  const config = await readText(tokenizerFiles.config)
  const special = config === null ? {} : parseConfigText(config, join(tokenizerFiles.config))
  return readTokenizer(json, special, join(file))
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
