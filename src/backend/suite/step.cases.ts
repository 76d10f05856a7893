// Cases of the kernels of one Mamba step: batches, widths, odd sizes, half-precision weights, optional biases.
import type { Dtype } from '../types.js'
import { Draw, type KernelCase, kernelCase, output } from './operands.js'

interface StepShape {
  readonly batch: number
  /** d, D, K, R, N. */
  readonly sizes: readonly [number, number, number, number, number]
  readonly weights?: Dtype
  readonly bare?: boolean
  /** Of what the kernels pass on. Default float32. */
  readonly between?: Dtype
  /** Unused elements after each row. */
  readonly pad?: number
  /** Parts of the stream, and of what x_proj makes. Default 1. */
  readonly parts?: readonly [number, number]
}

const shapes: readonly (readonly [string, StepShape])[] = [
  ['usual', { batch: 1, sizes: [64, 128, 4, 8, 16] }],
  ['several sequences', { batch: 3, sizes: [48, 96, 4, 3, 16], pad: 4 }],
  ['odd sizes', { batch: 2, sizes: [37, 21, 3, 5, 7], pad: 1 }],
  ['one of each', { batch: 1, sizes: [1, 1, 1, 1, 1] }],
  ['long states', { batch: 1, sizes: [20, 12, 2, 2, 40] }],
  ['no biases', { batch: 2, sizes: [36, 20, 4, 4, 8], bare: true }],
  ['float16 weights', { batch: 2, sizes: [136, 72, 4, 9, 16], weights: 'float16' }],
  ['many sequences', { batch: 11, sizes: [24, 40, 4, 4, 16], pad: 2 }],
  ['a stream in parts', { batch: 12, sizes: [32, 48, 4, 4, 16], parts: [4, 3], pad: 4 }],
  ['odd parts', { batch: 9, sizes: [37, 21, 3, 5, 7], parts: [2, 3], pad: 1, bare: true }],
  ['few sequences in parts', { batch: 2, sizes: [20, 24, 4, 4, 8], parts: [3, 2] }],
  ['blocks beyond a workgroup', { batch: 9, sizes: [16, 264, 4, 4, 16], parts: [1, 1] }],
  ['many sequences in float16', { batch: 11, sizes: [24, 40, 4, 4, 16], weights: 'float16', between: 'float16' }],
  ['parts in float16', { batch: 9, sizes: [16, 32, 4, 4, 8], parts: [3, 2], weights: 'float16', between: 'float16' }],
  ['bfloat16 weights', { batch: 1, sizes: [40, 24, 4, 4, 16], weights: 'bfloat16' }],
]

export function* stepCases(): Generator<KernelCase> {
  const draw = new Draw(70)
  for (const [
    name,
    { batch, sizes, weights: dtype = 'float32', between = 'float32', bare = false, pad = 0, parts: [S, P] = [1, 1] },
  ] of shapes) {
    const [d, D, K, R, N] = sizes
    yield kernelCase(
      'mambaStepIn',
      name,
      {
        stream: draw.floats([S, batch, d], -3, 3, { pad }),
        normWeight: draw.floats([d], 0.5, 1.5),
        weight: draw.floats([2 * D, d], -0.5, 0.5, { dtype, pad }),
        bias: bare ? null : draw.floats([2 * D], -1, 1, { dtype }),
        convWeight: draw.floats([D, 1, K], -1, 1),
        convBias: bare ? null : draw.floats([D], -1, 1),
        convState: draw.floats([batch, K, D], -2, 2),
        xWeight: draw.floats([R + 2 * N, D], -0.5, 0.5, { dtype, pad }),
        out: output([batch, 2 * D], { pad, dtype: between }),
        projected: output([P, batch, R + 2 * N], { pad }),
      },
      { eps: 1e-5 },
      // What a GPU normalises in float16 it also rounds before the product.
      between === 'float16' ? { tolerance: { scale: 2e-3, relative: 2e-3 } } : {},
    )
    yield kernelCase(
      'mambaStepScan',
      name,
      {
        xz: draw.floats([batch, 2 * D], -2, 2, { pad, dtype: between }),
        projected: draw.floats([P, batch, R + 2 * N], -1, 1, { pad }),
        dtWeight: draw.floats([D, R], -1, 1, { dtype }),
        dtBias: draw.floats([D], -3, 1),
        A: draw.floats([D, N], -4, -0.1),
        D: draw.floats([D], -1, 1),
        state: draw.floats([batch, D, N], -1, 1),
        out: output([batch, D], { pad, dtype: between }),
      },
      {},
    )
  }
}
