// Convolutions and transposed convolutions over one to three spatial axes, channels last.
import { type ConvolutionNumbers, launch } from '../../backend/kernels.js'
import type { Operand } from '../../backend/types.js'
import { MambakitError, ShapeError } from '../../errors.js'
import { autocastDtype } from '../autocast.js'
import { differentiable } from '../autograd.js'
import { type Shape, sameShape } from '../shape.js'
import { empty, type Tensor } from '../tensor.js'
import { requireFloat } from './elementwise.js'
import { converted, operand, reduceAxes } from './raw.js'
import { denseLast } from './shape.js'

/** One number for every spatial axis, or one an axis. */
export type PerAxis = number | readonly number[]

/** As a number or numbers: zeros on both sides; pairs: before and after, an axis each. 'same': as many outputs as inputs (stride 1), the larger half at the end. */
export type Padding = PerAxis | readonly (readonly [before: number, after: number])[] | 'same'

export interface ConvolutionOptions {
  /** (Cout). */
  bias?: Tensor | null
  /** Default 1. */
  stride?: PerAxis
  /** Default 0. */
  padding?: Padding
  /** Default 1. */
  dilation?: PerAxis
  /** Groups of channels that see only each other. Default 1. */
  groups?: number
}

export interface TransposedConvolutionOptions extends Omit<ConvolutionOptions, 'padding'> {
  /** Positions that the result loses at its borders. Default 0. */
  padding?: Exclude<Padding, 'same'>
  /** Positions that the result gains at its ends; below stride or dilation. Default 0. */
  outputPadding?: PerAxis
}

interface Geometry {
  readonly kernel: Shape
  readonly stride: Shape
  readonly dilation: Shape
  readonly padding: readonly (readonly [number, number])[]
  readonly groups: number
}

/** One integer of at least `least` for each axis. */
function perAxis(name: string, value: PerAxis, axes: number, least: number): readonly number[] {
  const values = typeof value === 'number' ? new Array<number>(axes).fill(value) : value
  if (values.length !== axes || values.some((n) => !Number.isInteger(n) || n < least))
    throw new MambakitError(`${name}: expected an integer of at least ${least}, or ${axes} of them; got ${value}`)
  return values
}

function geometryOf(operation: string, weight: Tensor, options: ConvolutionOptions): Geometry {
  const kernel = weight.shape.slice(2)
  const axes = kernel.length
  const stride = perAxis(`${operation}: stride`, options.stride ?? 1, axes, 1)
  const dilation = perAxis(`${operation}: dilation`, options.dilation ?? 1, axes, 1)
  const { padding: wanted = 0, groups = 1 } = options
  const common = { kernel, stride, dilation, groups }
  if (wanted === 'same') {
    if (stride.some((s) => s !== 1)) throw new MambakitError(`${operation}: expected stride 1 with padding 'same'`)
    const whole = kernel.map((k, axis) => (k - 1) * dilation[axis])
    return { ...common, padding: whole.map((n) => [Math.floor(n / 2), Math.ceil(n / 2)] as const) }
  }
  const pairs = typeof wanted !== 'number' && wanted.some((each) => typeof each !== 'number')
  const [before, after] = pairs
    ? [0, 1].map((side) => (wanted as readonly (readonly [number, number])[]).map((pair) => pair[side]))
    : [wanted as PerAxis, wanted as PerAxis]
  const [first, last] = [before, after].map((side) => perAxis(`${operation}: padding`, side, axes, 0))
  return { ...common, padding: first.map((n, axis) => [n, last[axis]] as const) }
}

/** Shapes that do not fit are told in one line; `inChannels` and `outChannels` are axes of the weight. */
function requireShapes(operation: string, input: Tensor, weight: Tensor, inChannels: number, groups: number): void {
  const layout = operation === 'convolution' ? '(Cout, Cin/groups, ...kernel)' : '(Cin, Cout/groups, ...kernel)'
  if (input.rank < 3 || input.rank > 5 || weight.rank !== input.rank)
    throw new ShapeError(
      operation,
      [input.shape, weight.shape],
      `expected input (B, ...spatial, Cin) of 1 to 3 spatial axes and weight ${layout}`,
    )
  const channels = input.shape[input.rank - 1]
  const fits = Number.isInteger(groups) && groups > 0 && weight.shape[0] % groups === 0 && inChannels === channels
  if (!fits)
    throw new ShapeError(
      operation,
      [input.shape, weight.shape],
      `expected weight ${layout} for ${channels} input channels in ${groups} groups`,
    )
}

