// Every image model that has a name: the shared ones and those of the papers. A paper is loaded when one of its models
// is asked for.
import { MambakitError } from '../errors.js'
import { type ImageModelEntry, sharedImageModels } from '../models/image-catalogue.js'
import { papers } from './index.js'

/** In the order of the catalogues. */
export function imageModelNames(): string[] {
  return [...Object.keys(sharedImageModels), ...papers.flatMap(({ imageModels = [] }) => imageModels)]
}

/** The entry of a name, or null where no image model is called so. */
export async function findImageModel(name: string): Promise<ImageModelEntry | null> {
  if (Object.hasOwn(sharedImageModels, name)) return sharedImageModels[name]
  const paper = papers.find(({ imageModels }) => imageModels?.includes(name))
  if (!paper?.load) return null
  const { imageModels } = (await paper.load()) as { imageModels?: Readonly<Record<string, ImageModelEntry>> }
  const entry = imageModels?.[name]
  if (!entry) throw new MambakitError(`papers/${paper.slug}: its index.ts exports no image model called '${name}'`)
  return entry
}
