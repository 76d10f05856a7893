// A user's images, whatever form they have: folders, zip archives, IDX, CIFAR-10 binaries, lists in CSV, or a registered
// data set by its name. Node only.
import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, dirname, extname, join, resolve } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { DataError } from '../bytes.js'
import { readCsv } from '../csv.js'
import { naturalOrder } from '../files.node.js'
import { openDataSet } from '../registry.node.js'
import { readZip } from '../zip.js'
import { cifarClasses, readCifar } from './cifar.js'
import { imageExtensions } from './header.js'
import { readIdxImages, readIdxLabels } from './idx.js'
import { type ImageTree, type LabelledPaths, sortImagePaths } from './image-paths.js'
import { encodedImages, type ImageSet, type ImageSplit, imageSet, splitByHash } from './image-set.js'
import { imageDataSets, isImageDataSet, openImageDataSet } from './registered.js'

export interface OpenImagesOptions {
  /** Where registered data sets are. Default: ../shared/data beside a clone. */
  readonly dataRoot?: string
  /** What share is held out where the data has no part for that. Default 0.1; 0 holds out nothing. */
  readonly heldOutFraction?: number
}

/** Files that are held in memory whole, and what they unpack to, are at most this large. */
const mostBytes = 1 << 30

/**
 * Opens images with their classes as a training and a held-out part. `path` is a folder (of class folders; of train/ and
 * val/ or test/ with class folders; of IDX or CIFAR-10 files), a zip archive of such folders, a CSV list (path,label), or
 * a registered name. Throws DataError that names the file and says what was expected.
 */
export async function openImages(path: string, options: OpenImagesOptions = {}): Promise<ImageSplit> {
  const { heldOutFraction = 0.1, dataRoot } = options
  const found = await stat(path).catch(() => null)
  if (!found && isImageDataSet(path)) return openImageDataSet(path, openDataSet(path, dataRoot))
  if (!found)
    throw new DataError(
      path,
      `no such file or folder, and no data set of images (${Object.keys(imageDataSets).join(', ')})`,
    )
  const extension = extname(path).toLowerCase()
  if (found.isFile() && extension === '.zip') {
    if (found.size > mostBytes)
      throw new DataError(path, `expected an archive of at most ${mostBytes} bytes, got ${found.size}; unpack it first`)
    return openArchive(path, heldOutFraction)
  }
  if (found.isFile() && ['.csv', '.tsv', '.txt'].includes(extension)) return openList(path, heldOutFraction)
  if (!found.isDirectory()) throw new DataError(path, 'expected a folder, a zip archive or a CSV list of images')
  const names = await readdir(path)
  if (names.some((name) => idxImages.test(name))) return openIdxFolder(path, names, heldOutFraction)
  if (names.some((name) => cifarTrain.test(name))) return openCifarFolder(path, names, heldOutFraction)
  return openFolder(path, heldOutFraction)
}

/** A tree's parts as sets, split by hash where the tree has no held-out part. */
function splitOf(
  name: string,
  { classes, train, heldOut }: ImageTree,
  fraction: number,
  store: (part: LabelledPaths) => ImageSet['images'],
): ImageSplit {
  const open = (part: LabelledPaths, called: string) => imageSet(called, classes, store(part), part.labels)
  const set = open(train, name)
  if (heldOut) return { train: set, heldOut: heldOut === train ? set : open(heldOut, `${name} (held-out part)`) }
  // By the path below the folder, wherever that lies.
  return splitByHash(set, fraction, (item) => train.paths[item])
}

async function openFolder(folder: string, fraction: number): Promise<ImageSplit> {
  const { files, empty } = await listImages(folder, '')
  const tree = sortImagePaths(folder, files, empty)
  return splitOf(folder, tree, fraction, ({ paths }) => ({
    kind: 'files',
    names: paths.map((path) => join(folder, path)),
  }))
}

/** Image files below a folder, and folders without any, by their path from it, in natural order; hidden ones aside. */
async function listImages(root: string, below: string): Promise<{ files: string[]; empty: string[] }> {
  const entries = (await readdir(join(root, below), { withFileTypes: true })).filter(
    ({ name }) => !name.startsWith('.'),
  )
  const files: string[] = []
  const empty: string[] = []
  for (const entry of entries.sort((a, b) => naturalOrder(a.name, b.name))) {
    const path = below === '' ? entry.name : `${below}/${entry.name}`
    // A link is followed to a file, but not to a folder, which could lead back.
    const isFile =
      entry.isFile() || (entry.isSymbolicLink() && (await stat(join(root, path)).catch(() => null))?.isFile())
    if (isFile && imageExtensions.includes(extname(entry.name).toLowerCase())) files.push(path)
    if (!entry.isDirectory()) continue
    const inside = await listImages(root, path)
    files.push(...inside.files)
    empty.push(...(inside.files.length === 0 ? [path] : inside.empty))
  }
  return { files, empty }
}

async function openArchive(path: string, fraction: number): Promise<ImageSplit> {
  const isImage = (name: string) =>
    imageExtensions.includes(extname(name).toLowerCase()) && !/(^|\/)(\.|__MACOSX)/.test(name)
  const files = readZip(path, await readFile(path), isImage)
  const tree = sortImagePaths(path, [...files.keys()])
  return splitOf(path, tree, fraction, ({ paths }) =>
    encodedImages(new Map(paths.map((each) => [each, files.get(each)!])), path),
  )
}

