// PNG, JPEG and WebP to pixels, in Node: by sharp, whose libvips is a prebuilt binary in an optional package. It decodes
// JPEG to the very pixels that PIL gives.
import { readFile } from 'node:fs/promises'
import { MambakitError } from '../../errors.js'
import { DataError } from '../bytes.js'
import { readImageHeader } from './header.js'
import { mostPixels, type Pixels } from './pixels.js'

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
 * Throws DataError that names the file where it is no image, damaged, cut off or too large.
 */
export async function decodeImage(name: string, bytes: Uint8Array): Promise<Pixels> {
  readImageHeader(name, bytes)
  const sharp = await (loading ??= loadSharp())
  try {
    const { data, info } = await sharp(bytes, { failOn: 'error', limitInputPixels: mostPixels })
      .autoOrient()
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
