// Models into folders that official readers take: from memory (saveModel) or from another checkpoint (convertModel), in
// the layout of Hugging Face or of state-spaces. Node only.
import { readdir, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { MambakitError } from '../errors.js'
import { replaceFolder } from '../hub/atomic.node.js'
import { type CheckpointReader, storedBytes } from '../hub/checkpoint.js'
import { loadedDtype, narrowing, storedDtype, toTensorBytes } from '../hub/convert.js'
import { mambaName, underMambaNames } from '../hub/mamba-names.js'
import { checkShared, matchParameters, moduleToWrite } from '../hub/module-state.js'
import { openCheckpoint } from '../hub/open.node.js'
import type { TensorToWrite } from '../hub/safetensors.js'
import { writeSmall, writeWeights } from '../hub/save.node.js'
import { type MambaLMConfig, toOfficialConfig } from '../models/mamba-config.js'
import { MambaLM } from '../models/mamba-lm.js'
import type { LanguageModel } from './language-model.js'
import { checkVocabulary, configOf, type Json, tokenizerField } from './load.js'
import { type LocateOptions, loadTokenizer, locateModel, readConfig } from './load.node.js'

export type Layout = MambaLMConfig['layout']

export interface SaveModelOptions {
  /** Whose names the files carry. Default: the model's own. */
  layout?: Layout
  /** Bytes of tensors a file at most; default: all in one. */
  shardBytes?: number
  /** Replace a model that is there. Default false: that is an error. */
  force?: boolean
}

export interface ConvertModelOptions extends SaveModelOptions, LocateOptions {
  /** Takes the place of the model's own: 'bytes', a folder, a tokenizer.json or a hub id. */
  tokenizer?: string
}

export interface SavedModel {
  readonly layout: Layout
  /** Names in the folder. */
  readonly files: readonly string[]
  readonly tensors: number
  /** Of all tensors. */
  readonly bytes: number
}

const generationFile = 'generation_config.json'

/** Files beside a model that go with it. */
const companions = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'tokenizer.model',
  generationFile,
]

const isPartOfAModel = (name: string) =>
  name === 'config.json' || companions.includes(name) || /\.(safetensors|bin|index\.json)$/.test(name)

/** Saves a model and its tokenizer. Atomic: a kill leaves the old folder or the new one, whole. */
export async function saveModel(
  { model, tokenizer }: LanguageModel,
  out: string,
  options: SaveModelOptions = {},
): Promise<SavedModel> {
  if (!(model instanceof MambaLM))
    throw new MambakitError(`${out}: expected a Mamba language model to save; others have no official layout`)
  const { layout = model.config.layout } = options
  const config = { ...configFor(model.config, layout), ...tokenizerField(tokenizer) }
  const tensors = moduleToWrite(model).map((tensor) => ({ ...tensor, name: mambaName(tensor.name, layout) }))
  const texts = Object.entries(tokenizer.files ?? {})
  return writeModel(out, { layout, config, tensors: withTiedHead(tensors, model.config, layout), texts }, options)
}

/**
 * Writes another checkpoint's model in a layout of choice, every value as it is stored (64-bit ones as they are loaded).
 * Its tokenizer's files go along. Nothing is computed and no device is needed.
 */
