// The binary version of CIFAR-10: records of a label and 3 x 32 x 32 bytes, channels first.
import { DataError } from '../bytes.js'
import { type StoredImages, sharedBytes } from './image-set.js'

const side = 32
const area = side * side
const recordBytes = 1 + 3 * area

export const cifarClasses = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck']

/** Images and labels of some files, one after another. Throws DataError where a file is no whole number of records. */
export function readCifar(files: readonly { readonly name: string; readonly bytes: Uint8Array }[]): {
  images: StoredImages
  labels: Int32Array
} {
  for (const { name, bytes } of files)
    if (bytes.length === 0 || bytes.length % recordBytes !== 0)
      throw new DataError(
        name,
        `expected CIFAR-10 records of ${recordBytes} bytes, got ${bytes.length} bytes; the file is damaged or cut off`,
      )
  const count = files.reduce((sum, { bytes }) => sum + bytes.length / recordBytes, 0)
  const data = sharedBytes(count * 3 * area)
  const labels = new Int32Array(count)
  let record = 0
  for (const { bytes } of files)
    for (let at = 0; at < bytes.length; at += recordBytes, record++) {
      labels[record] = bytes[at]
      const to = record * 3 * area
      for (let c = 0; c < 3; c++) for (let i = 0; i < area; i++) data[to + 3 * i + c] = bytes[at + 1 + c * area + i]
    }
  const name = files.length === 1 ? files[0].name : `${files[0].name} and ${files.length - 1} more`
  return { images: { kind: 'pixels', name, width: side, height: side, channels: 3, data }, labels }
}
