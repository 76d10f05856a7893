// Cases of the convolution over three axes and its gradients: strides, dilations, groups, padding, odd sizes, views,
// storage, NaN; sizes around the tiles of the fast forms.
import type { ConvolutionNumbers } from '../kernels.js'
import type { Dtype } from '../types.js'
import { Draw, type HostOperand, type KernelCase, kernelCase, output } from './operands.js'

export interface ConvolutionShape {
  readonly batch: number
  /** One to three extents of the input; the first are 1 where there are fewer. */
  readonly extents: readonly number[]
  readonly inChannels: number
  readonly outChannels: number
  readonly kernel: readonly number[]
  readonly stride?: readonly number[]
  readonly dilation?: readonly number[]
  /** Before and after, for each axis. Default 0. */
  readonly padding?: readonly (readonly [number, number])[]
  readonly groups?: number
  readonly bias?: boolean
  readonly dtype?: Dtype
  /** Dtype of weight and bias. Default float32. */
  readonly weightDtype?: Dtype
  /** Unused elements after each position of images. */
  readonly pad?: number
}

const three = <T>(values: readonly T[], first: T): T[] => [...new Array<T>(3 - values.length).fill(first), ...values]

/** The operands and numbers of all three kernels. */
export function convolutionProblem(draw: Draw, shape: ConvolutionShape) {
  const { batch, inChannels, outChannels, groups = 1, bias = true, pad = 0 } = shape
  const { dtype = 'float32', weightDtype = 'float32' } = shape
  const extents = three(shape.extents, 1)
  const kernel = three(shape.kernel, 1)
  const stride = three(shape.stride ?? shape.kernel.map(() => 1), 1)
  const dilation = three(shape.dilation ?? shape.kernel.map(() => 1), 1)
  const padding = three(shape.padding ?? shape.kernel.map(() => [0, 0] as const), [0, 0] as const)
  const outExtents = extents.map((n, axis) => {
    const room = n + padding[axis][0] + padding[axis][1] - (kernel[axis] - 1) * dilation[axis] - 1
    return Math.floor(room / stride[axis]) + 1
  })
  const inShape = [batch, ...extents, inChannels]
  const outShape = [batch, ...outExtents, outChannels]
  const weightShape = [outChannels, inChannels / groups, ...kernel]
  const numbers: ConvolutionNumbers = {
    ...{ strideT: stride[0], strideH: stride[1], strideW: stride[2] },
    ...{ dilationT: dilation[0], dilationH: dilation[1], dilationW: dilation[2] },
    ...{ paddingT: padding[0][0], paddingH: padding[1][0], paddingW: padding[2][0] },
    groups,
  }
  const image = { dtype, pad, offset: pad }
  const parameter = { dtype: weightDtype }
  return {
    numbers,
    input: draw.floats(inShape, -1, 1, image),
    weight: draw.floats(weightShape, -1, 1, parameter),
    bias: bias ? draw.floats([outChannels], -1, 1, parameter) : null,
    /** For the transposed convolution. */
    inBias: bias ? draw.floats([inChannels], -1, 1, parameter) : null,
    gradOut: draw.floats(outShape, -1, 1, image),
    out: output(outShape, image),
    gradIn: output(inShape, image),
    gradWeight: output(weightShape, parameter),
    gradBias: bias ? output([outChannels], parameter) : null,
  }
}

const same = (...kernel: number[]) => kernel.map((k) => [Math.floor((k - 1) / 2), Math.ceil((k - 1) / 2)] as const)
const plain = { batch: 2, extents: [9, 7], inChannels: 5, outChannels: 6, kernel: [3, 3], padding: same(3, 3) } as const
/** Large enough for the form that computes tiles of results together, with a rest on both sides. */
const tiled = { ...plain, extents: [15, 18], inChannels: 18, outChannels: 37 } as const
const depthwise = (channels: number, kernel: readonly number[], more: Partial<ConvolutionShape> = {}) => ({
  ...{ batch: 2, extents: [9, 7], inChannels: channels, outChannels: channels, groups: channels },
  ...{ kernel, padding: same(...kernel), ...more },
})

