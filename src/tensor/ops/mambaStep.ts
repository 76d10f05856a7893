// One token's way through a Mamba layer, in place and without gradients: the two halves of a decoding step, and the sum
// that ends it. Between layers the residual stream (S, B, d) may lie in parts whose sum it is: a GPU makes the products of
// few rows by parts of their inner axis, and sums them when it reads the stream next.
import { launch } from '../../backend/kernels.js'
import { autocastDtype } from '../autocast.js'
import { zeros } from '../create.js'
import { empty, type Tensor } from '../tensor.js'
import { gemmInto } from './linear.js'
import { sum } from './reduce.js'
import { reshape } from './shape.js'

/** Most sequences whose layers multiply rows one by one: the kernels that do so read a matrix once for each. */
const fewSequences = 8
/** Channels of a part, at most. */
const mostChannels = 128

/** In how many parts a step makes products over D channels: the fewest of one size that are small enough. */
function channelParts({ device }: Tensor['backend'], batch: number, channels: number): number {
  if (device !== 'webgpu' || batch <= fewSequences) return 1
  let parts = Math.ceil(channels / mostChannels)
  while (channels % parts !== 0) parts++
  return parts
}

/** input (B, d) of any dtype -> the residual stream (S, B, d) float32 of layers with D channels, its sum being input. */
export function residualStream(input: Tensor, channels: number): Tensor {
  const { backend } = input
  const [batch, d] = input.shape
  const parts = channelParts(backend, batch, channels)
  const stream = parts === 1 ? empty(backend, [1, batch, d], 'float32') : zeros([1 + parts, batch, d], { backend })
  launch(backend, 'copy', { input, out: stream.view([batch, d]) }, {})
  return stream
}

/** The residual stream (S, B, d) as (B, d). */
export function wholeStream(stream: Tensor): Tensor {
  return stream.shape[0] === 1 ? reshape(stream, stream.shape.slice(1)) : sum(stream, { axis: 0 })
}

export interface MambaStepIn {
  readonly normWeight: Tensor
  readonly eps: number
  /** in_proj, (2D, d). */
  readonly weight: Tensor
  readonly bias?: Tensor | null
  readonly convWeight: Tensor
  readonly convBias?: Tensor | null
  /** (B, K, D) float32, overwritten. */
  readonly convState: Tensor
  /** x_proj, (R + 2N, D). */
  readonly xWeight: Tensor
}

export interface MambaStepInner {
  /** [x, z] (B, 2D), float32 or what `autocast` says. */
  readonly xz: Tensor
  /** (P, B, R + 2N) float32: parts whose sum is [dt, B, C]. */
  readonly projected: Tensor
}

/** stream (S, B, d) -> norm, in_proj, the convolution with SiLU of the x half, and x_proj of it. Part 0 of the stream becomes its sum. */
export function mambaStepIn(stream: Tensor, { eps, ...operands }: MambaStepIn): MambaStepInner {
  const { backend } = stream
  const [, batch] = stream.shape
  const [maps, channels] = operands.xWeight.shape
  const xz = empty(backend, [batch, 2 * channels], autocastDtype() ?? 'float32')
  const projected = empty(backend, [channelParts(backend, batch, channels), batch, maps], 'float32')
  launch(backend, 'mambaStepIn', { stream, ...operands, out: xz, projected }, { eps })
  return { xz, projected }
}

export interface MambaStepScan {
  /** dt_proj, (D, R) and (D). */
  readonly dtWeight: Tensor
  readonly dtBias: Tensor
  /** (D, N). */
  readonly A: Tensor
  /** (D). */
  readonly D: Tensor
  /** (B, D, N) float32, overwritten. */
  readonly state: Tensor
}

/** What mambaStepIn gives -> y (B, D) of its dtype: dt_proj, one step of the scan, and the gate. */
export function mambaStepScan({ xz, projected }: MambaStepInner, operands: MambaStepScan): Tensor {
  const [batch, channels] = operands.state.shape
  const out = empty(xz.backend, [batch, channels], xz.dtype)
  launch(xz.backend, 'mambaStepScan', { xz, projected, ...operands, out }, {})
  return out
}

/** stream (S, B, d) += input (B, n) weight (d, n)^T, in place; all but part 0 are overwritten, being in its sum already. */
export function addProjected(stream: Tensor, input: Tensor, weight: Tensor): void {
  const [S, batch, d] = stream.shape
  const n = weight.shape[1]
  if (S === 1) gemmInto(input, weight, stream.view([batch, d]), { transposeB: true, accumulate: true })
  else {
    const parts = S - 1
    const blocks = (matrix: Tensor, rows: number) =>
      matrix.view([parts, rows, n / parts], [n / parts, matrix.strides[0], 1], matrix.offset)
    const rest = stream.view([parts, batch, d], stream.strides, stream.offset + stream.strides[0])
    launch(
      stream.backend,
      'gemm',
      { a: blocks(input, batch), b: blocks(weight, d), out: rest },
      { transposeA: 0, transposeB: 1, alpha: 1, accumulate: 0, activation: 0 },
    )
  }
  stream.storage.version++
}
