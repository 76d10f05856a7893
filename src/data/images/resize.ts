// Resampling with antialiasing, bit for bit that of PIL (Image.resize), which the field's numbers are measured with: a
// separable filter as wide as the reduction, in fixed point, rows first. The same on every platform.
import type { Pixels } from './pixels.js'

export const interpolations = ['bilinear', 'bicubic'] as const
export type Interpolation = (typeof interpolations)[number]

/** Filters as functions of the distance, and where they end. */
const filters: Readonly<Record<Interpolation, { readonly support: number; readonly weight: (x: number) => number }>> = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  // Keys' cubic with a = -0.5.
  bicubic: {
    support: 2,
    weight: (x) => {
      const t = Math.abs(x)
      if (t < 1) return (1.5 * t - 2.5) * t * t + 1
      if (t < 2) return ((-0.5 * t + 2.5) * t - 4) * t + 2
      return 0
    },
  },
}

/** Bits behind the point of weights: a sum of 8-bit values times weights stays inside 32 bits. */
const precision = 22

interface Weights {
  /** First input of each output, and how many. */
  readonly first: Int32Array
  readonly count: Int32Array
  /** (outputs, taps) */
  readonly weights: Int32Array
  readonly taps: number
}

/** mirrors: precompute_coeffs and normalize_coeffs_8bpc of PIL's Resample.c */
function weightsOf(input: number, output: number, interpolation: Interpolation): Weights {
  const { support: width, weight } = filters[interpolation]
  const scale = input / output
  const stretch = Math.max(1, scale)
  const support = width * stretch
  const taps = Math.ceil(support) * 2 + 1
  const first = new Int32Array(output)
  const count = new Int32Array(output)
  const weights = new Int32Array(output * taps)
  const row = new Float64Array(taps)
  for (let x = 0; x < output; x++) {
    const center = (x + 0.5) * scale
    const low = Math.max(0, Math.trunc(center - support + 0.5))
    const n = Math.min(input, Math.trunc(center + support + 0.5)) - low
    let total = 0
    for (let i = 0; i < n; i++) {
      row[i] = weight((i + low - center + 0.5) * (1 / stretch))
      total += row[i]
    }
    first[x] = low
    count[x] = n
    for (let i = 0; i < n; i++) {
      const scaled = (total === 0 ? row[i] : row[i] / total) * 2 ** precision
      weights[x * taps + i] = Math.trunc(scaled < 0 ? scaled - 0.5 : scaled + 0.5)
    }
  }
  return { first, count, weights, taps }
}

const half = 1 << (precision - 1)

/** The image at another size. mirrors: PIL.Image.resize((width, height), BILINEAR or BICUBIC) */
export function resize(image: Pixels, width: number, height: number, interpolation: Interpolation): Pixels {
  let result = image
  if (width !== image.width) result = resizeRows(result, width, interpolation)
  if (height !== image.height) result = resizeColumns(result, height, interpolation)
  return result
}

function resizeRows({ width, height, channels, data: from }: Pixels, target: number, kind: Interpolation): Pixels {
  const { first, count, weights, taps } = weightsOf(width, target, kind)
  const data = new Uint8ClampedArray(target * height * channels)
  for (let y = 0, to = 0; y < height; y++) {
    const row = y * width * channels
    for (let x = 0; x < target; x++) {
      let at = row + first[x] * channels
      const start = x * taps
      const end = start + count[x]
      if (channels === 3) {
        let [red, green, blue] = [half, half, half]
        for (let k = start; k < end; k++, at += 3) {
          const w = weights[k]
          red += from[at] * w
          green += from[at + 1] * w
          blue += from[at + 2] * w
        }
        data[to++] = red >> precision
        data[to++] = green >> precision
        data[to++] = blue >> precision
      } else {
        let sum = half
        for (let k = start; k < end; k++) sum += from[at++] * weights[k]
        data[to++] = sum >> precision
      }
    }
  }
  return { width: target, height, channels, data: new Uint8Array(data.buffer) }
}

function resizeColumns({ width, height, channels, data: from }: Pixels, target: number, kind: Interpolation): Pixels {
  const { first, count, weights, taps } = weightsOf(height, target, kind)
  const row = width * channels
  const data = new Uint8ClampedArray(target * row)
  const sums = new Int32Array(row)
  for (let y = 0; y < target; y++) {
    sums.fill(half)
    for (let i = 0; i < count[y]; i++) {
      const w = weights[y * taps + i]
      const start = (first[y] + i) * row
      for (let x = 0; x < row; x++) sums[x] += from[start + x] * w
    }
    for (let x = 0; x < row; x++) data[y * row + x] = sums[x] >> precision
  }
  return { width, height: target, channels, data: new Uint8Array(data.buffer) }
}

/** Resizes so that the shorter side becomes `side`. mirrors: torchvision's Resize(side) */
export function resizeShorterSide(image: Pixels, side: number, interpolation: Interpolation): Pixels {
  const { width, height } = image
  const longer = Math.trunc((side * Math.max(width, height)) / Math.min(width, height))
  return width <= height ? resize(image, side, longer, interpolation) : resize(image, longer, side, interpolation)
}
