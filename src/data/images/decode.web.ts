// PNG, JPEG and WebP to pixels, by the browser.
import { MambakitError } from '../../errors.js'
import { DataError } from '../bytes.js'
import { readImageHeader } from './header.js'
import { checkSize, type Pixels, shrunkSize } from './pixels.js'

/**
 * The pixels of a file in sRGB, upright by its EXIF orientation, transparent parts on white; always three channels.
 * Large ones are made smaller on the way where `shorterSide` is given (shrunkSize). Throws DataError that names the file where it is no image, damaged or too large.
 */
export async function decodeImage(name: string, bytes: Uint8Array, shorterSide?: number): Promise<Pixels> {
  const { format } = readImageHeader(name, bytes)
  let bitmap: ImageBitmap
  try {
    bitmap = await createImageBitmap(new Blob([bytes as BlobPart], { type: `image/${format}` }), {
      imageOrientation: 'from-image',
    })
  } catch (error) {
    throw new DataError(name, `cannot be decoded; it is damaged or cut off (${(error as Error).message})`)
  }
  checkSize(name, bitmap.width, bitmap.height)
  const shrunk = shorterSide === undefined ? null : shrunkSize(bitmap.width, bitmap.height, shorterSide)
  const { width, height } = shrunk ?? bitmap
  const canvas = new OffscreenCanvas(width, height)
  const context = canvas.getContext('2d', { willReadFrequently: true })
  if (!context) throw new MambakitError('images: the page gives no 2-D canvas to decode on')
  context.fillStyle = '#fff'
  context.fillRect(0, 0, width, height)
  context.imageSmoothingQuality = 'high'
  context.drawImage(bitmap, 0, 0, width, height)
  bitmap.close()
  const { data: rgba } = context.getImageData(0, 0, width, height)
  const data = new Uint8Array(width * height * 3)
  for (let at = 0, from = 0; at < data.length; at += 3, from += 4) {
    data[at] = rgba[from]
    data[at + 1] = rgba[from + 1]
    data[at + 2] = rgba[from + 2]
  }
  return { width, height, channels: 3, data }
}

/** Pages have no paths: their images are bytes, blobs or addresses. */
export async function readImageFile(path: string): Promise<Uint8Array> {
  throw new DataError(path, 'a page cannot read files by their path; give a Blob or bytes')
}
