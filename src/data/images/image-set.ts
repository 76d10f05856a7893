// Labelled images: where their bytes or pixels are, what classes they have, and which belong to a part of the set. What is
// stored is plain data that workers share.
import { decodeImage, readImageFile } from '#images'
import { DataError } from '../bytes.js'
import { permutation } from '../permutation.js'
import { type Pixels, withChannels } from './pixels.js'

/** Images, by number, in one of the forms that sets come in. Byte arrays lie in shared memory. */
export type StoredImages =
  | {
      /** Decoded, all of one size. */
      readonly kind: 'pixels'
      readonly name: string
      readonly width: number
      readonly height: number
      readonly channels: 1 | 3
      /** (count, height, width, channels) */
      readonly data: Uint8Array
    }
  | {
      /** Whole files, one after another. */
      readonly kind: 'encoded'
      readonly names: readonly string[]
      readonly data: Uint8Array
      /** Where each begins; one more than there are files. */
      readonly starts: Float64Array
    }
  | { readonly kind: 'files'; readonly names: readonly string[] }

export interface ImageSet {
  /** For errors and reports. */
  readonly name: string
  readonly classes: readonly string[]
  readonly images: StoredImages
  /** The class of each stored image. */
  readonly labels: Int32Array
  /** Which stored images belong to this set, in order. */
  readonly items: Int32Array
}

export interface ImageSplit {
  readonly train: ImageSet
  readonly heldOut: ImageSet
}

/** What an image is called in errors: its file, or the file that holds it and its number there. */
export function imageName(images: StoredImages, item: number): string {
  return images.kind === 'pixels' ? `${images.name}: image ${item}` : images.names[item]
}

export function storedCount(images: StoredImages): number {
  if (images.kind === 'pixels') return images.data.length / (images.width * images.height * images.channels)
  return images.names.length
}

/** Memory that workers share; a plain array where there is none. */
export function sharedBytes(length: number): Uint8Array {
  return new Uint8Array(
    typeof SharedArrayBuffer === 'undefined' ? new ArrayBuffer(length) : new SharedArrayBuffer(length),
  )
}

/** Files in memory as one stored set; of an archive, errors name it before the file. */
export function encodedImages(files: ReadonlyMap<string, Uint8Array>, archive?: string): StoredImages {
  const starts = new Float64Array(files.size + 1)
  const contents = [...files.values()]
  contents.forEach(({ length }, i) => {
    starts[i + 1] = starts[i] + length
  })
  const data = sharedBytes(starts[files.size])
  contents.forEach((bytes, i) => {
    data.set(bytes, starts[i])
  })
  const names = [...files.keys()].map((name) => (archive ? `${archive}: ${name}` : name))
  return { kind: 'encoded', names, data, starts }
}

/**
 * The pixels of a stored image, with `channels` channels; files of large images are made smaller on the way where
 * `shorterSide` is given (shrunkSize). Throws DataError that names the file.
 */
export async function readImage(
  images: StoredImages,
  item: number,
  channels: 1 | 3,
  shorterSide?: number,
): Promise<Pixels> {
  if (images.kind === 'pixels') {
    const { width, height, channels: own, data } = images
    const size = width * height * own
    return withChannels({ width, height, channels: own, data: data.subarray(item * size, (item + 1) * size) }, channels)
  }
  return withChannels(await decodeImage(images.names[item], await readEncoded(images, item), shorterSide), channels)
}

/** The bytes of an image's file. */
export async function readEncoded(
  images: Exclude<StoredImages, { kind: 'pixels' }>,
  item: number,
): Promise<Uint8Array> {
  if (images.kind === 'files') return readImageFile(images.names[item])
  return images.data.slice(images.starts[item], images.starts[item + 1])
}

/** A whole set. Throws DataError where a label is not a class, or there is no image. */
export function imageSet(name: string, classes: readonly string[], images: StoredImages, labels: Int32Array): ImageSet {
  const count = storedCount(images)
  if (count === 0) throw new DataError(name, 'expected images, found none')
  if (labels.length !== count)
    throw new DataError(name, `expected a label for each of ${count} images, got ${labels.length}`)
  const wrong = labels.findIndex((label) => !(label >= 0 && label < classes.length))
  if (wrong !== -1)
    throw new DataError(
      name,
      `expected labels from 0 to ${classes.length - 1}, got ${labels[wrong]} for ${imageName(images, wrong)}`,
    )
  return { name, classes, images, labels, items: Int32Array.from({ length: count }, (_, i) => i) }
}

/**
 * The set with its labels counted as `classes` are: those of a model, or of the images that it was trained on. Throws
 * DataError where the set has a class that is not among them.
 */
export function underClasses(set: ImageSet, classes: readonly string[]): ImageSet {
  if (set.classes.length === classes.length && set.classes.every((name, i) => name === classes[i])) return set
  const numbers = set.classes.map((name) => classes.indexOf(name))
  const unknown = set.classes.find((_, i) => numbers[i] === -1)
  if (unknown !== undefined)
    throw new DataError(
      set.name,
      `has the class '${unknown}'; expected one of ${classes.slice(0, 10).join(', ')}${classes.length > 10 ? `, ... (${classes.length} in all)` : ''}`,
    )
  return { ...set, classes, labels: set.labels.map((label) => numbers[label]) }
}

/** Part of a set. */
export function subset(set: ImageSet, items: Int32Array, name = set.name): ImageSet {
  return { ...set, name, items }
}

/** The first `perClass` images of each class. */
export function firstOfEachClass(set: ImageSet, perClass: number): ImageSet {
  const seen = new Map<number, number>()
  const items = set.items.filter((item) => {
    const label = set.labels[item]
    seen.set(label, (seen.get(label) ?? 0) + 1)
    return seen.get(label)! <= perClass
  })
  return subset(set, items)
}

/**
 * Holds out about `fraction` of the images by a hash of their names (of their numbers where they have none): which ones
 * does not change when others are added. A class of one image keeps it for training; of several, at least one is held out,
 * unless `fraction` is 0.
 */
export function splitByHash(
  set: ImageSet,
  fraction: number,
  nameOf = (item: number) => imageName(set.images, item),
): ImageSplit {
  const byClass = new Map<number, number[]>()
  for (const item of set.items) {
    const label = set.labels[item]
    const items = byClass.get(label)
    if (items) items.push(item)
    else byClass.set(label, [item])
  }
  const heldOut = new Set<number>()
  for (const items of byClass.values()) {
    const ranked = items.map((item) => ({ item, rank: hashOf(nameOf(item)) })).sort((a, b) => a.rank - b.rank)
    const chosen = ranked.filter(({ rank }) => rank < fraction)
    if (chosen.length === ranked.length) chosen.pop()
    if (chosen.length === 0 && ranked.length > 1 && fraction > 0) chosen.push(ranked[0])
    for (const { item } of chosen) heldOut.add(item)
  }
  return {
    train: subset(
      set,
      set.items.filter((item) => !heldOut.has(item)),
    ),
    heldOut: subset(
      set,
      set.items.filter((item) => heldOut.has(item)),
      `${set.name} (held-out part)`,
    ),
  }
}

/** A number in [0, 1) that follows from a text alone: FNV-1a, mixed. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32
}

/** Which image stands at `position`, counted over all epochs, when each epoch takes all images in a random order. */
export function shuffledItem({ items }: Pick<ImageSet, 'items'>, position: number, seed: number): number {
  const epoch = Math.floor(position / items.length)
  return items[permutation(position % items.length, items.length, seed, epoch)]
}
