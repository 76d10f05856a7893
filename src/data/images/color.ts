// Operations on the values of an image, bit for bit those of PIL's ImageOps and ImageEnhance.
import { luminance, type Pixels } from './pixels.js'

/** Every value through a table of 256; one table, or one a channel. */
function mapped(image: Pixels, tables: readonly Uint8Array[]): Pixels {
  const { channels, data: from } = image
  const data = new Uint8Array(from.length)
  for (let i = 0; i < from.length; i++) data[i] = tables[tables.length === 1 ? 0 : i % channels][from[i]]
  return { ...image, data }
}

const table = (entry: (value: number) => number) =>
  Uint8Array.from({ length: 256 }, (_, value) => Math.min(255, Math.max(0, entry(value))))

/** How often each value occurs in a channel. */
function histogram({ channels, data }: Pixels, channel: number): number[] {
  const counts = new Array<number>(256).fill(0)
  for (let i = channel; i < data.length; i += channels) counts[data[i]]++
  return counts
}

const perChannel = (image: Pixels, make: (counts: number[]) => Uint8Array): Pixels =>
  mapped(
    image,
    Array.from({ length: image.channels }, (_, c) => make(histogram(image, c))),
  )

/** Each channel stretched to the full range. mirrors: ImageOps.autocontrast */
export function autoContrast(image: Pixels): Pixels {
  return perChannel(image, (counts) => {
    const low = counts.findIndex((count) => count > 0)
    const high = counts.findLastIndex((count) => count > 0)
    if (high <= low) return table((v) => v)
    const scale = 255 / (high - low)
    return table((v) => Math.trunc(v * scale - low * scale))
  })
}

/** Each channel's histogram made flat. mirrors: ImageOps.equalize */
export function equalize(image: Pixels): Pixels {
  return perChannel(image, (counts) => {
    const present = counts.filter((count) => count > 0)
    const step = Math.floor((present.reduce((a, b) => a + b, 0) - present[present.length - 1]) / 255)
    if (present.length <= 1 || step === 0) return table((v) => v)
    let sum = Math.floor(step / 2)
    return table((v) => {
      const entry = Math.floor(sum / step)
      sum += counts[v]
      return entry
    })
  })
}

/** mirrors: ImageOps.invert */
export const invert = (image: Pixels): Pixels => mapped(image, [table((v) => 255 - v)])

/** The first `bits` bits of every value. mirrors: ImageOps.posterize */
export const posterize = (image: Pixels, bits: number): Pixels =>
  mapped(image, [table((v) => v & ~(2 ** (8 - bits) - 1))])

/** Values from `threshold` on inverted. mirrors: ImageOps.solarize */
export const solarize = (image: Pixels, threshold: number): Pixels =>
  mapped(image, [table((v) => (v < threshold ? v : 255 - v))])

/** `amount` added to values below 128. mirrors: solarize_add of timm */
export const solarizeAdd = (image: Pixels, amount: number): Pixels =>
  mapped(image, [table((v) => (v < 128 ? v + amount : v))])

/** base + factor (image - base) in float32, cut to a byte. mirrors: ImagingBlend of PIL */
function blended(image: Pixels, factor: number, base: (at: number) => number): Pixels {
  const { data: from } = image
  const alpha = Math.fround(factor)
  const data = new Uint8Array(from.length)
  for (let i = 0; i < from.length; i++) {
    const origin = base(i)
    const value = Math.fround(origin + Math.fround(alpha * (from[i] - origin)))
    data[i] = value <= 0 ? 0 : value >= 255 ? 255 : Math.trunc(value)
  }
  return { ...image, data }
}

function greyOf({ channels, data }: Pixels, at: number): number {
  if (channels === 1) return data[at]
  const start = at - (at % 3)
  return luminance(data[start], data[start + 1], data[start + 2])
}

/** Towards black below 1, away from it above. mirrors: ImageEnhance.Brightness */
export const brightness = (image: Pixels, factor: number): Pixels => blended(image, factor, () => 0)

/** Towards the mean grey. mirrors: ImageEnhance.Contrast */
export function contrast(image: Pixels, factor: number): Pixels {
  const { channels, data } = image
  let sum = 0
  for (let i = 0; i < data.length; i += channels) sum += greyOf(image, i)
  const mean = Math.trunc(sum / (data.length / channels) + 0.5)
  return blended(image, factor, () => mean)
}

/** Towards grey. mirrors: ImageEnhance.Color */
export const saturation = (image: Pixels, factor: number): Pixels => blended(image, factor, (at) => greyOf(image, at))

/** Towards a smoothed image. mirrors: ImageEnhance.Sharpness */
export function sharpness(image: Pixels, factor: number): Pixels {
  const smooth = smoothed(image)
  return blended(image, factor, (at) => smooth[at])
}

/** Weights 1 and 5 in the middle, of 13; the border stays. mirrors: ImageFilter.SMOOTH */
function smoothed({ width, height, channels, data }: Pixels): Uint8Array {
  const out = data.slice()
  const row = width * channels
  for (let y = 1; y < height - 1; y++)
    for (let x = channels; x < row - channels; x++) {
      const at = y * row + x
      let sum = 4 * data[at]
      for (let line = at - row; line <= at + row; line += row)
        sum += data[line - channels] + data[line] + data[line + channels]
      out[at] = Math.floor(sum / 13 + 0.5)
    }
  return out
}
