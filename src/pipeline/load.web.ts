// Models from addresses and from the hub, by fetch: for pages.
import { tokenizerFiles } from '../data/hf-tokenizer.js'
import { byteTokenizer, type Tokenizer } from '../data/tokenizer.js'
import { MambakitError } from '../errors.js'
import type { CheckpointReader } from '../hub/checkpoint.js'
import { defaultEndpoint, parseHubId } from '../hub/hub.js'
import { openRepository } from '../hub/hub.web.js'
import { readCheckpoint, weightNames } from '../hub/open.js'
import { blobRanges } from '../hub/ranges.js'
import { parseShardIndex, readSharded } from '../hub/sharded.js'
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

/** A file of a folder, or null where there is none. */
type GetFile = (name: string) => Promise<Response | null>

const get =
  (folder: string, signal?: AbortSignal): GetFile =>
  async (name) => {
    const response = await fetch(folder + name, { signal })
    // Many servers answer with their page where a file is missing.
    if (response.status === 404 || response.headers.get('content-type')?.startsWith('text/html')) return null
    if (!response.ok) throw new MambakitError(`${folder}${name}: expected the file, got HTTP ${response.status}`)
    return response
  }

/** Where the files of a model are: its name for errors, and how to get one. */
interface Place {
  readonly name: string
  readonly file: GetFile
}

/** A folder's address; where that holds no such file and is an id, a repository of the hub. */
async function openPlace(address: string, known: string, options: LoadModelOptions): Promise<Place> {
  const folder = address.endsWith('/') ? address : `${address}/`
  const place = { name: folder, file: get(folder, options.signal) }
  const id = parseHubId(address)
  if (!id || (await place.file(known))) return place
  const { endpoint = defaultEndpoint, ...rest } = options
  return { name: `${address}/`, file: await openRepository(id, { endpoint, ...rest }) }
}

/** A model's configuration, and how to open its weights, which the caller closes. */
export async function openModelFolder(
  address: string,
  options: LoadModelOptions = {},
): Promise<{ place: Place; json: Json; configName: string; open: () => Promise<CheckpointReader> }> {
  const place = await openPlace(address, 'config.json', options)
  const configName = `${place.name}config.json`
  const config = await place.file('config.json')
  if (!config) throw new MambakitError(`${configName}: not found; expected the address of a model's folder`)
  const json = parseConfigText(await config.text(), configName)
  return { place, json, configName, open: () => openWeights(place.name, place.file) }
}

/** Loads a language model from a folder's address, which holds config.json and the weights, or by its hub id. */
export async function loadModel(address: string, options: LoadModelOptions = {}): Promise<LanguageModel> {
  const { place, json, configName, open } = await openModelFolder(address, options)
  const tokenizer = await findTokenizer(json, place, options)
  const weights = await open()
  try {
    return await buildLanguageModel(json, configName, weights, tokenizer, options)
  } finally {
    await weights.close()
  }
}

async function findTokenizer(json: Json, beside: Place, options: LoadModelOptions): Promise<Tokenizer> {
  const { tokenizer: chosen } = options
  if (typeof chosen === 'object') return chosen
  if (chosen === 'bytes') return byteTokenizer
  const at = ({ name, file }: Place) => tokenizerIn(name, async (each) => (await file(each))?.text() ?? null)
  const named = (name: string) => openPlace(name, tokenizerFiles.tokenizer, options)
  const found = await (chosen === undefined ? ownTokenizer(json, () => at(beside)) : named(chosen).then(at))
  if (found) return found
  const rows = configOf(json, `${beside.name}config.json`).vocabSize
  const usual = chosen === undefined && gptNeoxTokenizer.vocabSizes.includes(rows)
  const second = usual ? await at(await named(gptNeoxTokenizer.id)) : null
  if (!second) throw noTokenizer(chosen ?? beside.name)
  return second
}

/** Blobs may stay on the browser's disk: only what is being read is in memory. */
async function openWeights(folder: string, file: GetFile): Promise<CheckpointReader> {
  const open = async (name: string) => {
    const response = await file(name)
    return response && readCheckpoint(blobRanges(await response.blob(), folder + name))
  }
  for (const name of weightNames) {
    if (!name.endsWith('.index.json')) {
      const reader = await open(name)
      if (reader) return reader
      continue
    }
    const index = await file(name)
    if (index) return readSharded(parseShardIndex(await index.text(), folder + name), folder + name, open)
  }
  throw new MambakitError(`${folder}: holds no weights; expected ${weightNames.join(', ')}`)
}
