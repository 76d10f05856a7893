// How the files of registered image sets (../registry.ts) are put together, and what the field normalises them by.
import { statistics } from './preprocessing.js'

type Part = { readonly zip: string } | { readonly images: string; readonly labels: string }

export interface ImageDataSet {
  readonly train: Part
  readonly heldOut: Part
  readonly channels: 1 | 3
  /** Height and width of every image. */
  readonly size: number
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
    statistics: statistics.mnist,
    classes: numbered(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']),
  },
  'fashion-mnist': {
    ...idx('15k'),
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
    statistics: statistics.cifar10,
  },
  'tiny-imagenet-100': {
    train: { zip: 'train.zip' },
    heldOut: { zip: 'val.zip' },
    channels: 3,
    size: 64,
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
