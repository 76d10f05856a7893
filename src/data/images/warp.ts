// Affine maps of an image onto its own frame: rotation, shear and shift, bit for bit those of PIL (Image.transform with
// AFFINE and a fill colour).
import type { Pixels } from './pixels.js'
import type { Interpolation } from './resize.js'

/** Output (x, y) takes the input at (a x + b y + c, d x + e y + f). */
export type AffineMap = readonly [a: number, b: number, c: number, d: number, e: number, f: number]

/** `fill`: a value for each channel, where the input has nothing. mirrors: PIL.Image.transform */
export function warp(
  image: Pixels,
  [a, b, c, d, e, f]: AffineMap,
  interpolation: Interpolation,
  fill: readonly number[],
): Pixels {
  const { width, height, channels } = image
  const data = new Uint8Array(image.data.length)
  const sample = interpolation === 'bilinear' ? sampleLinear : sampleCubic
  for (let y = 0, to = 0; y < height; y++)
    for (let x = 0; x < width; x++, to += channels) {
      const u = a * (x + 0.5) + b * (y + 0.5) + c
      const v = d * (x + 0.5) + e * (y + 0.5) + f
      if (u >= 0 && u < width && v >= 0 && v < height) sample(image, u - 0.5, v - 0.5, data, to)
      else for (let k = 0; k < channels; k++) data[to + k] = fill[k]
    }
  return { ...image, data }
}

const toByte = (value: number) => (value <= 0 ? 0 : value >= 255 ? 255 : Math.trunc(value))
const clamp = (value: number, extent: number) => (value < 0 ? 0 : value >= extent ? extent - 1 : value)

/** Writes the channels at (u, v), in pixels from the middle of the first, to out[to...]. */
function sampleLinear(
  { width, height, channels, data }: Pixels,
  u: number,
  v: number,
  out: Uint8Array,
  to: number,
): void {
  const left = Math.floor(u)
  const top = Math.floor(v)
  const [dx, dy] = [u - left, v - top]
  const x0 = clamp(left, width) * channels
  const x1 = clamp(left + 1, width) * channels
  const row = clamp(top, height) * width * channels
  // Below the image the row before it is kept.
  const below = top + 1 >= 0 && top + 1 < height ? (top + 1) * width * channels : row
  for (let k = 0; k < channels; k++) {
    const upper = linear(data[row + x0 + k], data[row + x1 + k], dx)
    const lower = linear(data[below + x0 + k], data[below + x1 + k], dx)
    out[to + k] = toByte(linear(upper, lower, dy))
  }
}

/** As sampleLinear, by four values a side. */
function sampleCubic(
  { width, height, channels, data }: Pixels,
  u: number,
  v: number,
  out: Uint8Array,
  to: number,
): void {
  const left = Math.floor(u)
  const top = Math.floor(v)
  const [dx, dy] = [u - left, v - top]
  const x0 = clamp(left - 1, width) * channels
  const x1 = clamp(left, width) * channels
  const x2 = clamp(left + 1, width) * channels
  const x3 = clamp(left + 2, width) * channels
  const stride = width * channels
  // Above the image its first row counts; below it the row before is kept.
  const row0 = clamp(top - 1, height) * stride
  const row1 = top >= 0 && top < height ? top * stride : row0
  const row2 = top + 1 >= 0 && top + 1 < height ? (top + 1) * stride : row1
  const row3 = top + 2 >= 0 && top + 2 < height ? (top + 2) * stride : row2
  for (let k = 0; k < channels; k++) {
    const v0 = cubic(data[row0 + x0 + k], data[row0 + x1 + k], data[row0 + x2 + k], data[row0 + x3 + k], dx)
    const v1 = cubic(data[row1 + x0 + k], data[row1 + x1 + k], data[row1 + x2 + k], data[row1 + x3 + k], dx)
    const v2 = cubic(data[row2 + x0 + k], data[row2 + x1 + k], data[row2 + x2 + k], data[row2 + x3 + k], dx)
    const v3 = cubic(data[row3 + x0 + k], data[row3 + x1 + k], data[row3 + x2 + k], data[row3 + x3 + k], dx)
    out[to + k] = toByte(cubic(v0, v1, v2, v3, dy))
  }
}

const linear = (one: number, two: number, t: number) => one + (two - one) * t

/** The cubic with a = -1 that PIL warps by (it resizes by another). */
function cubic(v1: number, v2: number, v3: number, v4: number, t: number): number {
  const p2 = -v1 + v3
  const p3 = 2 * (v1 - v2) + v3 - v4
  const p4 = -v1 + v2 - v3 + v4
  return v2 + t * (p2 + t * (p3 + t * p4))
}

/** Turned counter-clockwise about its centre. mirrors: PIL.Image.rotate */
export function rotate(image: Pixels, degrees: number, interpolation: Interpolation, fill: readonly number[]): Pixels {
  const turn = ((degrees % 360) + 360) % 360
  if (turn === 0) return image
  const angle = (-turn * Math.PI) / 180
  const round = (value: number) => Number(value.toFixed(15))
  const [cos, sin] = [round(Math.cos(angle)), round(Math.sin(angle))]
  const [x, y] = [image.width / 2, image.height / 2]
  return warp(image, [cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y], interpolation, fill)
}
