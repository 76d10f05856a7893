// How the files of registered image sets (../registry.ts) are put together, and what the field normalises them by.
import { readZip } from '../zip.js'
import { readIdxImages, readIdxLabels } from './idx.js'
import { sortImagePaths } from './image-paths.js'
import { encodedImages, type ImageSet, type ImageSplit, imageSet } from './image-set.js'
import { statistics } from './preprocessing.js'

type Part = { readonly zip: string } | { readonly images: string; readonly labels: string }

export interface ImageDataSet {
  readonly train: Part
  readonly heldOut: Part
  readonly channels: 1 | 3
  /** Height and width of every image. */
  readonly size: number
  /** Whether what is flipped left to right is still of its class. */
  readonly flips: boolean
  readonly statistics: { readonly mean: readonly number[]; readonly std: readonly number[] }
  /** Names of classes by what the files call them; absent where these are the names. Given how to read a text of the set. */
  readonly classes?: (text: (file: string) => Promise<string>) => Promise<ReadonlyMap<string, string>>
}

const numbered = (names: readonly string[]) => async () => new Map(names.map((name, i) => [`${i}`, name]))
const idx = (train: string) => ({
  train: { images: `train-images-${train}-idx3-ubyte.gz`, labels: `train-labels-${train}-idx1-ubyte.gz` },
  heldOut: { images: 't10k-images-idx3-ubyte.gz', labels: 't10k-labels-idx1-ubyte.gz' },
  channels: 1 as const,
  size: 28,
})

export const imageDataSets = {
  mnist: {
    ...idx('20k'),
    flips: false,
    statistics: statistics.mnist,
    classes: numbered(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']),
  },
  'fashion-mnist': {
    ...idx('15k'),
    flips: true,
    statistics: statistics['fashion-mnist'],
    classes: numbered([
      'T-shirt/top',
      'Trouser',
      'Pullover',
      'Dress',
      'Coat',
      'Sandal',
      'Shirt',
      'Sneaker',
      'Bag',
      'Ankle boot',
    ]),
  },
  cifar10: {
    train: { zip: 'cifar10-train-10000.zip' },
    heldOut: { zip: 'cifar10-test-2000.zip' },
    channels: 3,
    size: 32,
    flips: true,
    statistics: statistics.cifar10,
  },
  'tiny-imagenet-100': {
    train: { zip: 'train.zip' },
    heldOut: { zip: 'val.zip' },
    channels: 3,
    size: 64,
    flips: true,
    statistics: statistics.imagenet,
    classes: async (text) =>
      new Map(
        (await text('classes.txt'))
          .trim()
          .split('\n')
          .map((line) => line.split('\t') as [string, string]),
      ),
  },
} as const satisfies Record<string, ImageDataSet>

export type ImageDataSetName = keyof typeof imageDataSets

export const isImageDataSet = (name: string): name is ImageDataSetName => Object.hasOwn(imageDataSets, name)

/** The images of a registered set, from what openDataSet (or an experiment's `data`) gives. */
export async function openImageDataSet(
  name: ImageDataSetName,
  set: { read(file: string): Promise<Uint8Array> },
): Promise<ImageSplit> {
  const { train, heldOut, classes: readClasses }: ImageDataSet = imageDataSets[name]
  const text = async (file: string) => new TextDecoder().decode(await set.read(file))
  const known = readClasses && (await readClasses(text))
  const open = async (part: Part): Promise<ImageSet> => {
    if ('zip' in part) {
      const archive = `${name}/${part.zip}`
      const files = readZip(archive, await set.read(part.zip))
      const tree = sortImagePaths(name, [...files.keys()])
      const classes = known ? tree.classes.map((each) => known.get(each) ?? each) : tree.classes
      return imageSet(name, classes, encodedImages(files, archive), tree.train.labels)
    }
    const images = readIdxImages(`${name}/${part.images}`, await set.read(part.images))
    const labels = readIdxLabels(`${name}/${part.labels}`, await set.read(part.labels))
    return imageSet(name, [...known!.values()], images, labels)
  }
  return { train: await open(train), heldOut: await open(heldOut) }
}
