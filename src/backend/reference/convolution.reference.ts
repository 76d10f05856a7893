// Convolution over three axes, channels last, and its gradients, in float64: one loop over pairs of positions that meet.
import type { ConvolutionNumbers } from '../kernels.js'
import type { ReferenceKernel, View } from './view.js'

/** An output position o = (t, h, w), the tap k = (t, h, w) and the input position i that it sees. */
type Position = readonly [number, number, number]
type Meeting = (b: number, o: Position, k: Position, i: Position) => void

function* positions(extents: readonly number[]): Generator<Position> {
  for (let t = 0; t < extents[0]; t++)
    for (let h = 0; h < extents[1]; h++) for (let w = 0; w < extents[2]; w++) yield [t, h, w]
}

/** Calls `meet` for every output position and every tap that lies inside the input. */
function forMeetings(input: View, weight: View, out: View, n: ConvolutionNumbers, meet: Meeting): void {
  const stride = [n.strideT, n.strideH, n.strideW]
  const dilation = [n.dilationT, n.dilationH, n.dilationW]
  const padding = [n.paddingT, n.paddingH, n.paddingW]
  for (let b = 0; b < out.shape[0]; b++)
    for (const o of positions(out.shape.slice(1, 4)))
      for (const k of positions(weight.shape.slice(2))) {
        const at = (axis: number) => o[axis] * stride[axis] - padding[axis] + k[axis] * dilation[axis]
        const i = [at(0), at(1), at(2)] as const
        if (i.every((x, axis) => x >= 0 && x < input.shape[axis + 1])) meet(b, o, k, i)
      }
}

/** Calls `each` for every pair of an output channel n and a channel c of its group; `first` + c is the input channel. */
function forChannels(weight: View, groups: number, each: (n: number, c: number, first: number) => void): void {
  const [outChannels, width] = weight.shape
  for (let n = 0; n < outChannels; n++) {
    const first = Math.floor((n * groups) / outChannels) * width
    for (let c = 0; c < width; c++) each(n, c, first)
  }
}

/** Sets every position of (B, T, H, W, C) to the bias. */
function fillWithBias(out: View, bias: View | null): void {
  for (let b = 0; b < out.shape[0]; b++)
    for (const [t, h, w] of positions(out.shape.slice(1, 4)))
      for (let n = 0; n < out.shape[4]; n++) out.put(bias?.at(n) ?? 0, b, t, h, w, n)
}

export const convolution: ReferenceKernel<'convolution'> = ({ input, weight, bias, out }, numbers) => {
  fillWithBias(out, bias)
  forMeetings(input, weight, out, numbers, (b, [t, h, w], k, [it, ih, iw]) => {
    forChannels(weight, numbers.groups, (n, c, first) => {
      out.add(weight.at(n, c, ...k) * input.at(b, it, ih, iw, first + c), b, t, h, w, n)
    })
  })
}

export const convolutionGradInput: ReferenceKernel<'convolutionGradInput'> = (
  { gradOut, weight, bias, gradIn },
  numbers,
) => {
  fillWithBias(gradIn, bias)
  forMeetings(gradIn, weight, gradOut, numbers, (b, [t, h, w], k, [it, ih, iw]) => {
    forChannels(weight, numbers.groups, (n, c, first) => {
      gradIn.add(weight.at(n, c, ...k) * gradOut.at(b, t, h, w, n), b, it, ih, iw, first + c)
    })
  })
}

export const convolutionGradWeight: ReferenceKernel<'convolutionGradWeight'> = (
  { input, gradOut, gradWeight, gradBias },
  numbers,
) => {
  gradWeight.fill(0)
  forMeetings(input, gradWeight, gradOut, numbers, (b, [t, h, w], k, [it, ih, iw]) => {
    forChannels(gradWeight, numbers.groups, (n, c, first) => {
      gradWeight.add(input.at(b, it, ih, iw, first + c) * gradOut.at(b, t, h, w, n), n, c, ...k)
    })
  })
  if (!gradBias) return
  gradBias.fill(0)
  for (let b = 0; b < gradOut.shape[0]; b++)
    for (const [t, h, w] of positions(gradOut.shape.slice(1, 4)))
      for (let n = 0; n < gradOut.shape[4]; n++) gradBias.add(gradOut.at(b, t, h, w, n), n)
}
