// What training does to an image before the model sees it, drawn for each image and epoch: crops, flips, RandAugment,
// colour jitter, random erasing, and mixing of a whole batch. Semantics are those of timm and torchvision on PIL images.
import type { Draws } from '../draws.js'
import {
  autoContrast,
  brightness,
  contrast,
  equalize,
  hue,
  invert,
  posterize,
  saturation,
  sharpness,
  solarize,
  solarizeAdd,
} from './color.js'
import { crop, flipHorizontally, flipVertically, type Pixels, pad, withChannels } from './pixels.js'
import type { ImagePreprocessing } from './preprocessing.js'
import { type Interpolation, resize, resizeShorterSide } from './resize.js'
import { rotate, warp } from './warp.js'

/** Shares and ratios are those of the defaults named. Everything is plain data: it goes to workers and into run settings. */
export interface ImageAugmentation {
  readonly crop:
    | {
        /** A part of random area and aspect, resized. */
        readonly kind: 'resized'
        /** Share of the area. Usual: [0.08, 1]. */
        readonly scale: readonly [number, number]
        /** Width over height. Usual: [3/4, 4/3]. */
        readonly ratio: readonly [number, number]
      }
    | {
        /** The image in a black frame, from which a window of its own size is cut. */
        readonly kind: 'padded'
        /** Pixels. Usual: 4 at 32 x 32. */
        readonly padding: number
      }
    | { readonly kind: 'center' }
  /** Probability of exchanging left and right. */
  readonly flip: number
  /** Probability of exchanging top and bottom. */
  readonly verticalFlip: number
  readonly randAugment: RandAugment | null
  /** Largest relative change of brightness, contrast and saturation, in random order; 0 for none. */
  readonly colorJitter: number
  /** Largest turn of the hue either way, of a whole turn, among the changes of colour; 0 for none. At most 0.5. Usual: 0.1. */
  readonly hueJitter: number
  /** Probability of replacing a rectangle by normal noise. Usual: 0.25. */
  readonly erase: number
  readonly mix: BatchMixing | null
}

/** timm's rand-m9-mstd0.5-inc1 is { operations: 2, magnitude: 9, deviation: 0.5 }. */
export interface RandAugment {
  readonly operations: number
  /** Of 10. */
  readonly magnitude: number
  readonly deviation: number
}

export interface BatchMixing {
  /** Beta parameter of mixup; 0 for none. Usual: 0.8. */
  readonly mixup: number
  /** Beta parameter of cutmix; 0 for none. Usual: 1. */
  readonly cutmix: number
  /** Share of batches that are mixed. Usual: 1. Where both are given, half of these are by each. */
  readonly probability: number
}

/** Flips and padded crops, for small images. */
export const smallImageAugmentation: ImageAugmentation = {
  crop: { kind: 'padded', padding: 4 },
  flip: 0.5,
  verticalFlip: 0,
  randAugment: null,
  colorJitter: 0,
  hueJitter: 0,
  erase: 0,
  mix: null,
}

/** Resized crops and flips, for photographs. */
export const photoAugmentation: ImageAugmentation = {
  ...smallImageAugmentation,
  crop: { kind: 'resized', scale: [0.08, 1], ratio: [3 / 4, 4 / 3] },
}

/** The recipe that most vision papers here train by: RandAugment m9, erasing 0.25, mixup 0.8, cutmix 1. */
export const strongAugmentation: ImageAugmentation = {
  ...photoAugmentation,
  randAugment: { operations: 2, magnitude: 9, deviation: 0.5 },
  erase: 0.25,
  mix: { mixup: 0.8, cutmix: 1, probability: 1 },
}

/** The image as training sees it, size x size, still 8-bit; what it draws comes from `draws` alone. */
export function augment(
  image: Pixels,
  augmentation: ImageAugmentation,
  preprocessing: ImagePreprocessing,
  draws: Draws,
): Pixels {
  const { interpolation, mean } = preprocessing
  let out = cropped(withChannels(image, preprocessing.channels), augmentation, preprocessing, draws)
  if (draws.chance(augmentation.flip)) out = flipHorizontally(out)
  if (draws.chance(augmentation.verticalFlip)) out = flipVertically(out)
  if (augmentation.colorJitter > 0 || augmentation.hueJitter > 0) out = jitter(out, augmentation, draws)
  if (augmentation.randAugment) {
    const fill = mean.map((value) => Math.min(255, Math.round(255 * value)))
    out = randAugment(out, augmentation.randAugment, interpolation, fill, draws)
  }
  return out
}

