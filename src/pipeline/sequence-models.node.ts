// Models over tokens that need not be text: what `train lm` builds, and what `eval` measures. Node only.
import { existsSync } from 'node:fs'
import type { Backend } from '../backend/types.js'
import type { Tokenizer } from '../data/tokenizer.js'
import { type TokenKind, tokenKinds, vocabularySizes } from '../data/tokens.node.js'
import { MambakitError } from '../errors.js'
import { loadModule } from '../hub/module-state.js'
import { openCheckpoint } from '../hub/open.node.js'
import { AudioUNet, type AudioUNetConfig } from '../models/audio-unet.js'
import { languageModels } from '../models/catalogue.js'
import type { LanguageModel } from '../models/language-model.js'
import { ConfigError, parseMambaConfig, toOfficialConfig } from '../models/mamba-config.js'
import { MambaLM } from '../models/mamba-lm.js'
import { checkVocabulary } from './load.js'
import { locateModel, readConfig } from './load.node.js'
import { languageModelConfig } from './presets.node.js'

/** The causal U-Net in the sizes that have a name. */
const audioUNets: Readonly<Record<string, AudioUNetConfig>> = {
  'audio-unet': { dModel: 32, pool: [4, 4], blocks: 2 },
}

export interface SequenceModel {
  readonly model: LanguageModel
  /** What goes into config.json. */
  readonly config: Record<string, unknown>
}

/** Rows of an embedding come in eights, as in the published models. */
const paddedVocabulary = (size: number) => Math.ceil(size / 8) * 8

/**
 * The model that a preset or a config.json names, for tokens of a kind, or for those of a tokenizer. It has no values yet.
 * Throws a MambakitError where its vocabulary is another one.
 */
export async function sequenceModel(
  name: string,
  tokens: TokenKind,
  tokenizer: Tokenizer | null = null,
): Promise<SequenceModel> {
  const unet = audioUNets[name]
  if (unet) {
    if (tokens !== 'mulaw') throw new MambakitError(`${name}: models sound; expected --tokens mulaw, got ${tokens}`)
    return { model: new AudioUNet(unet), config: { ...audioConfig(unet), tokenizer: tokens } }
  }
  const named = await languageModelConfig(name)
  if (tokenizer) {
    const config = name in languageModels ? { ...named, vocabSize: paddedVocabulary(tokenizer.vocabSize) } : named
    checkVocabulary(tokenizer, config.vocabSize, name)
    return { model: new MambaLM(config), config: toOfficialConfig(config) }
  }
  const vocabSize = vocabularySizes[tokens]
  // A preset takes the vocabulary of its tokens; text may have rows to spare.
  const config = tokens !== 'bytes' && name in languageModels ? { ...named, vocabSize } : named
  if (tokens !== 'bytes' && config.vocabSize !== vocabSize)
    throw new MambakitError(
      `${name}: expected a vocabulary of ${vocabSize} for --tokens ${tokens}, got ${config.vocabSize}`,
    )
  return { model: new MambaLM(config), config: { ...toOfficialConfig(config), tokenizer: tokens } }
}

function audioConfig({ vocabSize = 256, dModel, pool, blocks, dState = 16 }: AudioUNetConfig) {
  return { model_type: 'audio_unet', vocab_size: vocabSize, d_model: dModel, pool, n_block: blocks, d_state: dState }
}

/** The kind of tokens that a model on disk was trained on; text for every other, such as one of the hub. */
export async function tokenKindOf(path: string): Promise<TokenKind> {
  if (!existsSync(path)) return 'bytes'
  const { tokenizer } = await readConfig((await locateModel(path)).config)
  return tokenKinds.find((kind) => kind === tokenizer) ?? 'bytes'
}

/** Loads what `train lm` made, for measuring. */
export async function loadSequenceModel(path: string, backend: Backend): Promise<LanguageModel> {
  const files = await locateModel(path)
  const json = await readConfig(files.config)
  const model =
    json.model_type === 'audio_unet' ? new AudioUNet(parseAudioConfig(json)) : new MambaLM(parseMambaConfig(json))
  const reader = await openCheckpoint(files.weights)
  try {
    await loadModule(model, reader, { backend })
    return model
  } catch (error) {
    model.dispose()
    throw error
  } finally {
    await reader.close()
  }
}

function parseAudioConfig(json: Readonly<Record<string, unknown>>): AudioUNetConfig {
  const count = (name: string, value: unknown = json[name], most = 1 << 16): number => {
    if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= most) return value as number
    throw new ConfigError(name, `an integer from 1 to ${most}`, value)
  }
  if (!Array.isArray(json.pool) || json.pool.length < 1 || json.pool.length > 8)
    throw new ConfigError('pool', 'a list of 1 to 8 factors', json.pool)
  return {
    vocabSize: count('vocab_size'),
    dModel: count('d_model'),
    pool: json.pool.map((factor) => count('pool', factor, 64)),
    blocks: count('n_block', json.n_block, 1024),
    dState: count('d_state', json.d_state, 256),
  }
}