function requireBias(operation: string, bias: Tensor | null | undefined, channels: number): void {
  if (bias && !sameShape(bias.shape, [channels]))
    throw new ShapeError(operation, [bias.shape], `expected a bias of ${channels}`)
}

function requireExtents(operation: string, input: Tensor, weight: Tensor, extents: Shape): void {
  if (extents.some((n) => n < 1))
    throw new ShapeError(
      operation,
      [input.shape, weight.shape],
      `expected an input at least as large as the kernel, padding included, for a result of (${extents.join(', ')})`,
    )
}

/** The operand with three spatial axes; they lie from axis `first` on. */
function threeAxes(tensor: Tensor, first: number): Operand {
  const missing = 5 - tensor.rank
  const widened = (values: Shape, filler: number) => [
    ...values.slice(0, first),
    ...new Array<number>(missing).fill(filler),
    ...values.slice(first),
  ]
  return operand(tensor, widened(tensor.shape, 1), widened(tensor.strides, 0))
}

const image = (tensor: Tensor) => threeAxes(tensor, 1)
const filter = (tensor: Tensor) => threeAxes(tensor, 2)

function numbersOf({ stride, dilation, padding, groups }: Geometry): ConvolutionNumbers {
  const three = (values: readonly number[], filler: number) => [
    ...new Array<number>(3 - values.length).fill(filler),
    ...values,
  ]
  const [s, d] = [three(stride, 1), three(dilation, 1)]
  const p = three(
    padding.map(([before]) => before),
    0,
  )
  return {
    ...{ strideT: s[0], strideH: s[1], strideW: s[2] },
    ...{ dilationT: d[0], dilationH: d[1], dilationW: d[2] },
    ...{ paddingT: p[0], paddingH: p[1], paddingW: p[2] },
    groups,
  }
}

/**
 * out[b, o, n] = bias[n] + sum over taps k and channels c of weight[n, c, k] input[b, o stride - padding + k dilation, c],
 * zeros lying around the input. input (B, ...spatial, Cin) of 1 to 3 spatial axes, weight (Cout, Cin/groups, ...kernel) in
 * PyTorch's layout; out (B, ...spatial', Cout) of the input's dtype. Throws ShapeError where they do not fit.
 * On the CPU, 3 x 3 taps on maps of at least 14 x 14 positions and 16 channels are summed by the minimal algorithm
 * F(4 x 4, 3 x 3): its rounding errors are about twice those of sums one by one, and a NaN or an infinity reaches all of a
 * tile of 4 x 4 results.
 * mirrors: torch.nn.functional.conv1d, conv2d, conv3d
 */
export function convolution(input: Tensor, weight: Tensor, options: ConvolutionOptions = {}): Tensor {
  const { bias } = options
  requireFloat('convolution', input, weight, bias)
  const geometry = geometryOf('convolution', weight, options)
  const { kernel, stride, dilation, padding, groups } = geometry
  requireShapes('convolution', input, weight, weight.shape[1] * groups, groups)
  const [batch, ...extents] = input.shape.slice(0, -1)
  const outChannels = weight.shape[0]
  requireBias('convolution', bias, outChannels)
  const outExtents = extents.map((n, axis) => {
    const room = n + padding[axis][0] + padding[axis][1] - (kernel[axis] - 1) * dilation[axis] - 1
    return Math.floor(room / stride[axis]) + 1
  })
  requireExtents('convolution', input, weight, outExtents)
  const numbers = numbersOf(geometry)
  const mixed = autocastDtype()
  const made = { input: denseLast(input), weight: denseLast(weight) }
  return differentiable({
    name: 'convolution',
    inputs: [made.input, made.weight, bias],
    forward: () => {
      if (mixed) {
        made.input = converted(made.input, mixed)
        made.weight = converted(made.weight, mixed)
      }
      const out = empty(input.backend, [batch, ...outExtents, outChannels], made.input.dtype)
      const operands = { input: image(made.input), weight: filter(made.weight), bias, out: image(out) }
      launch(input.backend, 'convolution', operands, numbers)
      return out
    },
    save: () => [made.input, made.weight],
    backward: ([gradOut], [x, w], needed) => {
      const g = image(gradOut!)
      const { backend } = x
      const gradIn = needed[0] ? empty(backend, x.shape, input.dtype) : null
      if (gradIn)
        launch(backend, 'convolutionGradInput', { gradOut: g, weight: filter(w), gradIn: image(gradIn) }, numbers)
      const gradWeight = needed[1] ? empty(backend, w.shape, weight.dtype) : null
      const gradBias = bias && needed[2] ? empty(backend, bias.shape, bias.dtype) : null
      if (gradWeight) {
        const operands = { input: image(x), gradOut: g, gradWeight: filter(gradWeight), gradBias }
        launch(backend, 'convolutionGradWeight', operands, numbers)
      } else if (gradBias) return [gradIn, null, channelSums(gradOut!, bias!)]
      return [gradIn, gradWeight, gradBias]
    },
  })
}