function cropped(
  image: Pixels,
  { crop: kind }: ImageAugmentation,
  { size, interpolation }: ImagePreprocessing,
  draws: Draws,
): Pixels {
  if (kind.kind === 'resized') {
    const { left, top, width, height } = randomRegion(image, kind.scale, kind.ratio, draws)
    return resize(crop(image, left, top, width, height), size, size, interpolation)
  }
  const fits = Math.min(image.width, image.height) === size ? image : resizeShorterSide(image, size, interpolation)
  const framed = kind.kind === 'padded' ? pad(fits, kind.padding) : fits
  const [free, down] = [framed.width - size, framed.height - size]
  const place = kind.kind === 'padded' ? (room: number) => draws.integer(room + 1) : (room: number) => room >> 1
  return crop(framed, place(free), place(down), size, size)
}

/** mirrors: torchvision RandomResizedCrop.get_params */
export function randomRegion(
  { width, height }: Pixels,
  scale: readonly [number, number],
  ratio: readonly [number, number],
  draws: Draws,
): { left: number; top: number; width: number; height: number } {
  for (let attempt = 0; attempt < 10; attempt++) {
    const area = width * height * draws.uniform(...scale)
    const aspect = Math.exp(draws.uniform(Math.log(ratio[0]), Math.log(ratio[1])))
    const w = Math.round(Math.sqrt(area * aspect))
    const h = Math.round(Math.sqrt(area / aspect))
    if (w > 0 && w <= width && h > 0 && h <= height)
      return { left: draws.integer(width - w + 1), top: draws.integer(height - h + 1), width: w, height: h }
  }
  // The largest region in the middle whose aspect is allowed.
  const aspect = width / height
  const w = aspect > ratio[1] ? Math.max(1, Math.round(height * ratio[1])) : width
  const h = aspect < ratio[0] ? Math.max(1, Math.round(width / ratio[0])) : height
  return { left: (width - w) >> 1, top: (height - h) >> 1, width: w, height: h }
}

/** mirrors: torchvision ColorJitter(amount, amount, amount, turn) */
function jitter(
  image: Pixels,
  { colorJitter: amount, hueJitter: turn }: Pick<ImageAugmentation, 'colorJitter' | 'hueJitter'>,
  draws: Draws,
): Pixels {
  const scaled = (change: (image: Pixels, factor: number) => Pixels) => (image: Pixels) =>
    change(image, draws.uniform(Math.max(0, 1 - amount), 1 + amount))
  const changes = [
    ...(amount > 0 ? [scaled(brightness), scaled(contrast), scaled(saturation)] : []),
    ...(turn > 0 ? [(image: Pixels) => hue(image, draws.uniform(-turn, turn))] : []),
  ]
  let out = image
  while (changes.length > 0) {
    const [change] = changes.splice(draws.integer(changes.length), 1)
    out = change(out)
  }
  return out
}

/** An operation of RandAugment at a level of 0 to 10; `signed` negates a value or leaves it, by chance. */
type Operation = (
  image: Pixels,
  level: number,
  signed: (value: number) => number,
  warping: { interpolation: Interpolation; fill: readonly number[] },
) => Pixels

const enhance =
  (change: (image: Pixels, factor: number) => Pixels): Operation =>
  (image, level, signed) =>
    change(image, Math.max(0.1, 1 + signed((level / 10) * 0.9)))

/** Those whose effect grows with the level. mirrors: _RAND_INCREASING_TRANSFORMS of timm */
export const operations: Readonly<Record<string, Operation>> = {
  autoContrast: (image) => autoContrast(image),
  equalize: (image) => equalize(image),
  invert: (image) => invert(image),
  rotate: (image, level, signed, { interpolation, fill }) =>
    rotate(image, signed((level / 10) * 30), interpolation, fill),
  posterize: (image, level) => posterize(image, 4 - Math.trunc((level / 10) * 4)),
  solarize: (image, level) => solarize(image, 256 - Math.min(256, Math.trunc((level / 10) * 256))),
  solarizeAdd: (image, level) => solarizeAdd(image, Math.min(128, Math.trunc((level / 10) * 110))),
  color: enhance(saturation),
  contrast: enhance(contrast),
  brightness: enhance(brightness),
  sharpness: enhance(sharpness),
  shearX: (image, level, signed, { interpolation, fill }) =>
    warp(image, [1, signed((level / 10) * 0.3), 0, 0, 1, 0], interpolation, fill),
  shearY: (image, level, signed, { interpolation, fill }) =>
    warp(image, [1, 0, 0, signed((level / 10) * 0.3), 1, 0], interpolation, fill),
  translateX: (image, level, signed, { interpolation, fill }) =>
    warp(image, [1, 0, signed((level / 10) * 0.45) * image.width, 0, 1, 0], interpolation, fill),
  translateY: (image, level, signed, { interpolation, fill }) =>
    warp(image, [1, 0, 0, 0, 1, signed((level / 10) * 0.45) * image.height], interpolation, fill),
}
const choices = Object.values(operations)

