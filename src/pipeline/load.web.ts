// Models from addresses, by fetch: for pages.
import { MambakitError } from '../errors.js'
import { parseSafetensors } from '../hub/safetensors.js'
import type { LanguageModel } from './language-model.js'
import { buildLanguageModel, type LoadModelOptions, parseConfigText } from './load.js'

async function get(address: string): Promise<Response> {
  const response = await fetch(address)
  if (!response.ok) throw new MambakitError(`${address}: expected the file, got HTTP ${response.status}`)
  return response
}

/** Loads a language model from a folder's address, which holds config.json and model.safetensors. */
export async function loadModel(address: string, options: LoadModelOptions = {}): Promise<LanguageModel> {
  const folder = address.endsWith('/') ? address : `${address}/`
  const json = parseConfigText(await (await get(`${folder}config.json`)).text(), `${folder}config.json`)
  const weights = `${folder}model.safetensors`
  const bytes = new Uint8Array(await (await get(weights)).arrayBuffer())
  return buildLanguageModel(json, `${folder}config.json`, parseSafetensors(bytes, weights), options)
}
