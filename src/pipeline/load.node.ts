// Models from folders, files and the hub. Node only.
import { readFile, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { byteTokenizer, type Tokenizer } from '../data/tokenizer.js'
import { MambakitError } from '../errors.js'
import type { DownloadOptions } from '../hub/blob.node.js'
import { downloadSnapshot } from '../hub/download.node.js'
import { HubError, parseHubId, type Want } from '../hub/hub.js'
import { hubSettings } from '../hub/hub-settings.node.js'
import { weightNames } from '../hub/open.js'
import { openCheckpoint } from '../hub/open.node.js'
import type { LanguageModel } from './language-model.js'
import {
  buildLanguageModel,
  configOf,
  gptNeoxTokenizer,
  type Json,
  type LoadModelOptions,
  noTokenizer,
  ownTokenizer,
  parseConfigText,
  tokenizerIn,
} from './load.js'

/** Reads a config.json. Throws a MambakitError that names the file. */
export async function readConfig(path: string): Promise<Record<string, unknown>> {
  return parseConfigText(await readFile(path, 'utf8'), path)
}

/** How a model that is not on this machine is fetched: told, watched, ended. */
export interface LocateOptions extends DownloadOptions {
  /** Another hub than HF_ENDPOINT names. */
  readonly endpoint?: string
}

export interface ModelFiles {
  readonly folder: string
  readonly config: string
  /** A file of weights, or the index of several. */
  readonly weights: string
}

const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  )

/**
 * Where a model lies: its folder, a run folder (best/ before last/), the weights file itself, or a snapshot of the hub,
 * which is downloaded where the cache does not hold it.
 */
export async function locateModel(path: string, options: LocateOptions = {}): Promise<ModelFiles> {
  const found = await stat(path).catch(() => null)
  const filesIn = (folder: string, weights: string) => ({ folder, config: join(folder, 'config.json'), weights })
  if (found?.isFile()) return filesIn(dirname(path), path)
  const root = found ? path : await fromHub(path, 'model', options)
  for (const folder of [root, join(root, 'best'), join(root, 'last')])
    for (const name of weightNames) if (await exists(join(folder, name))) return filesIn(folder, join(folder, name))
  throw new MambakitError(
    `${path}: expected a folder with config.json and ${weightNames[0]} or ${weightNames[2]}, or a file of weights`,
  )
}

/** The config.json of what names a model: itself, a folder, a file of weights, or a hub id. */
export async function locateConfig(path: string, options: LocateOptions = {}): Promise<string> {
  if (path.endsWith('.json') && !path.endsWith('.index.json')) return path
  const found = await stat(path).catch(() => null)
  if (found?.isFile()) return join(dirname(path), 'config.json')
  const root = found ? path : await fromHub(path, 'config', options)
  for (const folder of [root, join(root, 'best'), join(root, 'last')])
    if (await exists(join(folder, 'config.json'))) return join(folder, 'config.json')
  throw new MambakitError(`${path}: expected a folder with config.json`)
}

/** The config.json of what names a model on this machine; null where it is not here. */
export async function configOnDisk(path: string): Promise<Record<string, unknown> | null> {
  if (!(await exists(path))) return null
  const file = await locateConfig(path).catch(() => null)
  return file !== null && (await exists(file)) ? readConfig(file) : null
}

export interface DownloadModelOptions extends LocateOptions {
  /** Default: the model with its tokenizer. */
  want?: Want
}

/** Downloads a model by its hub id (owner/name, owner/name@revision). Returns its folder in the cache. */
export async function downloadModel(name: string, { want = 'model', ...options }: DownloadModelOptions = {}) {
  const id = parseHubId(name)
  if (!id) throw new MambakitError(`${name}: expected a hub id as owner/name or owner/name@revision`)
  return downloadSnapshot(id, want, withSettings(options))
}

const withSettings = ({ endpoint, ...options }: LocateOptions) => ({
  ...options,
  settings: hubSettings({ ...process.env, ...(endpoint !== undefined && { HF_ENDPOINT: endpoint }) }),
})

/** A snapshot of the hub. A path that is not there may have been meant for a file: both are said. */
async function fromHub(path: string, want: Want, options: LocateOptions): Promise<string> {
  const id = parseHubId(path)
  if (!id) throw new MambakitError(`${path}: no such file or folder, and no hub id (owner/name, owner/name@revision)`)
  try {
    return await downloadSnapshot(id, want, withSettings(options))
  } catch (error) {
    if (error instanceof HubError)
      throw new HubError(
        error.address,
        error.status,
        `${path}: no such file or folder here; on the hub: ${error.message}`,
      )
    throw error
  }
}

/** A model's tokenizer: what the caller asks for, what config.json names, or what lies beside the model. */
export async function findTokenizer(json: Json, files: ModelFiles, options: LoadModelOptions): Promise<Tokenizer> {
  const { tokenizer: chosen } = options
  if (typeof chosen === 'object') return chosen
  if (chosen !== undefined) return loadTokenizer(chosen, options)
  const own = await ownTokenizer(json, () => tokenizerOnDisk(files.folder))
  if (own) return own
  if (!gptNeoxTokenizer.vocabSizes.includes(configOf(json, files.config).vocabSize)) throw noTokenizer(files.folder)
  const { id } = gptNeoxTokenizer
  options.announce?.(`${files.folder}: holds no tokenizer.json; by its vocabulary, ${id} is its tokenizer`)
  try {
    return await loadTokenizer(await downloadModel(id, { ...options, want: 'tokenizer' }))
  } catch (error) {
    if (!(error instanceof HubError)) throw error
    throw new HubError(error.address, error.status, `${noTokenizer(files.folder).message}; ${error.message}`)
  }
}

/** A tokenizer by what names it: 'bytes', a folder, a file as tokenizer.json (of any name), or a hub id. */
export async function loadTokenizer(name: string, options: LocateOptions = {}): Promise<Tokenizer> {
  if (name === 'bytes') return byteTokenizer
  const found = await stat(name).catch(() => null)
  const [folder, file] = found?.isFile()
    ? [dirname(name), basename(name)]
    : [found ? name : await fromHub(name, 'tokenizer', options)]
  const tokenizer = await tokenizerOnDisk(folder, file)
  if (!tokenizer) throw noTokenizer(folder)
  return tokenizer
}

function tokenizerOnDisk(folder: string, file?: string): Promise<Tokenizer | null> {
  const readText = async (name: string) => {
    const path = join(folder, name)
    return (await exists(path)) ? readFile(path, 'utf8') : null
  }
  return tokenizerIn(folder, readText, file)
}

/**
 * Loads a language model onto a device: from a folder, a run folder, a file of weights (safetensors, PyTorch .bin, or an
 * index of several), or by its hub id. A checkpoint that does not fit its config.json is an error that names the tensor.
 */
export async function loadModel(path: string, options: LoadModelOptions = {}): Promise<LanguageModel> {
  const files = await locateModel(path, options)
  const json = await readConfig(files.config)
  const tokenizer = await findTokenizer(json, files, options)
  const reader = await openCheckpoint(files.weights)
  try {
    return await buildLanguageModel(json, files.config, reader, tokenizer, options)
  } finally {
    await reader.close()
  }
}
