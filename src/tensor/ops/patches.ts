// Pixels into channels and back: shuffles, and the windows of a convolution as rows of a matrix. No kernels of their own:
// windows are copies by tables of taps, and the way back is the transposed table.
import { MambakitError, ShapeError } from '../../errors.js'
import type { Tensor } from '../tensor.js'
import type { PerAxis } from './convolutionNd.js'
import { perAxis, resampleAxes } from './resample.js'
import { permute, reshape } from './shape.js'
import { type Taps, transposedTaps } from './taps.js'

/** (B, H, W, C r^2) -> (B, H r, W r, C); channel c r^2 + i r + j goes to row i and column j of its cell. mirrors: torch.nn.PixelShuffle */
export function pixelShuffle(input: Tensor, factor: number): Tensor {
  const [batch, height, width, channels] = input.shape
  const kept = channels / factor ** 2
  if (input.rank !== 4 || !Number.isInteger(kept) || !Number.isInteger(factor))
    throw new ShapeError('pixelShuffle', [input.shape], `expected (B, H, W, C ${factor}^2)`)
  const cells = reshape(input, [batch, height, width, kept, factor, factor])
  return reshape(permute(cells, [0, 1, 4, 2, 5, 3]), [batch, height * factor, width * factor, kept])
}

/** (B, H r, W r, C) -> (B, H, W, C r^2), the inverse of pixelShuffle. mirrors: torch.nn.PixelUnshuffle */
export function pixelUnshuffle(input: Tensor, factor: number): Tensor {
  const [batch, height, width, channels] = input.shape
  if (input.rank !== 4 || !Number.isInteger(height / factor) || !Number.isInteger(width / factor))
    throw new ShapeError('pixelUnshuffle', [input.shape], `expected (B, H ${factor}, W ${factor}, C)`)
  const [h, w] = [height / factor, width / factor]
  const cells = reshape(input, [batch, h, factor, w, factor, channels])
  return reshape(permute(cells, [0, 1, 3, 5, 2, 4]), [batch, h, w, channels * factor ** 2])
}

export interface UnfoldOptions {
  /** Default 1. */
  stride?: PerAxis
  /** Zeros on both sides. Default 0. */
  padding?: PerAxis
  /** Default 1. */
  dilation?: PerAxis
}

/** Every position of every window along each axis of `extents`, window by window. */
function windowTaps(
  operation: string,
  extents: readonly number[],
  kernel: readonly number[],
  each: (given: PerAxis) => readonly number[],
  options: UnfoldOptions,
): { readonly counts: readonly number[]; readonly taps: readonly Taps[] } {
  const [strides, paddings, dilations] = [options.stride ?? 1, options.padding ?? 0, options.dilation ?? 1].map(each)
  const counts = extents.map((n, i) => {
    const count = Math.floor((n + 2 * paddings[i] - dilations[i] * (kernel[i] - 1) - 1) / strides[i]) + 1
    if (count < 1) throw new MambakitError(`${operation}: a kernel of ${kernel[i]} does not fit into an axis of ${n}`)
    return count
  })
  const taps = extents.map((n, i): Taps => {
    const [k, stride, padding, dilation] = [kernel[i], strides[i], paddings[i], dilations[i]]
    const m = counts[i] * k
    const at = (p: number) => Math.floor(p / k) * stride - padding + (p % k) * dilation
    return {
      key: `unfold ${n} ${k} ${stride} ${padding} ${dilation}`,
      n,
      m,
      rows: () => Array.from({ length: m }, (_, p) => [{ at: at(p), weight: 1 }]),
    }
  })
  return { counts, taps }
}

/**
 * The windows of (B, H, W, C) as rows: (B, L, C kh kw), windows row by row, the kernel's positions fastest.
 * mirrors: torch.nn.functional.unfold, with the last two axes exchanged
 */
export function unfold(input: Tensor, kernel: PerAxis, options: UnfoldOptions = {}): Tensor {
  if (input.rank !== 4) throw new ShapeError('unfold', [input.shape], 'expected (B, H, W, C)')
  const each = (given: PerAxis) => perAxis('unfold', input, given)
  const [kh, kw] = each(kernel)
  const [batch, height, width, channels] = input.shape
  const { counts, taps } = windowTaps('unfold', [height, width], [kh, kw], each, options)
  const windows = reshape(resampleAxes(input, taps), [batch, counts[0], kh, counts[1], kw, channels])
  return reshape(permute(windows, [0, 1, 3, 5, 2, 4]), [batch, counts[0] * counts[1], channels * kh * kw])
}

/** The sum of windows (B, L, C kh kw) where they lie in an image of `size`: (B, H, W, C). mirrors: torch.nn.functional.fold */
export function fold(
  windows: Tensor,
  size: readonly [height: number, width: number],
  kernel: PerAxis,
  options: UnfoldOptions = {},
): Tensor {
  const each = (given: PerAxis) => (typeof given === 'number' ? [given, given] : given)
  const [kh, kw] = each(kernel)
  const { counts, taps } = windowTaps('fold', size, [kh, kw], each, options)
  const [batch, length, columns] = windows.shape
  const channels = columns / (kh * kw)
  if (windows.rank !== 3 || length !== counts[0] * counts[1] || !Number.isInteger(channels))
    throw new ShapeError(
      'fold',
      [windows.shape],
      `expected (B, ${counts[0]} * ${counts[1]}, C * ${kh} * ${kw}) for an image of (${size.join(', ')})`,
    )
  const cells = permute(reshape(windows, [batch, counts[0], counts[1], channels, kh, kw]), [0, 1, 4, 2, 5, 3])
  return resampleAxes(reshape(cells, [batch, counts[0] * kh, counts[1] * kw, channels]), taps.map(transposedTaps))
}
