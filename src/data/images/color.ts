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

/** Colours turned by `turn` of the colour circle, in steps of 1/255; grey stays. mirrors: torchvision's adjust_hue on PIL images */
export function hue(image: Pixels, turn: number): Pixels {
  if (image.channels === 1) return image
  const { data: from } = image
  const data = new Uint8Array(from.length)
  const steps = Math.trunc(turn * 255)
  for (let i = 0; i < from.length; i += 3) {
    const { hue, saturation, value } = hsvOf(from[i], from[i + 1], from[i + 2])
    writeRgb((hue + steps) & 255, saturation, value, data, i)
  }
  return { ...image, data }
}

const { fround } = Math

/** Each in [0, 255]. mirrors: rgb2hsv_row of PIL's Convert.c, whose variables are float32 and constants float64 */
function hsvOf(red: number, green: number, blue: number): { hue: number; saturation: number; value: number } {
  const value = Math.max(red, green, blue)
  const spread = value - Math.min(red, green, blue)
  if (spread === 0) return { hue: 0, saturation: 0, value }
  const missing = (color: number) => fround((value - color) / spread)
  const [rc, gc, bc] = [missing(red), missing(green), missing(blue)]
  const sixths = red === value ? fround(bc - gc) : green === value ? fround(2 + rc - bc) : fround(4 + gc - rc)
  const turn = fround((sixths / 6 + 1) % 1)
  return { hue: Math.trunc(turn * 255), saturation: Math.trunc(fround(spread / value) * 255), value }
}

/** mirrors: hsv2rgb of PIL's Convert.c */
function writeRgb(hue: number, saturation: number, value: number, to: Uint8Array, at: number): void {
  if (saturation === 0) {
    to.fill(value, at, at + 3)
    return
  }
  const place = (fround(hue) * 6) / 255
  const sixth = Math.floor(place)
  const rest = fround(place - sixth)
  const share = fround(saturation / 255)
  const p = Math.round(value * (1 - share))
  const q = Math.round(value * (1 - fround(share * rest)))
  const t = Math.round(value * (1 - share * (1 - rest)))
  const colors = [
    [value, t, p],
    [q, value, p],
    [p, value, t],
    [p, q, value],
    [t, p, value],
    [value, p, q],
  ]
  to.set(colors[sixth % 6], at)
}
