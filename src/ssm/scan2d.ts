// The selective scan over a map along several directions, in one kernel call: the input is read where it lies, and the
// directions add up where they meet.
import { ShapeError } from '../errors.js'
import { reshape, selectiveScan, type Tensor } from '../tensor/index.js'
import { localWindow, type ScanPath } from './scan-paths.js'

export interface Scan2dParameters {
  /** Step sizes (B, L, K D), or (B, L, D) for all directions; with `byStep` T steps instead of L positions. */
  delta: Tensor
  /** (K D, N), negative. */
  A: Tensor
  /** (B, L, N), or (B, L, G, N) with G a multiple of K. */
  B: Tensor
  C: Tensor
  /** (K D). */
  D?: Tensor | null
  deltaBias?: Tensor | null
  /** Gate, of the input's shape. */
  z?: Tensor | null
}

export interface Scan2dOptions {
  /** delta, B and C are those of the step, not of the position it comes to. Default false. */
  byStep?: boolean
  /** Locally bidirectional inside windows of so many steps, or of as many as the length asks for. Default 0. */
  window?: number | 'by length'
}

/**
 * The sum over the directions k of `path` of selective scans with softplus: direction k, with channels [k D, (k+1) D) of
 * the parameters, runs through the positions path.directions[k]. input (B, H, W, D) or (B, L, D), L = H W -> its shape.
 * Positions that no direction visits give 0.
 */
export function scan2d(
  input: Tensor,
  parameters: Scan2dParameters,
  path: ScanPath,
  options: Scan2dOptions = {},
): Tensor {
  const { delta, A, B, C, D, deltaBias, z } = parameters
  const { height, width, steps } = path
  const grid = input.rank === 4
  const positions = grid ? input.shape[1] * input.shape[2] : input.shape[1]
  if (positions !== height * width || (grid && input.shape[1] !== height))
    throw new ShapeError('scan2d', [input.shape], `expected a map of ${height} x ${width}`)
  const inTokens = (x: Tensor) => (x.rank === 4 ? reshape(x, [x.shape[0], positions, x.shape[3]]) : x)
  const { byStep, window = 0 } = options
  const { out } = selectiveScan(inTokens(input), delta, A, B, C, {
    ...{ D, deltaBias, byStep },
    z: z && inTokens(z),
    deltaSoftplus: true,
    path: path.on(input.backend),
    merge: true,
    window: window === 'by length' ? localWindow(steps) : window,
  })
  return grid ? reshape(out, input.shape) : out
}