/** `operations` chosen with replacement, each applied with probability 0.5. mirrors: timm RandAugment */
function randAugment(
  image: Pixels,
  { operations: count, magnitude, deviation }: RandAugment,
  interpolation: Interpolation,
  fill: readonly number[],
  draws: Draws,
): Pixels {
  let out = image
  for (let i = 0; i < count; i++) {
    const operation = choices[draws.integer(choices.length)]
    if (!draws.chance(0.5)) continue
    const level = Math.min(10, Math.max(0, draws.normal(magnitude, deviation)))
    out = operation(out, level, (value) => (draws.chance(0.5) ? -value : value), { interpolation, fill })
  }
  return out
}

/** Replaces a rectangle of a normalised image (H, W, C) by noise, with this probability. mirrors: timm RandomErasing(mode='pixel') */
export function erase(
  image: Float32Array,
  height: number,
  width: number,
  channels: number,
  probability: number,
  draws: Draws,
): void {
  if (!draws.chance(probability)) return
  for (let attempt = 0; attempt < 10; attempt++) {
    const area = draws.uniform(0.02, 1 / 3) * height * width
    const aspect = Math.exp(draws.uniform(Math.log(0.3), Math.log(1 / 0.3)))
    const h = Math.round(Math.sqrt(area * aspect))
    const w = Math.round(Math.sqrt(area / aspect))
    if (h >= height || w >= width) continue
    const [top, left] = [draws.integer(height - h + 1), draws.integer(width - w + 1)]
    for (let y = top; y < top + h; y++) {
      const start = (y * width + left) * channels
      for (let i = start; i < start + w * channels; i++) image[i] = draws.normal()
    }
    return
  }
}

/** How a batch is mixed with itself in reverse order: image i with image B - 1 - i. */
export interface Mixture {
  /** Weight of an image's own label; the other has the rest. */
  readonly own: number
  /** The rectangle that comes from the other image; absent where whole images are blended. */
  readonly box?: { readonly top: number; readonly bottom: number; readonly left: number; readonly right: number }
}

/** Draws how a batch is mixed, or null for not at all. mirrors: timm Mixup(mode='batch', switch_prob=0.5) */
export function drawMixture(
  { mixup, cutmix, probability }: BatchMixing,
  height: number,
  width: number,
  draws: Draws,
): Mixture | null {
  if (!draws.chance(probability)) return null
  const cut = cutmix > 0 && (mixup <= 0 || draws.chance(0.5))
  if (!cut && mixup <= 0) return null
  const own = draws.beta(cut ? cutmix : mixup)
  if (!cut) return { own }
  const side = Math.sqrt(1 - own)
  const span = (extent: number) => {
    const length = Math.trunc(extent * side)
    const center = draws.integer(extent)
    const half = Math.floor(length / 2)
    const clamp = (value: number) => Math.min(extent, Math.max(0, value))
    return [clamp(center - half), clamp(center + half)]
  }
  const [top, bottom] = span(height)
  const [left, right] = span(width)
  // By the area that was really cut.
  return { own: 1 - ((bottom - top) * (right - left)) / (height * width), box: { top, bottom, left, right } }
}

/** Mixes images (B, H, W, C) in place. */
export function mixImages(
  images: Float32Array,
  batch: number,
  height: number,
  width: number,
  channels: number,
  { own, box }: Mixture,
): void {
  const size = height * width * channels
  for (let i = 0; i < Math.ceil(batch / 2); i++) {
    const one = images.subarray(i * size, (i + 1) * size)
    const other = images.subarray((batch - 1 - i) * size, (batch - i) * size)
    if (!box)
      for (let k = 0; k < size; k++) {
        const [a, b] = [one[k], other[k]]
        one[k] = own * a + (1 - own) * b
        other[k] = own * b + (1 - own) * a
      }
    else
      for (let y = box.top; y < box.bottom; y++)
        for (let k = (y * width + box.left) * channels; k < (y * width + box.right) * channels; k++) {
          const a = one[k]
          one[k] = other[k]
          other[k] = a
        }
  }
}

/** Targets (B, K) of a mixed batch: an image's own class weighs `own`, that of the image it was mixed with the rest. */
export function mixTargets(labels: Int32Array, classes: number, { own }: Mixture): Float32Array {
  const targets = new Float32Array(labels.length * classes)
  for (let i = 0; i < labels.length; i++) {
    targets[i * classes + labels[i]] += own
    targets[i * classes + labels[labels.length - 1 - i]] += 1 - own
  }
  return targets
}
