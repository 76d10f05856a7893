// How the files of registered segmentation sets (../registry.ts) are put together: which images train, tune and test, and
// what the colours of their masks mean.
import { DataError } from '../bytes.js'
import { readZip } from '../zip.js'
import { type MaskColors, maskedFile, type SegmentationSet, unlabelled } from './segmentation-set.js'

interface SegmentationDataSet {
  readonly zip: string
  readonly classes: readonly string[]
  readonly colors: MaskColors
  /** The folders of each part. */
  readonly parts: Readonly<Record<'train' | 'validation' | 'test', readonly string[]>>
}

export const segmentationDataSets = {
  'aerial-dubai': {
    zip: 'aerial-dubai-tiles1-6.zip',
    classes: ['building', 'land', 'road', 'vegetation', 'water'],
    colors: new Map([
      [0x3c1098, 0],
      [0x8429f6, 1],
      [0x6ec1e4, 2],
      [0xfedd3a, 3],
      [0xe2a929, 4],
      [0x9b9b9b, unlabelled],
      [0x000000, unlabelled],
    ]),
    parts: { train: ['tile1', 'tile2', 'tile3', 'tile4'], validation: ['tile5'], test: ['tile6'] },
  },
} as const satisfies Record<string, SegmentationDataSet>

export type SegmentationDataSetName = keyof typeof segmentationDataSets

export type SegmentationSplit = Readonly<Record<'train' | 'validation' | 'test', SegmentationSet>>

/**
 * The images of a registered set, from what openDataSet (or an experiment's `data`) gives: <folder>/images/NAME.jpg with
 * <folder>/masks/NAME.png.
 */
export async function openSegmentationSet(
  name: SegmentationDataSetName,
  set: { read(file: string): Promise<Uint8Array> },
): Promise<SegmentationSplit> {
  const { zip, classes, colors, parts }: SegmentationDataSet = segmentationDataSets[name]
  const archive = `${name}/${zip}`
  const files = readZip(archive, await set.read(zip))
  const part = (folders: readonly string[]): SegmentationSet => {
    const images = [...files.keys()].filter((path) => folders.some((folder) => path.startsWith(`${folder}/images/`)))
    const labelled = images.sort().map((path) => {
      const mask = path.replace('/images/', '/masks/').replace(/\.jpg$/, '.png')
      const bytes = files.get(mask)
      if (!bytes) throw new DataError(archive, `expected a mask ${mask} for ${path}`)
      return maskedFile(
        { name: `${archive}: ${path}`, bytes: files.get(path)! },
        { name: `${archive}: ${mask}`, bytes },
        colors,
      )
    })
    return { name, classes, files: labelled }
  }
  return { train: part(parts.train), validation: part(parts.validation), test: part(parts.test) }
}
