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

/** Writes (value / 255 - mean) / std of every pixel of an image to `out`, (H, W, C). */
export type Normalizer = (image: Pixels, out: Float32Array) => void

/** The normalisation of a preprocessing: a table of 256 a channel, whatever the image. */
export function normalizerOf({
  mean,
  std,
  channels,
}: Pick<ImagePreprocessing, 'mean' | 'std' | 'channels'>): Normalizer {
  const [red, green = red, blue = red] = Array.from({ length: channels }, (_, c) => {
    const table = new Float32Array(256)
    for (let v = 0; v < 256; v++) table[v] = (v / 255 - mean[c]) / std[c]
    return table
  })
  if (channels === 1)
    return ({ data }, out) => {
      for (let i = 0; i < data.length; i++) out[i] = red[data[i]]
    }
  return ({ data }, out) => {
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
