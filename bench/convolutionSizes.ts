// The convolutions that are measured: square images, kernels and strides.
export interface ConvolutionSize {
  readonly name: string
  readonly batch: number
  readonly extent: number
  readonly inChannels: number
  readonly outChannels: number
  readonly kernel: number
  readonly stride: number
  readonly padding: number
  readonly groups: number
  /** What the speed of the faster peer should be reached by, on the native device. */
  readonly goal?: number
}

const image = { extent: 56, inChannels: 96, outChannels: 96, stride: 1 } as const
const dense = { ...image, kernel: 3, padding: 1, groups: 1 } as const
const depthwise = (kernel: number) => ({ ...image, kernel, padding: kernel >> 1, groups: 96 })

export const convolutionSizes: readonly ConvolutionSize[] = [
  { name: 'dense 3x3', batch: 1, ...dense, goal: 1 },
  { name: 'dense 3x3', batch: 16, ...dense, goal: 1 },
  { name: 'depth-wise 7x7', batch: 1, ...depthwise(7), goal: 1 },
  { name: 'depth-wise 7x7', batch: 16, ...depthwise(7), goal: 2 },
  { name: 'depth-wise 3x3', batch: 1, ...depthwise(3), goal: 1 },
  { name: 'depth-wise 3x3', batch: 16, ...depthwise(3), goal: 2 },
]

export const quickSizes: readonly ConvolutionSize[] = [
  { ...dense, name: 'dense 3x3', batch: 1, extent: 14 },
  { ...depthwise(7), name: 'depth-wise 7x7', batch: 1, extent: 14 },
]

/** Floating-point operations, a multiply-add being two. */
export function flopsOf({ batch, extent, inChannels, outChannels, kernel, stride, padding, groups }: ConvolutionSize) {
  const out = Math.floor((extent + 2 * padding - kernel) / stride) + 1
  return 2 * batch * out * out * outChannels * (inChannels / groups) * kernel * kernel
}
