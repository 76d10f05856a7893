// Models from folders and files. Node only.
import { readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Tokenizer } from '../data/tokenizer.js'
import { byteTokenizer } from '../data/tokenizer.js'
import { MambakitError } from '../errors.js'
import { weightNames } from '../hub/open.js'
import { openCheckpoint } from '../hub/open.node.js'
import type { LanguageModel } from './language-model.js'
import {
  buildLanguageModel,
  type Json,
  type LoadModelOptions,
  noTokenizer,
  parseConfigText,
  tokenizerIn,
  tokenizerInConfig,
} from './load.js'

/** Reads a config.json. Throws a MambakitError that names the file. */
export async function readConfig(path: string): Promise<Record<string, unknown>> {
  return parseConfigText(await readFile(path, 'utf8'), path)
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

/** Where a model lies: its folder, a run folder (best/ before last/), or the weights file itself. */
export async function locateModel(path: string): Promise<ModelFiles> {
  const found = await stat(path).catch(() => null)
  const filesIn = (folder: string, weights: string) => ({ folder, config: join(folder, 'config.json'), weights })
  if (found?.isFile()) return filesIn(dirname(path), path)
  if (found?.isDirectory())
    for (const folder of [path, join(path, 'best'), join(path, 'last')])
      for (const name of weightNames) if (await exists(join(folder, name))) return filesIn(folder, join(folder, name))
  throw new MambakitError(
    `${path}: expected a folder with config.json and ${weightNames[0]} or ${weightNames[2]}, or a file of weights`,
  )
}

/** The tokenizer of a model: what the caller asks for, what config.json names, or what lies beside the model. */
async function findTokenizer(json: Json, folder: string, options: LoadModelOptions): Promise<Tokenizer> {
  const { tokenizer: chosen } = options
  if (typeof chosen === 'object') return chosen
  if (chosen === 'bytes') return byteTokenizer
  const own = chosen === undefined ? tokenizerInConfig(json) : null
  if (own) return own
  const place = chosen === undefined ? folder : (await stat(chosen)).isFile() ? dirname(chosen) : chosen
  const found = await tokenizerIn(place, async (name) => {
    const path = join(place, name)
    return (await exists(path)) ? readFile(path, 'utf8') : null
  })
  if (!found) throw noTokenizer(place)
  return found
}

/**
 * Loads a language model onto a device: from a folder, a run folder or a file of weights (safetensors, PyTorch .bin, or
 * an index of several). A checkpoint that does not fit its config.json is an error that names the tensor.
 */
export async function loadModel(path: string, options: LoadModelOptions = {}): Promise<LanguageModel> {
  const files = await locateModel(path)
  const json = await readConfig(files.config)
  const tokenizer = await findTokenizer(json, files.folder, options)
  const reader = await openCheckpoint(files.weights)
  try {
    return await buildLanguageModel(json, files.config, reader, tokenizer, options)
  } finally {
    await reader.close()
  }
}