const shapes: readonly (readonly [string, ConvolutionShape])[] = [
  ['one of each', { batch: 1, extents: [1], inChannels: 1, outChannels: 1, kernel: [1] }],
  ['no images', { ...plain, batch: 0 }],
  ['no images, depth-wise', depthwise(20, [3, 3], { batch: 0 })],
  ['3x3', plain],
  ['3x3 without bias', { ...plain, bias: false }],
  ['3x3 without padding', { ...plain, padding: undefined }],
  ['3x3 by 2', { ...plain, stride: [2, 2] }],
  ['3x3 by 2 and 3 with a rest', { ...plain, extents: [10, 12], stride: [2, 3] }],
  ['1x1', { ...plain, kernel: [1, 1], padding: undefined }],
  ['1x1 by 2', { ...plain, kernel: [1, 1], padding: undefined, stride: [2, 2] }],
  ['1x1 padded', { ...plain, kernel: [1, 1], padding: same(2, 3) }],
  ['dilated by 2 and 3', { ...plain, dilation: [2, 3], padding: [[2, 2], [3, 3]] }], // biome-ignore format: pairs
  ['even kernels', { ...plain, kernel: [2, 4], padding: same(2, 4) }],
  ['asymmetric padding', { ...plain, padding: [[0, 2], [3, 0]] }], // biome-ignore format: pairs
  ['asymmetric, strided, dilated', { ...plain, stride: [3, 2], dilation: [1, 2], padding: [[1, 0], [0, 3]] }], // biome-ignore format: pairs
  ['padding beyond the kernel', { ...plain, padding: [[4, 5], [3, 3]] }], // biome-ignore format: pairs
  ['a kernel beyond the input', { ...plain, extents: [2, 3], kernel: [5, 7], padding: same(5, 7) }],
  ['a stride beyond the kernel', { ...plain, kernel: [2, 2], padding: undefined, stride: [3, 4] }],
  ['grouped', { ...plain, inChannels: 6, outChannels: 9, groups: 3 }],
  [
    'grouped, strided, dilated',
    { ...plain, inChannels: 8, outChannels: 4, groups: 2, stride: [2, 1], dilation: [2, 2] },
  ],
  ['groups of whole tiles', { ...plain, inChannels: 34, outChannels: 66, groups: 2 }],
  ['a stem', { ...plain, extents: [19, 21], inChannels: 3, outChannels: 40, stride: [2, 2] }],
  [
    'a stem of patches',
    { ...plain, extents: [16, 21], inChannels: 3, outChannels: 33, kernel: [4, 4], stride: [4, 4], padding: undefined },
  ],
  ['around tiles', { ...plain, batch: 1, extents: [13, 25], inChannels: 33, outChannels: 65 }],
  ['tiles of results', tiled],
  ['tiles of results, asymmetric padding, no bias', { ...tiled, padding: [[0, 3], [2, 0]], bias: false }], // biome-ignore format: pairs
  ['tiles of results, 3-D', { ...tiled, extents: [3, 14, 14], kernel: [1, 3, 3], padding: same(1, 3, 3) }],
  ['tiles of results, padded rows, float16', { ...tiled, dtype: 'float16', pad: 3 }],
  ['many channels', { ...plain, batch: 1, extents: [5, 6], inChannels: 130, outChannels: 70 }],
  ['one row of many', { ...plain, extents: [1, 70], kernel: [1, 5], padding: same(1, 5) }],
  ['1-D', { ...plain, extents: [23], kernel: [5], padding: same(5) }],
  ['1-D causal by 2', { ...plain, extents: [23], kernel: [4], padding: [[3, 0]], stride: [2] }],
  ['3-D', { ...plain, extents: [4, 5, 6], kernel: [3, 3, 3], padding: same(3, 3, 3) }],
  ['3-D, strided, grouped', { ...plain, inChannels: 4, extents: [5, 6, 7], kernel: [2, 3, 1], stride: [2, 1, 2], dilation: [1, 2, 1], padding: [[1, 0], [0, 2], [0, 1]], groups: 2 }], // biome-ignore format: pairs
  ['3-D depth-wise', depthwise(19, [3, 3, 3], { extents: [4, 5, 6] })],
  ...[1, 7, 16, 17, 33, 70].map(
    (channels) => [`depth-wise 3x3, C = ${channels}`, depthwise(channels, [3, 3])] as const,
  ),
  ...[1, 2, 5, 7, 9, 11].map((k) => [`depth-wise ${k}x${k}`, depthwise(20, [k, k], { extents: [11, 18] })] as const),
  ['depth-wise 3x3, wide', depthwise(18, [3, 3], { batch: 1, extents: [14, 35] })],
  ['depth-wise 7x7, wide', depthwise(18, [7, 7], { batch: 1, extents: [8, 35] })],
  ['depth-wise 3x3 to one column', depthwise(18, [3, 3], { extents: [9, 3], padding: undefined })],
  ['depth-wise 3x3 by 2', depthwise(20, [3, 3], { stride: [2, 2], extents: [12, 31] })],
  ['depth-wise 7x7 by 2 and 4', depthwise(20, [7, 7], { stride: [2, 4], extents: [12, 31] })],
  ['depth-wise, dilated', depthwise(20, [3, 3], { dilation: [2, 3], extents: [12, 31], padding: [[2, 2], [3, 3]] })], // biome-ignore format: pairs
  ['depth-wise 3x3 without bias', depthwise(20, [3, 3], { bias: false })],
  ['depth-wise without padding or bias', depthwise(20, [3, 3], { padding: undefined, bias: false })],
  ['depth-wise, asymmetric, even', depthwise(20, [4, 2], { padding: [[3, 0], [0, 1]] })], // biome-ignore format: pairs
  ['depth-wise, padded beyond the kernel', depthwise(20, [3, 3], { padding: [[4, 3], [3, 5]] })], // biome-ignore format: pairs
  ['depth-wise in one row', depthwise(20, [1, 11], { extents: [3, 40] })],
  ['depth-wise, larger than the input', depthwise(20, [7, 7], { extents: [3, 2] })],
  ['depth-wise 7x7 on tiny images', depthwise(20, [7, 7], { batch: 5, extents: [2, 2] })],
  ['3x3 by 2 on tiny images', { ...plain, batch: 5, extents: [2, 2], stride: [2, 2] }],
  ['a stride beyond the input', { ...plain, extents: [1, 2], kernel: [1, 1], padding: undefined, stride: [4, 3] }],
  ['a pass without taps', { ...plain, batch: 3, extents: [4], kernel: [5], stride: [3], dilation: [2], padding: [[1, 6]] }], // biome-ignore format: pairs
  ['patches of 8', { ...plain, extents: [16, 17], kernel: [8, 8], stride: [8, 8], padding: undefined }],
  ['multiplier 2', { ...depthwise(9, [3, 3]), outChannels: 18 }],
  ['multiplier 3, strided', { ...depthwise(5, [3, 2], { stride: [2, 1] }), outChannels: 15 }],
  ['padded rows', { ...plain, pad: 3 }],
  ['padded rows, depth-wise', depthwise(20, [3, 3], { pad: 5 })],
  ['padded rows, 1x1', { ...plain, kernel: [1, 1], padding: undefined, pad: 2 }],
  ['float16', { ...plain, dtype: 'float16', weightDtype: 'float16' }],
  ['float16 with float32 weights', { ...plain, dtype: 'float16', pad: 1 }],
  ['bfloat16', { ...plain, dtype: 'bfloat16', weightDtype: 'bfloat16', pad: 1 }],
  ['bfloat16, depth-wise', depthwise(20, [3, 3], { dtype: 'bfloat16', weightDtype: 'bfloat16', pad: 1 })],
  ['float16, depth-wise by 2', depthwise(20, [3, 3], { dtype: 'float16', stride: [2, 2] })],
  ['float16, 1x1', { ...plain, kernel: [1, 1], padding: undefined, dtype: 'float16' }],
]

