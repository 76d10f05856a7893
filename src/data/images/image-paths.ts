// Image folders and archives: classes and parts of the set from the paths of files alone.
import { DataError } from '../bytes.js'

export interface LabelledPaths {
  readonly paths: readonly string[]
  /** The class of each, by number. */
  readonly labels: Int32Array
}

export interface ImageTree {
  /** Names of the class folders, sorted. */
  readonly classes: readonly string[]
  readonly train: LabelledPaths
  /** Null where the tree has no part of its own to measure on. */
  readonly heldOut: LabelledPaths | null
}

const trainNames = ['train', 'training']
/** In order of preference. */
const heldOutNames = ['val', 'valid', 'validation', 'test', 'testing']

/**
 * Sorts paths such as train/cat/1.jpg, or cat/1.jpg, by part and class; a folder that holds all others is passed over,
 * and what lies deeper than a class folder belongs to it. Throws DataError that names what is not as it should be.
 * @param emptyFolders class folders that hold no image: an error that names the first
 */
export function sortImagePaths(
  name: string,
  paths: readonly string[],
  emptyFolders: readonly string[] = [],
): ImageTree {
  if (paths.length === 0)
    throw new DataError(name, 'expected images (PNG, JPEG or WebP) in folders named for their classes, found none')
  let split = [...paths, ...emptyFolders.map((folder) => `${folder}/`)].map((path) => path.split('/'))
  const isPart = (folder: string) => [...trainNames, ...heldOutNames].includes(folder.toLowerCase())
  while (split.every((parts) => parts.length > 2 && parts[0] === split[0][0] && !isPart(parts[0])))
    split = split.map((parts) => parts.slice(1))
  const depths = split.map((parts) => parts.length)
  const parts = new Set(split.map(([first]) => first.toLowerCase()))
  const hasParts = split.every((each) => each.length > 2) && [...parts].every(isPart)
  const loose = depths.findIndex((depth) => depth < (hasParts ? 3 : 2))
  if (loose !== -1)
    throw new DataError(name, `expected each image in a folder named for its class, but ${paths[loose]} lies in none`)
  const classAt = hasParts ? 1 : 0
  const heldOutName = heldOutNames.find((each) => parts.has(each))
  const partOf = (each: readonly string[]): 'train' | 'heldOut' | null => {
    const folder = each[0].toLowerCase()
    if (!hasParts || trainNames.includes(folder)) return 'train'
    return folder === heldOutName ? 'heldOut' : null
  }
  // Without a training part the one that is there is all there is: something to measure on.
  const onlyHeldOut = hasParts && !trainNames.some((each) => parts.has(each))
  const classes = [...new Set(split.map((each) => each[classAt]))].sort()
  const collect = (part: 'train' | 'heldOut'): LabelledPaths => {
    const chosen = paths.flatMap((path, i) => (partOf(split[i]) === part ? [{ path, folder: split[i][classAt] }] : []))
    const numbers = new Map(classes.map((each, i) => [each, i]))
    return {
      paths: chosen.map(({ path }) => path),
      labels: Int32Array.from(chosen, ({ folder }) => numbers.get(folder)!),
    }
  }
  const heldOut = hasParts && heldOutName ? collect('heldOut') : null
  const train = onlyHeldOut ? heldOut! : collect('train')
  const present = new Set(train.labels)
  const empty = classes.find((_, i) => !present.has(i))
  if (empty !== undefined)
    throw new DataError(
      name,
      `expected images in every class folder, but ${hasParts && !onlyHeldOut ? 'the training part of ' : ''}'${empty}' has none`,
    )
  return { classes, train, heldOut }
}
