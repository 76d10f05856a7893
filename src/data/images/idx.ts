// IDX: the format of MNIST and its relatives. Images are unsigned bytes (count, height, width), labels (count).
import { DataError } from '../bytes.js'
import { type StoredImages, sharedBytes } from './image-set.js'
import { checkSize } from './pixels.js'

/** Dimensions and values of a file of unsigned bytes. Throws DataError where header and length do not agree. */
function readIdx(name: string, bytes: Uint8Array, rank: number, what: string): { shape: number[]; values: Uint8Array } {
  const headSize = 4 + 4 * rank
  if (bytes.length === 0) throw new DataError(name, `expected an IDX file of ${what}, the file is empty`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const magic = bytes.length >= 4 ? view.getUint32(0) : 0
  if (magic !== (0x0800 | rank))
    throw new DataError(
      name,
      `expected an IDX file of ${what} (unsigned bytes, ${rank} dimensions), got one that begins with 0x${magic.toString(16).padStart(8, '0')}`,
    )
  if (bytes.length < headSize) throw new DataError(name, 'the file ends inside its header')
  const shape = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i))
  const expected = headSize + shape.reduce((a, b) => a * b, 1)
  if (bytes.length !== expected)
    throw new DataError(
      name,
      `expected ${expected} bytes for ${shape.join(' x ')} values, got ${bytes.length}; the file is damaged or cut off`,
    )
  return { shape, values: bytes.subarray(headSize) }
}

/** The images of an IDX file, in memory that workers share. Throws DataError. */
export function readIdxImages(name: string, bytes: Uint8Array): StoredImages {
  const { shape, values } = readIdx(name, bytes, 3, 'images')
  const [, height, width] = shape
  checkSize(name, width, height)
  const data = sharedBytes(values.length)
  data.set(values)
  return { kind: 'pixels', name, width, height, channels: 1, data }
}

/** The labels of an IDX file. Throws DataError. */
export function readIdxLabels(name: string, bytes: Uint8Array): Int32Array {
  return Int32Array.from(readIdx(name, bytes, 1, 'labels').values)
}
