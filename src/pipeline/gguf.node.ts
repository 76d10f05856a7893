// A model of ours as a GGUF file that llama.cpp runs. Node only.
import { stat } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import type { Backend } from '../backend/types.js'
import { tokenizerFiles } from '../data/hf-tokenizer.js'
import { byteTokenizer, type Tokenizer } from '../data/tokenizer.js'
import { MambakitError } from '../errors.js'
import type { GgufType } from '../hub/gguf.js'
import { writeGguf } from '../hub/gguf.node.js'
import { byteVocabulary, type GgufVocabulary, ggufMetadata, ggufTensors, vocabularyOf } from '../hub/gguf-mamba.js'
import { underMambaNames } from '../hub/mamba-names.js'
import { loadModule } from '../hub/module-state.js'
import { openCheckpoint } from '../hub/open.node.js'
import { MambaLM } from '../models/mamba-lm.js'
import { checkVocabulary, configOf } from './load.js'
import { findTokenizer, type LocateOptions, locateModel, readConfig } from './load.node.js'

export interface GgufOptions extends LocateOptions {
  /** Of the embedding and the large projections; the rest is float32. Default 'f32'. */
  dtype?: 'f32' | 'q8_0'
  /** Takes the place of the model's own: 'bytes', a folder, a tokenizer.json or a hub id. */
  tokenizer?: string
  /** Where the weights pass through. */
  backend: Backend
}

/** Writes a model (a folder, a run folder or a file of weights) to `out`, and returns the size of the file in bytes. */
export async function convertToGguf(path: string, out: string, options: GgufOptions): Promise<number> {
  const { dtype = 'f32', backend, announce } = options
  const type = dtype.toUpperCase() as GgufType
  const files = await locateModel(path, options)
  const json = await readConfig(files.config)
  const model = new MambaLM(configOf(json, files.config))
  const tokenizer = await findTokenizer(json, files, options)
  checkVocabulary(tokenizer, model.config.vocabSize, files.config)
  const vocabulary = vocabularyFor(tokenizer, model.config.vocabSize)
  const reader = await openCheckpoint(files.weights)
  try {
    await loadModule(model, underMambaNames(reader, model.config.layout), { backend, announce })
    const name = basename(resolve(path))
    await writeGguf(out, ggufTensors(model, type), ggufMetadata(model, name, type, vocabulary))
    return (await stat(out)).size
  } finally {
    await reader.close()
    model.dispose()
  }
}

function vocabularyFor(tokenizer: Tokenizer, size: number): GgufVocabulary {
  if (tokenizer === byteTokenizer) return byteVocabulary(size)
  const text = tokenizer.files?.[tokenizerFiles.tokenizer]
  if (text === undefined) throw new MambakitError('GGUF: expected a model of text, got one of bases')
  return vocabularyOf(JSON.parse(text), size, tokenizer.endOfText)
}
