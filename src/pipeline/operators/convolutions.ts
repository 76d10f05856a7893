// Convolutions and patch embeddings under PyTorch's names.
import { type CaseInputs, required } from '../../papers/probe.js'
import * as T from '../../tensor/index.js'
import { type Arguments, channelsFirst, channelsLast, type OperatorTable, optional } from './operator.js'

/** PyTorch's padding, and zeros that the case asks for beside it (last axis first, as torch.nn.functional.pad counts). */
function paddingOf(axes: number, args: Arguments): T.Padding {
  const padding = args.padding as Exclude<T.Padding, readonly (readonly [number, number])[]>
  const before = args.pad_before as number[] | undefined
  if (padding === 'same' || !before) return padding
  return Array.from({ length: axes }, (_, axis) => {
    const own = typeof padding === 'number' ? padding : padding[axis]
    const at = 2 * (axes - 1 - axis)
    return [own + before[at], own + before[at + 1]] as const
  })
}

function convolution(given: CaseInputs, args: Arguments): T.Tensor {
  const input = required(given, 'input')
  const out = T.convolution(channelsLast(input), required(given, 'weight'), {
    bias: optional(given, 'bias'),
    stride: args.stride as T.PerAxis,
    padding: paddingOf(input.rank - 2, args),
    dilation: args.dilation as T.PerAxis,
    groups: args.groups as number,
  })
  return channelsFirst(out)
}

function convolutionTransposed(given: CaseInputs, args: Arguments): T.Tensor {
  const out = T.convolutionTransposed(channelsLast(required(given, 'input')), required(given, 'weight'), {
    bias: optional(given, 'bias'),
    stride: args.stride as T.PerAxis,
    padding: args.padding as T.PerAxis,
    outputPadding: args.output_padding as T.PerAxis,
    dilation: args.dilation as T.PerAxis,
    groups: args.groups as number,
  })
  return channelsFirst(out)
}

/** Images to tokens: a convolution, its positions in a row, LayerNorm. */
function patchEmbed(given: CaseInputs, args: Arguments): T.Tensor {
  const patches = T.convolution(channelsLast(required(given, 'input')), required(given, 'weight'), {
    bias: optional(given, 'bias'),
    stride: args.stride as T.PerAxis,
    padding: args.padding as T.PerAxis,
  })
  const tokens = T.reshape(patches, [patches.shape[0], -1, patches.shape[3]])
  return T.layerNorm(tokens, {
    weight: optional(given, 'norm.weight'),
    bias: optional(given, 'norm.bias'),
    eps: args.layer_norm_eps as number,
  })
}

export const convolutionOperators: OperatorTable = {
  conv1d: convolution,
  conv2d: convolution,
  conv3d: convolution,
  conv_transpose1d: convolutionTransposed,
  conv_transpose2d: convolutionTransposed,
  conv_transpose3d: convolutionTransposed,
  patch_embed: patchEmbed,
}
