// What a model's images go through before it sees them: size, crop, normalisation. A run's config.json holds it, so that
// measuring and predicting need nothing else.
import { MambakitError } from '../../errors.js'
import { crop, type Pixels, withChannels } from './pixels.js'
import { type Interpolation, interpolations, resizeShorterSide } from './resize.js'

export interface ImagePreprocessing {
  /** Height and width of what the model sees. */
  readonly size: number
  /** 3, or 1 for grey. */
  readonly channels: 1 | 3
  /** Of values in [0, 1], for each channel. */
  readonly mean: readonly number[]
  readonly std: readonly number[]
  /** The shorter side is resized to size / cropRatio, and the middle kept. In (0, 1]. */
  readonly cropRatio: number
  readonly interpolation: Interpolation
}

/** Means and deviations that the field normalises by. */
export const statistics = {
  imagenet: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
  cifar10: { mean: [0.4914, 0.4822, 0.4465], std: [0.247, 0.2435, 0.2616] },
  grey: { mean: [0.449], std: [0.226] },
  mnist: { mean: [0.1307], std: [0.3081] },
  'fashion-mnist': { mean: [0.286], std: [0.353] },
} as const satisfies Record<string, { mean: readonly number[]; std: readonly number[] }>

/** Resized and cropped for evaluation: size x size, with the channels asked for. mirrors: timm's evaluation transform */
export function evaluationCrop(
  image: Pixels,
  { size, channels, cropRatio, interpolation }: ImagePreprocessing,
): Pixels {
  const right = withChannels(image, channels)
  const side = Math.floor(size / cropRatio)
  const resized = resizeShorterSide(right, side, interpolation)
  const middle = (extent: number) => roundHalfEven((extent - size) / 2)
  return crop(resized, middle(resized.width), middle(resized.height), size, size)
}

/** As Python rounds. */
function roundHalfEven(value: number): number {
  const low = Math.floor(value)
  return value - low === 0.5 ? low + (low % 2) : Math.round(value)
}

/** Writes (value / 255 - mean) / std of every pixel to `out`, (H, W, C). */
export function normalizeInto({ data, channels }: Pixels, { mean, std }: ImagePreprocessing, out: Float32Array): void {
  // A table a channel: 256 values, whatever the image.
  const tables = Array.from({ length: channels }, (_, c) =>
    Float32Array.from({ length: 256 }, (_, v) => (v / 255 - mean[c]) / std[c]),
  )
  if (channels === 1) for (let i = 0; i < data.length; i++) out[i] = tables[0][data[i]]
  else {
    const [red, green, blue] = tables
    for (let i = 0; i < data.length; i += 3) {
      out[i] = red[data[i]]
      out[i + 1] = green[data[i + 1]]
      out[i + 2] = blue[data[i + 2]]
    }
  }
}

/** Reads what a config.json holds under `preprocessing`. Throws MambakitError that names the file and the field. */
export function parsePreprocessing(file: string, value: unknown): ImagePreprocessing {
  const fail = (field: string, expected: string, got: unknown) =>
    new MambakitError(`${file}: preprocessing.${field}: expected ${expected}, got ${JSON.stringify(got) ?? 'nothing'}`)
  const json = (value ?? {}) as Record<string, unknown>
  const { size, channels, cropRatio, interpolation } = json
  if (!Number.isInteger(size) || (size as number) < 1 || (size as number) > 8192)
    throw fail('size', 'an integer from 1 to 8192', size)
  if (channels !== 1 && channels !== 3) throw fail('channels', '1 or 3', channels)
  if (typeof cropRatio !== 'number' || !(cropRatio > 0 && cropRatio <= 1))
    throw fail('cropRatio', 'a number above 0, at most 1', cropRatio)
  if (!interpolations.includes(interpolation as Interpolation))
    throw fail('interpolation', interpolations.join(' or '), interpolation)
  for (const field of ['mean', 'std']) {
    const list = json[field]
    const fine = (v: unknown) => typeof v === 'number' && Number.isFinite(v) && (field === 'mean' || v > 0)
    if (!Array.isArray(list) || list.length !== channels || !list.every(fine))
      throw fail(field, `${channels} numbers`, list)
  }
  return json as unknown as ImagePreprocessing
}
