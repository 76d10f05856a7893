// One token's way through a Mamba layer, in place and without gradients: the two halves of a decoding step, and the sum
// that ends it.
import { launch } from '../../backend/kernels.js'
import { autocastDtype } from '../autocast.js'
import { empty, type Tensor } from '../tensor.js'
import { gemmInto } from './linear.js'

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
}

/** stream (B, d) float32 -> [x, z] (B, 2D), float32 or what `autocast` says: norm, in_proj, and the convolution with SiLU of the x half. */
export function mambaStepIn(stream: Tensor, { eps, ...operands }: MambaStepIn): Tensor {
  const out = empty(stream.backend, [stream.shape[0], operands.weight.shape[0]], autocastDtype() ?? 'float32')
  launch(stream.backend, 'mambaStepIn', { input: stream, ...operands, out }, { eps })
  return out
}

export interface MambaStepScan {
  /** [dt, B, C] (B, R + 2N), what x_proj makes of x. */
  readonly projected: Tensor
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

/** [x, z] (B, 2D) -> y (B, D) of its dtype: dt_proj, one step of the scan, and the gate. */
export function mambaStepScan(xz: Tensor, operands: MambaStepScan): Tensor {
  const [batch, channels] = operands.state.shape
  const out = empty(xz.backend, [batch, channels], xz.dtype)
  launch(xz.backend, 'mambaStepScan', { xz, ...operands, out }, {})
  return out
}

/** stream (B, d) += input (B, n) weight (d, n)^T, in place. */
export function addProjected(stream: Tensor, input: Tensor, weight: Tensor): void {
  gemmInto(input, weight, stream, { transposeB: true, accumulate: true })
  stream.storage.version++
}
