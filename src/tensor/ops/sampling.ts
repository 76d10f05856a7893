// Sampling of images at any points, and the grids of points that affine maps make.
import { launch } from '../../backend/kernels.js'
import { MambakitError, ShapeError } from '../../errors.js'
import { differentiable } from '../autograd.js'
import { tensor } from '../create.js'
import { elementCount, sameShape } from '../shape.js'
import { empty, type Tensor } from '../tensor.js'
import { requireFloat } from './elementwise.js'
import { matmul } from './linear.js'
import { converted, dense, operand } from './raw.js'
import { reshape } from './shape.js'

const filters = ['bilinear', 'nearest', 'bicubic'] as const
const surroundings = ['zeros', 'border', 'reflection'] as const

export interface GridSampleOptions {
  /** Default 'bilinear', which is trilinear for volumes. 'bicubic' is for images alone. */
  mode?: (typeof filters)[number]
  /** What lies outside. Default 'zeros'. */
  padding?: (typeof surroundings)[number]
  /** -1 and 1 are the middles of the first and last cells, not their outer edges. Default false. */
  alignCorners?: boolean
}

/**
 * Values of input (B, H, W, C) or (B, D, H, W, C) at the points of grid (B, ...out, 2 or 3), which are (x, y) or
 * (x, y, z): (B, ...out, C). Gradients flow to both. mirrors: torch.nn.functional.grid_sample
 */
export function gridSample(input: Tensor, grid: Tensor, options: GridSampleOptions = {}): Tensor {
  requireFloat('gridSample', input, grid)
  const { mode = 'bilinear', padding = 'zeros', alignCorners = false } = options
  const axes = input.rank - 2
  if ((axes !== 2 && axes !== 3) || grid.rank < 2 || grid.shape[grid.rank - 1] !== axes)
    throw new ShapeError(
      'gridSample',
      [input.shape, grid.shape],
      'expected (B, H, W, C) with a grid (B, ..., 2), or (B, D, H, W, C) with a grid (B, ..., 3)',
    )
  if (grid.shape[0] !== input.shape[0])
    throw new ShapeError('gridSample', [input.shape, grid.shape], 'expected as many grids as images')
  if (mode === 'bicubic' && axes === 3)
    throw new MambakitError('gridSample: bicubic sampling is for images, not for volumes')
  const { backend } = input
  const [batch, channels] = [input.shape[0], input.shape[input.rank - 1]]
  const [depth, height, width] = axes === 3 ? input.shape.slice(1, 4) : [1, ...input.shape.slice(1, 3)]
  const lead = grid.shape.slice(0, -1)
  const points = elementCount(lead.slice(1))
  const numbers = {
    ...{ depth, height, width },
    filter: filters.indexOf(mode),
    outside: surroundings.indexOf(padding),
    alignCorners: alignCorners ? 1 : 0,
  }
  const rows = (x: Tensor, n: number, inner: number) => operand(x, [batch, n, inner], [n * inner, inner, 1])
  const cells = (x: Tensor) => rows(x, depth * height * width, channels)
  const atPoints = (x: Tensor, inner: number) => rows(x, points, inner)
  return differentiable({
    name: 'gridSample',
    inputs: [input, grid],
    forward: () => {
      const out = empty(backend, [...lead, channels], input.dtype)
      const views = {
        input: cells(dense(input)),
        grid: atPoints(converted(dense(grid), 'float32'), axes),
        out: atPoints(out, channels),
      }
      launch(backend, 'gridSample', views, numbers)
      return out
    },
    save: () => [input, grid],
    backward: ([gradOut], [x, at], [inputNeeded, gridNeeded]) => {
      const gradIn = inputNeeded ? empty(backend, x.shape, x.dtype) : null
      const gradGrid = gridNeeded ? empty(backend, at.shape, 'float32') : null
      const views = {
        input: cells(dense(x)),
        grid: atPoints(converted(dense(at), 'float32'), axes),
        gradOut: atPoints(dense(gradOut!), channels),
        gradIn: gradIn && cells(gradIn),
        gradGrid: gradGrid && atPoints(gradGrid, axes),
      }
      launch(backend, 'gridSampleGrad', views, numbers)
      return [gradIn, gradGrid && converted(gradGrid, at.dtype)]
    },
  })
}

/**
 * The points that affine maps theta (B, 2, 3) or (B, 3, 4) make of the cells of an image of `size` [H, W] or volume
 * [D, H, W]: (B, ...size, 2 or 3). mirrors: torch.nn.functional.affine_grid
 */
export function affineGrid(theta: Tensor, size: readonly number[], options: { alignCorners?: boolean } = {}): Tensor {
  requireFloat('affineGrid', theta)
  const axes = size.length
  const [batch] = theta.shape
  if ((axes !== 2 && axes !== 3) || !sameShape(theta.shape, [batch, axes, axes + 1]))
    throw new ShapeError('affineGrid', [theta.shape], `expected theta (B, ${axes}, ${axes + 1}) for ${axes} axes`)
  const { alignCorners = false } = options
  const place = (i: number, n: number) => (alignCorners ? (n > 1 ? (2 * i) / (n - 1) - 1 : 0) : (2 * i + 1) / n - 1)
  const count = elementCount(size)
  const base = new Float32Array(count * (axes + 1)).fill(1)
  for (let p = 0; p < count; p++)
    for (let axis = axes - 1, rest = p; axis >= 0; rest = Math.floor(rest / size[axis--]))
      base[p * (axes + 1) + (axes - 1 - axis)] = place(rest % size[axis], size[axis])
  const cells = tensor(base, { shape: [1, count, axes + 1], dtype: theta.dtype, backend: theta.backend })
  return reshape(matmul(cells, theta, { transposeB: true }), [batch, ...size, axes])
}
