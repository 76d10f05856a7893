// Models from folders and files. Node only.
import { readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { MambakitError } from '../errors.js'
import { openSafetensors } from '../hub/safetensors.node.js'
import type { LanguageModel } from './language-model.js'
import { buildLanguageModel, type LoadModelOptions, parseConfigText } from './load.js'

/** Reads a config.json. Throws a MambakitError that names the file. */
export async function readConfig(path: string): Promise<Record<string, unknown>> {
  return parseConfigText(await readFile(path, 'utf8'), path)
}

/** Where a model lies: its folder, a run folder (best/ before last/), or the weights file itself. */
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
  const reader = await openSafetensors(weights)
  try {
    return await buildLanguageModel(json, configPath, reader, options)
  } finally {
    await reader.close()
  }
}
