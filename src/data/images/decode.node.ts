// PNG, JPEG and WebP to pixels, in Node: by sharp, whose libvips is a prebuilt binary in an optional package. It decodes
// JPEG to the very pixels that PIL gives.
import { readFile } from 'node:fs/promises'
import { MambakitError } from '../../errors.js'
import { DataError } from '../bytes.js'
import { readImageHeader } from './header.js'
import { mostPixels, type Pixels, shrunkSize } from './pixels.js'

type Sharp = typeof import('sharp')['default']

let loading: Promise<Sharp> | null = null

/** One thread an image and no cache: images are read once, and several at a time. */
async function loadSharp(): Promise<Sharp> {
  try {
    const { default: sharp } = await import('sharp')
    sharp.concurrency(1)
    sharp.cache(false)
    return sharp
  } catch (error) {
    throw new MambakitError(
      `images are decoded by the package sharp, which cannot be loaded (${(error as Error).message.split('\n')[0]}); ` +
        'install it with `npm install sharp`',
    )
  }
}

/**
 * The pixels of a file in sRGB, upright by its EXIF orientation, transparent parts on white; always three channels.
 * Large ones are made smaller on the way where `shorterSide` is given (shrunkSize), which JPEG allows at little cost. Throws DataError that names the file where it is no image, damaged, cut off or too large.
 */
export async function decodeImage(name: string, bytes: Uint8Array, shorterSide?: number): Promise<Pixels> {
  const { width, height } = readImageHeader(name, bytes)
  const shrink = shorterSide !== undefined && shrunkSize(width, height, shorterSide) !== null
  const sharp = await (loading ??= loadSharp())
  try {
    const image = sharp(bytes, { failOn: 'error', limitInputPixels: mostPixels }).autoOrient()
    const fitted = shrink ? image.resize(shorterSide, shorterSide, { fit: 'outside', kernel: 'cubic' }) : image
    const { data, info } = await fitted
      .flatten({ background: '#fff' })
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true })
    if (info.channels !== 3) throw new Error(`got ${info.channels} channels`)
    return { width: info.width, height: info.height, channels: 3, data }
  } catch (error) {
    throw new DataError(name, `cannot be decoded; it is damaged or cut off (${oneLine((error as Error).message)})`)
  }
}

const oneLine = (text: string) => text.trim().split('\n').pop()!.trim()

/** The bytes of a file of an image folder. Throws DataError where it cannot be read. */
export async function readImageFile(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path)
  } catch (error) {
    throw new DataError(path, `cannot be read (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`)
  }
}
