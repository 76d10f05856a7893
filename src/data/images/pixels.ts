// Decoded images: 8-bit pixels in rows, and the step from colour to grey and back.
import { DataError } from '../bytes.js'

export interface Pixels {
  readonly width: number
  readonly height: number
  /** 3 for red, green, blue; 1 for grey. */
  readonly channels: 1 | 3
  /** (height, width, channels), row-major. */
  readonly data: Uint8Array
}

/** Pixels of an image at most; more would take 300 MB and more to decode, and is taken for a decompression bomb. */
export const mostPixels = 100_000_000

/** Throws DataError for a size that no image has, or that is beyond the limit. */
export function checkSize(name: string, width: number, height: number): void {
  if (width === 0 || height === 0)
    throw new DataError(name, `expected an image, got one of ${width} x ${height} pixels`)
  if (width * height > mostPixels)
    throw new DataError(
      name,
      `expected at most ${mostPixels.toLocaleString('en')} pixels, got ${width} x ${height}; make it smaller first`,
    )
}

/**
 * What an image becomes whose shorter side is at least twice `shorterSide`: that side long, of its own proportions; null for
 * smaller ones.
 */
export function shrunkSize(
  width: number,
  height: number,
  shorterSide: number,
): { width: number; height: number } | null {
  const short = Math.min(width, height)
  if (short < 2 * shorterSide) return null
  const scaled = (extent: number) => Math.round((extent * shorterSide) / short)
  return { width: scaled(width), height: scaled(height) }
}

/** Luminance in fixed point. mirrors: PIL's convert('L') */
export function luminance(red: number, green: number, blue: number): number {
  return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
}

/** The image with `channels` channels; itself where it has them. Grey becomes three equal ones. */
export function withChannels(image: Pixels, channels: 1 | 3): Pixels {
  if (image.channels === channels) return image
  const { width, height, data: from } = image
  const data = new Uint8Array(width * height * channels)
  if (channels === 1)
    for (let i = 0, at = 0; i < data.length; i++, at += 3) data[i] = luminance(from[at], from[at + 1], from[at + 2])
  else for (let i = 0, at = 0; i < from.length; i++, at += 3) data[at] = data[at + 1] = data[at + 2] = from[i]
  return { width, height, channels, data }
}

/** The part of an image from (left, top); it must lie inside. */
export function crop(image: Pixels, left: number, top: number, width: number, height: number): Pixels {
  if (width === image.width && height === image.height) return image
  const { channels, data: from } = image
  const data = new Uint8Array(width * height * channels)
  for (let y = 0; y < height; y++) {
    const start = ((top + y) * image.width + left) * channels
    data.set(from.subarray(start, start + width * channels), y * width * channels)
  }
  return { width, height, channels, data }
}

/** The image inside a frame of `value`, `padding` pixels wide. */
export function pad(image: Pixels, padding: number, value = 0): Pixels {
  if (padding === 0) return image
  const { channels } = image
  const [width, height] = [image.width + 2 * padding, image.height + 2 * padding]
  const data = new Uint8Array(width * height * channels).fill(value)
  const row = image.width * channels
  for (let y = 0; y < image.height; y++)
    data.set(image.data.subarray(y * row, (y + 1) * row), ((y + padding) * width + padding) * channels)
  return { width, height, channels, data }
}

/** Left and right exchanged. */
export function flipHorizontally(image: Pixels): Pixels {
  const { width, height, channels, data: from } = image
  const data = new Uint8Array(from.length)
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const to = (y * width + x) * channels
      const at = (y * width + width - 1 - x) * channels
      for (let c = 0; c < channels; c++) data[to + c] = from[at + c]
    }
  return { ...image, data }
}

/** Top and bottom exchanged. */
export function flipVertically(image: Pixels): Pixels {
  const { width, height, channels, data: from } = image
  const data = new Uint8Array(from.length)
  const row = width * channels
  for (let y = 0; y < height; y++) data.set(from.subarray(y * row, (y + 1) * row), (height - 1 - y) * row)
  return { ...image, data }
}
