// Pages have no folders to write to.
import { MambakitError } from '../errors.js'
import type { LanguageModel } from './language-model.js'
import type { ConvertModelOptions, SavedModel, SaveModelOptions } from './save.node.js'

const refuse = (what: string) => new MambakitError(`${what}: a page has no folders to write to; do it in Node`)

export async function saveModel(
  _model: LanguageModel,
  _out: string,
  _options: SaveModelOptions = {},
): Promise<SavedModel> {
  throw refuse('saveModel')
}

export async function convertModel(
  _from: string,
  _out: string,
  _options: ConvertModelOptions = {},
): Promise<SavedModel> {
  throw refuse('convertModel')
}
