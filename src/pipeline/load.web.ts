// Models from addresses, by fetch: for pages.
import { byteTokenizer, type Tokenizer } from '../data/tokenizer.js'
import { MambakitError } from '../errors.js'
import type { CheckpointReader } from '../hub/checkpoint.js'
import { readCheckpoint, weightNames } from '../hub/open.js'
import { blobRanges } from '../hub/ranges.js'
import { parseShardIndex, readSharded } from '../hub/sharded.js'
import type { LanguageModel } from './language-model.js'
import {
  buildLanguageModel,
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

/** Loads a language model from a folder's address, which holds config.json and the weights. */
export async function loadModel(address: string, options: LoadModelOptions = {}): Promise<LanguageModel> {
  const folder = address.endsWith('/') ? address : `${address}/`
  const file = get(folder, options.signal)
  const config = await file('config.json')
  if (!config) throw new MambakitError(`${folder}config.json: not found; expected the address of a model's folder`)
  const json = parseConfigText(await config.text(), `${folder}config.json`)
  const tokenizer = await findTokenizer(json, folder, options)
  const weights = await openWeights(folder, file)
  try {
    return await buildLanguageModel(json, `${folder}config.json`, weights, tokenizer, options)
  } finally {
    await weights.close()
  }
}

async function findTokenizer(json: Json, folder: string, options: LoadModelOptions): Promise<Tokenizer> {
  const { tokenizer: chosen } = options
  if (typeof chosen === 'object') return chosen
  if (chosen === 'bytes') return byteTokenizer
  const place = chosen === undefined || chosen.endsWith('/') ? (chosen ?? folder) : `${chosen}/`
  const file = get(place, options.signal)
  const there = () => tokenizerIn(place, async (name) => (await file(name))?.text() ?? null)
  const found = await (chosen === undefined ? ownTokenizer(json, there) : there())
  if (!found) throw noTokenizer(place)
  return found
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
