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
  const { width, height, channels, data: from } = image
  const data = new Uint8Array(from.length)
  const [columns, rows] = interpolation === 'bilinear' ? [new Int32Array(2), 2] : [new Int32Array(4), 4]
  const values = new Float64Array(rows)
  const clampColumn = (x: number) => Math.min(width - 1, Math.max(0, x)) * channels
  const lead = interpolation === 'bilinear' ? 0 : 1
  for (let y = 0, to = 0; y < height; y++)
    for (let x = 0; x < width; x++, to += channels) {
      const u = a * (x + 0.5) + b * (y + 0.5) + c
      const v = d * (x + 0.5) + e * (y + 0.5) + f
      if (!(u >= 0 && u < width && v >= 0 && v < height)) {
        for (let k = 0; k < channels; k++) data[to + k] = fill[k]
        continue
      }
      const left = Math.floor(u - 0.5)
      const top = Math.floor(v - 0.5)
      const dx = u - 0.5 - left
      const dy = v - 0.5 - top
      for (let i = 0; i < rows; i++) columns[i] = clampColumn(left - lead + i)
      for (let k = 0; k < channels; k++) {
        for (let i = 0; i < rows; i++) {
          const line = top - lead + i
          // Above the image its first row counts; below it the row before is kept.
          if (i > 0 && (line < 0 || line >= height)) {
            values[i] = values[i - 1]
            continue
          }
          const start = Math.min(height - 1, Math.max(0, line)) * width * channels + k
          values[i] =
            lead === 0
              ? linear(from[start + columns[0]], from[start + columns[1]], dx)
              : cubic(
                  from[start + columns[0]],
                  from[start + columns[1]],
                  from[start + columns[2]],
                  from[start + columns[3]],
                  dx,
                )
        }
        const value =
          lead === 0 ? linear(values[0], values[1], dy) : cubic(values[0], values[1], values[2], values[3], dy)
        data[to + k] = value <= 0 ? 0 : value >= 255 ? 255 : Math.trunc(value)
      }
    }
  return { ...image, data }
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