/**
 * The gradient of convolution as a map of its own: every input position adds weight times its values to the outputs that
 * a convolution of the same geometry would have seen it from. input (B, ...spatial, Cin), weight (Cin, Cout/groups,
 * ...kernel); an extent becomes (n - 1) stride - padding + (kernel - 1) dilation + outputPadding + 1.
 * mirrors: torch.nn.functional.conv_transpose1d, conv_transpose2d, conv_transpose3d
 */
export function convolutionTransposed(
  input: Tensor,
  weight: Tensor,
  options: TransposedConvolutionOptions = {},
): Tensor {
  const { bias } = options
  requireFloat('convolutionTransposed', input, weight, bias)
  const geometry = geometryOf('convolutionTransposed', weight, options)
  const { kernel, stride, dilation, padding, groups } = geometry
  requireShapes('convolutionTransposed', input, weight, weight.shape[0], groups)
  const outputPadding = perAxis('convolutionTransposed: outputPadding', options.outputPadding ?? 0, kernel.length, 0)
  if (outputPadding.some((n, axis) => n > 0 && n >= Math.max(stride[axis], dilation[axis])))
    throw new MambakitError(
      `convolutionTransposed: expected outputPadding below stride or dilation, got ${outputPadding}`,
    )
  const [batch, ...extents] = input.shape.slice(0, -1)
  const outChannels = weight.shape[1] * groups
  requireBias('convolutionTransposed', bias, outChannels)
  const outExtents = extents.map((n, axis) => {
    const grown = (n - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + outputPadding[axis] + 1
    return grown - padding[axis][0] - padding[axis][1]
  })
  requireExtents('convolutionTransposed', input, weight, outExtents)
  const numbers = numbersOf(geometry)
  const mixed = autocastDtype()
  const made = { input: denseLast(input), weight: denseLast(weight) }
  return differentiable({
    name: 'convolutionTransposed',
    inputs: [made.input, made.weight, bias],
    forward: () => {
      if (mixed) {
        made.input = converted(made.input, mixed)
        made.weight = converted(made.weight, mixed)
      }
      const out = empty(input.backend, [batch, ...outExtents, outChannels], made.input.dtype)
      const operands = { gradOut: image(made.input), weight: filter(made.weight), bias, gradIn: image(out) }
      launch(input.backend, 'convolutionGradInput', operands, numbers)
      return out
    },
    save: () => [made.input, made.weight],
    backward: ([gradOut], [x, w], needed) => {
      const g = image(gradOut!)
      const { backend } = x
      const gradIn = needed[0] ? empty(backend, x.shape, input.dtype) : null
      if (gradIn) launch(backend, 'convolution', { input: g, weight: filter(w), out: image(gradIn) }, numbers)
      const gradWeight = needed[1] ? empty(backend, w.shape, weight.dtype) : null
      if (gradWeight) {
        const operands = { input: g, gradOut: image(x), gradWeight: filter(gradWeight) }
        launch(backend, 'convolutionGradWeight', operands, numbers)
      }
      return [gradIn, gradWeight, bias && needed[2] ? channelSums(gradOut!, bias) : null]
    },
  })
}

/** The gradient of a bias: sums over everything but channels. */
function channelSums(gradOut: Tensor, bias: Tensor): Tensor {
  const axes = gradOut.shape.slice(0, -1).map((_, axis) => axis)
  return converted(reduceAxes('sum', gradOut, axes), bias.dtype)
}