export async function convertModel(from: string, out: string, options: ConvertModelOptions = {}): Promise<SavedModel> {
  const files = await locateModel(from, options)
  const json = await readConfig(files.config)
  const config = configOf(json, files.config)
  const { layout = config.layout } = options
  const tokenizer = options.tokenizer === undefined ? null : await loadTokenizer(options.tokenizer, options)
  if (tokenizer) checkVocabulary(tokenizer, config.vocabSize, files.config)
  const stored = await openCheckpoint(files.weights)
  try {
    const reader = underMambaNames(stored, layout)
    const matched = matchParameters(new MambaLM({ ...config, layout }), reader)
    const tensors: TensorToWrite[] = []
    for (const names of matched.values()) {
      await checkShared(reader, names)
      tensors.push(copyOf(reader, names[0], options.announce))
    }
    const own = layout === config.layout ? json : { ...configFor(config, layout), ...carriedOver(json) }
    const content = {
      layout,
      config: tokenizer ? { ...own, tokenizer: undefined, ...tokenizerField(tokenizer) } : own,
      tensors: withTiedHead(tensors, config, layout),
      texts: Object.entries(tokenizer?.files ?? {}),
      copies: (await readdir(files.folder))
        .filter((name) => (tokenizer ? generationFile === name : companions.includes(name)))
        .map((name) => join(files.folder, name)),
    }
    return await writeModel(out, content, options)
  } finally {
    await stored.close()
  }
}

interface ModelContent {
  readonly layout: Layout
  readonly config: Json
  readonly tensors: readonly TensorToWrite[]
  /** Small files: name and text. */
  readonly texts?: readonly (readonly [string, string])[]
  /** Paths of files to copy. */
  readonly copies?: readonly string[]
}

async function writeModel(out: string, content: ModelContent, { shardBytes, force }: SaveModelOptions) {
  const { layout, config, tensors, texts = [], copies = [] } = content
  const files = ['config.json']
  await replaceFolder(out, { force, ours: isPartOfAModel }, async (folder) => {
    files.push(...(await writeWeights(folder, tensors, shardBytes)))
    for (const [name, text] of texts) await writeSmall(join(folder, name), text)
    for (const path of copies) await writeSmall(join(folder, basename(path)), await readFile(path))
    await writeSmall(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`)
  })
  files.push(...texts.map(([name]) => name), ...copies.map((path) => basename(path)))
  const bytes = tensors.reduce((sum, tensor) => sum + storedBytes(tensor), 0)
  return { layout, files: files.sort(), tensors: tensors.length, bytes }
}

/** The config.json of a layout. Throws a MambakitError where the layout has no word for what the model is. */
function configFor(config: MambaLMConfig, layout: Layout): Record<string, unknown> {
  const refuse = (what: string) =>
    new MambakitError(`the layout of ${layout} has no ${what}; keep the model's own layout`)
  if (layout === 'huggingface') {
    if (!config.rmsNorm) throw refuse('LayerNorm (rms_norm false)')
    if (config.dIntermediate > 0) throw refuse(`MLP (d_intermediate ${config.dIntermediate})`)
  } else if (config.normEps !== 1e-5) throw refuse(`epsilon of the norms (layer_norm_epsilon ${config.normEps})`)
  return toOfficialConfig({ ...config, layout })
}

/** What a config.json says beside the architecture that other readers look for too. */
function carriedOver(json: Json): Json {
  const kept = ['bos_token_id', 'eos_token_id', 'pad_token_id', 'torch_dtype', 'dtype', 'tokenizer']
  return Object.fromEntries(kept.filter((name) => json[name] != null).map((name) => [name, json[name]]))
}

/** The official state-spaces reader asks for the head by name though it is tied; Hugging Face's leaves it out. */
function withTiedHead(tensors: readonly TensorToWrite[], { tieEmbeddings }: MambaLMConfig, layout: Layout) {
  if (!tieEmbeddings || layout === 'huggingface') return tensors
  const embedding = tensors.find(({ name }) => name === mambaName('backbone.embedding.weight', layout))!
  return [...tensors, { ...embedding, name: 'lm_head.weight' }]
}

/** A tensor of a checkpoint to be written as it is, 64-bit floats aside. */
function copyOf(reader: CheckpointReader, name: string, announce?: (message: string) => void): TensorToWrite {
  const { dtype, shape } = reader.tensors.get(name)!
  const source = { file: reader.file, name, dtype }
  const told = narrowing(source)
  if (told) announce?.(told)
  return {
    name,
    dtype: storedDtype(loadedDtype(dtype)),
    shape,
    bytes: async () => toTensorBytes(source, await reader.read(name)),
  }
}