/** One value of an image becomes NaN, away from its borders: its middle row and column, in the first of the batch. */
function spoiled(operand: HostOperand): HostOperand {
  const [, t, h, w] = operand.shape
  const { strides, offset } = operand
  const values = operand.memory.values.slice()
  values[offset + (t >> 1) * strides[1] + (h >> 1) * strides[2] + (w >> 1) * strides[3]] = Number.NaN
  return { ...operand, memory: { ...operand.memory, values } }
}

export function* convolutionCases(): Generator<KernelCase> {
  for (const [i, [name, shape]] of shapes.entries())
    yield* convolutionCasesOf(name, convolutionProblem(new Draw(8000 + i), shape))
  for (const [name, shape] of [
    ['NaN', plain],
    ['NaN, depth-wise', depthwise(20, [3, 3])],
  ] as const) {
    const problem = convolutionProblem(new Draw(8500), shape)
    yield* convolutionCasesOf(name, { ...problem, input: spoiled(problem.input), gradOut: spoiled(problem.gradOut) })
  }
  // Sums over more positions than a block of them holds.
  for (const [name, shape] of [
    ['many positions', { ...plain, extents: [70, 90], inChannels: 3, outChannels: 5 }],
    ['many positions, depth-wise', depthwise(5, [3, 3], { extents: [70, 90] })],
  ] as const)
    yield* convolutionCasesOf(name, convolutionProblem(new Draw(8600), shape))
}

/** A case of each of the three kernels. */
export function* convolutionCasesOf(
  name: string,
  problem: ReturnType<typeof convolutionProblem>,
): Generator<KernelCase> {
  const { numbers, input, weight, bias, inBias, gradOut, out, gradIn, gradWeight, gradBias } = problem
  yield kernelCase('convolution', name, { input, weight, bias, out }, numbers)
  yield kernelCase('convolutionGradInput', name, { gradOut, weight, bias: inBias, gradIn }, numbers)
  yield kernelCase('convolutionGradWeight', name, { input, gradOut, gradWeight, gradBias }, numbers)
}
