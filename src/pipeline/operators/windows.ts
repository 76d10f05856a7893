// Interpolation, pooling, padding, sampling and patches under PyTorch's names.

import { type CaseInputs, required } from '../../papers/probe.js'
import * as T from '../../tensor/index.js'
import { type Arguments, channelsFirst, channelsLast, type OperatorTable, onImages } from './operator.js'

const poolOptions = (args: Arguments) => ({
  stride: args.stride as T.PerAxis | undefined,
  padding: args.padding as T.PerAxis | undefined,
  ceil: args.ceil_mode as boolean | undefined,
})

const averagePool = onImages((x, args) =>
  T.averagePool(x, args.kernel_size as T.PerAxis, {
    ...poolOptions(args),
    countPadding: args.count_include_pad as boolean | undefined,
  }),
)
const maxPool = onImages((x, args) =>
  T.maxPool(x, args.kernel_size as T.PerAxis, {
    ...poolOptions(args),
    dilation: args.dilation as T.PerAxis | undefined,
  }),
)
const adaptiveAveragePool = onImages((x, args) => T.adaptiveAveragePool(x, args.output_size as T.PerAxis))
const adaptiveMaxPool = onImages((x, args) => T.adaptiveMaxPool(x, args.output_size as T.PerAxis))

/** PyTorch lists padding from the last axis to the first. */
function pad(x: T.Tensor, args: Arguments): T.Tensor {
  const flat = args.pad as number[]
  const pairs = Array.from({ length: x.rank - 2 }, (_, axis): [number, number] => {
    const at = 2 * (x.rank - 3 - axis)
    return [flat[at] ?? 0, flat[at + 1] ?? 0]
  })
  return T.pad(x, pairs, args.mode === 'constant' ? 'zeros' : (args.mode as T.PadMode))
}

const unfoldOptions = (args: Arguments) => ({
  stride: args.stride as T.PerAxis | undefined,
  padding: args.padding as T.PerAxis | undefined,
  dilation: args.dilation as T.PerAxis | undefined,
})

function gridSample(given: CaseInputs, args: Arguments): T.Tensor {
  const out = T.gridSample(channelsLast(required(given, 'input')), required(given, 'grid'), {
    mode: args.mode as T.GridSampleOptions['mode'],
    padding: args.padding_mode as T.GridSampleOptions['padding'],
    alignCorners: args.align_corners as boolean,
  })
  return channelsFirst(out)
}

export const windowOperators: OperatorTable = {
  interpolate: onImages((x, args) =>
    T.interpolate(x, {
      size: (args.size as T.PerAxis | null) ?? undefined,
      scale: (args.scale_factor as T.PerAxis | null) ?? undefined,
      mode: args.mode as T.InterpolationMode,
      alignCorners: (args.align_corners as boolean | null) ?? undefined,
      antialias: args.antialias as boolean | undefined,
      recomputeScale: args.recompute_scale_factor as boolean | undefined,
    }),
  ),
  avg_pool1d: averagePool,
  avg_pool2d: averagePool,
  avg_pool3d: averagePool,
  max_pool1d: maxPool,
  max_pool2d: maxPool,
  max_pool3d: maxPool,
  adaptive_avg_pool1d: adaptiveAveragePool,
  adaptive_avg_pool2d: adaptiveAveragePool,
  adaptive_avg_pool3d: adaptiveAveragePool,
  adaptive_max_pool1d: adaptiveMaxPool,
  adaptive_max_pool2d: adaptiveMaxPool,
  adaptive_max_pool3d: adaptiveMaxPool,
  pad: onImages(pad),
  grid_sample: gridSample,
  affine_grid: (given, args) => {
    const size = (args.size as number[]).slice(2)
    return T.affineGrid(required(given, 'theta'), size, { alignCorners: args.align_corners as boolean })
  },
  pixel_shuffle: onImages((x, args) => T.pixelShuffle(x, args.upscale_factor as number)),
  pixel_unshuffle: onImages((x, args) => T.pixelUnshuffle(x, args.downscale_factor as number)),
  unfold: (given, args) => {
    const input = channelsLast(required(given, 'input'))
    return T.transpose(T.unfold(input, args.kernel_size as T.PerAxis, unfoldOptions(args)))
  },
  fold: (given, args) => {
    const windows = T.transpose(required(given, 'input'))
    const size = args.output_size as [number, number]
    return channelsFirst(T.fold(windows, size, args.kernel_size as T.PerAxis, unfoldOptions(args)))
  },
}
