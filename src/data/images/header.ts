// The head of a PNG, JPEG or WebP file: format and size, so that a file of another kind, an empty one or a decompression
// bomb is refused by one clear line before anything is decoded.
import { DataError } from '../bytes.js'
import { checkSize } from './pixels.js'

export interface ImageHeader {
  readonly format: 'png' | 'jpeg' | 'webp'
  /** As stored: an orientation in EXIF data may exchange the two. */
  readonly width: number
  readonly height: number
}

/** What a folder's files must end in to be taken for images. */
export const imageExtensions = ['.png', '.jpg', '.jpeg', '.jfif', '.webp']

/** Enough of a file to hold its header, whatever profiles and previews come first in it. */
export const headerBytes = 1 << 18

/** Kinds of files that people hand over for images, by how they begin. */
const others: readonly (readonly [name: string, offset: number, start: string])[] = [
  ['GIF', 0, 'GIF8'],
  ['BMP', 0, 'BM'],
  ['TIFF', 0, 'II*\0'],
  ['TIFF', 0, 'MM\0*'],
  ['HEIC or AVIF', 4, 'ftyp'],
  ['SVG', 0, '<svg'],
  ['XML or SVG', 0, '<?xml'],
  ['HTML', 0, '<!'],
  ['PDF', 0, '%PDF'],
  ['zip', 0, 'PK'],
]

/**
 * Reads the header from the whole file or from its first `headerBytes`. Throws DataError that names the file where it is
 * empty, of another kind, cut off, or larger than `mostPixels`.
 */
export function readImageHeader(name: string, bytes: Uint8Array): ImageHeader {
  if (bytes.length === 0) throw new DataError(name, 'expected an image, the file is empty')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const text = (at: number, length: number) => String.fromCharCode(...bytes.subarray(at, at + length))
  let header: ImageHeader | null = null
  try {
    if (text(0, 8) === '\x89PNG\r\n\x1a\n')
      header = { format: 'png', width: view.getUint32(16), height: view.getUint32(20) }
    else if (bytes[0] === 0xff && bytes[1] === 0xd8) header = readJpegHeader(name, view)
    else if (text(0, 4) === 'RIFF' && text(8, 4) === 'WEBP') header = readWebpHeader(name, view, text(12, 4))
  } catch (error) {
    if (error instanceof RangeError) throw new DataError(name, 'expected an image, the file ends inside its header')
    throw error
  }
  if (!header) {
    const other = others.find(([, offset, start]) => text(offset, start.length) === start)
    throw new DataError(
      name,
      `expected PNG, JPEG or WebP, got ${other ? `${other[0]}; convert it first` : 'something else'}`,
    )
  }
  checkSize(name, header.width, header.height)
  return header
}

function readJpegHeader(name: string, view: DataView): ImageHeader {
  for (let at = 2; ; ) {
    if (view.getUint8(at) !== 0xff)
      throw new DataError(name, `expected a JPEG marker at byte ${at}; the file is damaged`)
    const marker = view.getUint8(at + 1)
    // Fill bytes, and markers that carry nothing.
    if (marker === 0xff) at++
    else if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)) at += 2
    else if (marker === 0xd9 || marker === 0xda)
      throw new DataError(name, 'expected a JPEG frame header before the image data; the file is damaged')
    else {
      const isFrame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc
      if (isFrame) return { format: 'jpeg', height: view.getUint16(at + 5), width: view.getUint16(at + 7) }
      const length = view.getUint16(at + 2)
      if (length < 2)
        throw new DataError(name, `expected a JPEG segment of 2 bytes or more at byte ${at}, got ${length}`)
      at += 2 + length
    }
  }
}

function readWebpHeader(name: string, view: DataView, kind: string): ImageHeader {
  const format = 'webp'
  const threeBytes = (at: number) => view.getUint16(at, true) | (view.getUint8(at + 2) << 16)
  if (kind === 'VP8X') return { format, width: threeBytes(24) + 1, height: threeBytes(27) + 1 }
  if (kind === 'VP8 ')
    return { format, width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff }
  if (kind === 'VP8L') {
    const bits = view.getUint32(21, true)
    return { format, width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 }
  }
  throw new DataError(name, `expected a WebP image, got the chunk '${kind}'`)
}