/** Rows of path,label, the paths relative to the list's folder; a first row that names no file is a heading. */
async function openList(path: string, fraction: number): Promise<ImageSplit> {
  const rows = readCsv(path, await readFile(path, 'utf8'))
  const folder = dirname(path)
  const exists = (file: string) =>
    stat(resolve(folder, file)).then(
      (found) => found.isFile(),
      () => false,
    )
  const named = rows.length > 0 && (await exists(rows[0].fields[0])) ? rows : rows.slice(1)
  const columns = named === rows ? null : rows[0]?.fields.map((field) => field.trim().toLowerCase())
  const [pathAt, labelAt] = columns
    ? [
        columnOf(columns, ['path', 'file', 'image', 'filename'], 0),
        columnOf(columns, ['label', 'class', 'category'], 1),
      ]
    : [0, 1]
  if (named.length === 0) throw new DataError(path, 'expected rows of path,label, found none')
  const entries: { file: string; label: string }[] = []
  for (const { line, fields } of named) {
    const [file, label] = [fields[pathAt], fields[labelAt]?.trim()]
    if (!file || !label) throw new DataError(path, `line ${line}: expected path,label, got '${fields.join(',')}'`)
    if (!(await exists(file))) throw new DataError(path, `line ${line}: ${resolve(folder, file)} does not exist`)
    entries.push({ file, label })
  }
  const classes = [...new Set(entries.map(({ label }) => label))].sort(naturalOrder)
  const labels = Int32Array.from(entries, ({ label }) => classes.indexOf(label))
  const names = entries.map(({ file }) => resolve(folder, file))
  const set = imageSet(path, classes, { kind: 'files', names }, labels)
  return splitByHash(set, fraction, (item) => entries[item].file)
}

function columnOf(columns: readonly string[], names: readonly string[], fallback: number): number {
  const found = columns.findIndex((column) => names.includes(column))
  return found === -1 ? fallback : found
}

const idxImages = /^(.*)images(?:-\w+)?[-.]idx3[-.]ubyte(\.gz)?$/
const cifarTrain = /^data_batch_\d+\.bin$/

/** The bytes of a file, unpacked where its name ends in .gz. Throws DataError. */
async function readUnpacked(path: string): Promise<Uint8Array> {
  const bytes = await readFile(path)
  if (!path.endsWith('.gz')) return bytes
  try {
    return gunzipSync(bytes, { maxOutputLength: mostBytes })
  } catch (error) {
    throw new DataError(path, `expected a gzip file (${(error as Error).message})`)
  }
}

/** Pairs of ...images-idx3-ubyte and ...labels-idx1-ubyte; t10k and test are held out. */
async function openIdxFolder(folder: string, names: readonly string[], fraction: number): Promise<ImageSplit> {
  const pairs = names.flatMap((file) => {
    const prefix = idxImages.exec(file)?.[1]
    if (prefix === undefined) return []
    const stem = prefix.replace(/[-_.]+$/, '')
    // Some cuts put their size between the parts: train-images-20k-idx3-ubyte.
    const labels = file.replace('images', 'labels').replace('idx3', 'idx1')
    const found = [labels, labels.endsWith('.gz') ? labels.slice(0, -3) : `${labels}.gz`].find((each) =>
      names.includes(each),
    )
    if (!found) throw new DataError(join(folder, file), `expected its labels beside it, in ${labels}`)
    return [{ images: file, labels: found, heldOut: /t10k|test|val/i.test(stem) }]
  })
  const open = async ({ images, labels }: (typeof pairs)[number]) => ({
    images: readIdxImages(join(folder, images), await readUnpacked(join(folder, images))),
    labels: readIdxLabels(join(folder, labels), await readUnpacked(join(folder, labels))),
  })
  const train = pairs.find(({ heldOut }) => !heldOut) ?? pairs[0]
  const heldOut = pairs.find((pair) => pair.heldOut && pair !== train)
  const parts = [await open(train), ...(heldOut ? [await open(heldOut)] : [])]
  const classCount = 1 + Math.max(...parts.map(({ labels }) => labels.reduce((a, b) => Math.max(a, b), 0)))
  const classes = Array.from({ length: classCount }, (_, i) => `${i}`)
  const sets = parts.map(({ images, labels }, i) =>
    imageSet(join(folder, i === 0 ? train.labels : heldOut!.labels), classes, images, labels),
  )
  return sets.length === 2 ? { train: sets[0], heldOut: sets[1] } : splitByHash(sets[0], fraction)
}

async function openCifarFolder(folder: string, names: readonly string[], fraction: number): Promise<ImageSplit> {
  const read = async (some: readonly string[]) =>
    Promise.all(some.map(async (name) => ({ name: join(folder, name), bytes: await readFile(join(folder, name)) })))
  const open = async (some: readonly string[]) => {
    const { images, labels } = readCifar(await read(some))
    return imageSet(join(folder, basename(some[0])), cifarClasses, images, labels)
  }
  const train = await open(names.filter((name) => cifarTrain.test(name)).sort(naturalOrder))
  return names.includes('test_batch.bin')
    ? { train, heldOut: await open(['test_batch.bin']) }
    : splitByHash(train, fraction)
}
