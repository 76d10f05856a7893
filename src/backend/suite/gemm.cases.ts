// Cases of the matrix product: every transpose combination at sizes around tiles, strides, epilogues, storage.
import { activations } from '../kernels.js'
import type { Dtype } from '../types.js'
import { Draw, type KernelCase, kernelCase, operandOf, output } from './operands.js'

const plain = { transposeA: 0, transposeB: 0, alpha: 1, accumulate: 0, activation: 0 }

/** (batch, M, K, N): vectors, odd sizes, sizes one above and below common tiles, and long inner sums. */
const sizes: readonly (readonly [number, number, number, number])[] = [
  [1, 1, 1, 1],
  [1, 1, 7, 5],
  [1, 1, 130, 70],
  [1, 5, 3, 1],
  [3, 4, 5, 6],
  [1, 12, 16, 32],
  [1, 13, 17, 33],
  [2, 63, 65, 31],
  [1, 65, 64, 66],
  [1, 129, 40, 97],
  [1, 33, 515, 20],
  [1, 7, 2049, 3],
]

export function* gemmCases(): Generator<KernelCase> {
  const draw = new Draw(10)
  for (const [batch, m, k, n] of sizes)
    for (const transposeA of [0, 1])
      for (const transposeB of [0, 1]) {
        const operands = {
          a: draw.floats(transposeA ? [batch, k, m] : [batch, m, k], -1, 1, { pad: 3, offset: 1 }),
          b: draw.floats(transposeB ? [batch, n, k] : [batch, k, n], -1, 1, { pad: 1 }),
          out: output([batch, m, n], { pad: 2, offset: 3 }),
        }
        const name = `${batch}x(${m}, ${k}, ${n})${transposeA ? ', a transposed' : ''}${transposeB ? ', b transposed' : ''}`
        yield kernelCase('gemm', name, operands, { ...plain, transposeA, transposeB })
      }

  // Products side by side in the same rows, as grouped linear maps have them.
  for (const [m, k, n] of [
    [7, 3, 5],
    [70, 6, 96],
  ])
    for (const transposeB of [0, 1])
      yield kernelCase(
        'gemm',
        `4 groups of (${m}, ${k}, ${n})${transposeB ? ', b transposed' : ''}`,
        {
          a: draw.floats([4, m, k], -1, 1, { strides: [k + 2, 4 * (k + 2), 1] }),
          b: draw.floats(transposeB ? [4, n, k] : [4, k, n]),
          out: output([4, m, n], { strides: [n, 4 * n, 1] }),
        },
        { ...plain, transposeB },
      )

  // More rows, and more products, than a GPU has workgroups in one dimension.
  for (const [batch, m] of [
    [1, 65537],
    [65537, 1],
  ]) {
    const operands = { a: draw.floats([batch, m, 3]), b: draw.floats([batch, 3, 2]), out: output([batch, m, 2]) }
    yield kernelCase('gemm', `${batch}x(${m}, 3, 2)`, operands, plain)
  }

  for (const [code, activation] of activations.entries())
    for (const n of [5, 35]) {
      const operands = {
        a: draw.floats([2, 14, 9], -2, 2),
        b: draw.floats([2, n, 9], -2, 2),
        bias: draw.floats([n], -2, 2, { offset: 1 }),
        out: output([2, 14, n]),
      }
      yield kernelCase('gemm', `bias and ${activation}, ${n} columns`, operands, {
        ...plain,
        transposeB: 1,
        alpha: 0.5,
        activation: code,
      })
    }

  for (const accumulate of [0, 1]) {
    const operands = {
      a: draw.floats([2, 15, 37]),
      b: draw.floats([2, 37, 18]),
      out: draw.floats([2, 15, 18], -5, 5, { pad: 1 }),
    }
    yield kernelCase('gemm', accumulate ? 'accumulated' : 'over old contents', operands, {
      ...plain,
      alpha: -1.5,
      accumulate,
    })
  }

  const nanOutput = {
    a: draw.floats([1, 6, 5]),
    b: draw.floats([1, 5, 7]),
    out: operandOf([1, 6, 7], () => Number.NaN),
  }
  yield kernelCase('gemm', 'NaN in old contents does not matter', nanOutput, plain)
  const nanInput = {
    a: operandOf([1, 20, 9], (i) => (i === 40 ? Number.NaN : 1)),
    b: draw.floats([1, 9, 34]),
    out: output([1, 20, 34]),
  }
  yield kernelCase('gemm', 'NaN in a spoils its row only', nanInput, plain)

  for (const side of ['a', 'b'] as const) {
    const strides = [0, 9, 1]
    const operands = {
      a: draw.floats([3, 8, 9], -1, 1, side === 'a' ? { strides } : {}),
      b: draw.floats([3, 9, 9], -1, 1, side === 'b' ? { strides } : {}),
      out: output([3, 8, 9]),
    }
    yield kernelCase('gemm', `one ${side} for the whole batch`, operands, plain)
  }

  const mixes: readonly (readonly [Dtype, Dtype, Dtype])[] = [
    ['float16', 'float16', 'float16'],
    ['bfloat16', 'bfloat16', 'bfloat16'],
    ['float32', 'bfloat16', 'float32'],
    ['float32', 'float16', 'float32'],
    ['bfloat16', 'bfloat16', 'float32'],
  ]
  for (const [left, right, into] of mixes)
    for (const [m, k, n] of [
      [1, 33, 21],
      [29, 67, 40],
    ]) {
      const operands = {
        a: draw.floats([1, m, k], -1, 1, { dtype: left, pad: 1 }),
        b: draw.floats([1, n, k], -1, 1, { dtype: right, offset: 1 }),
        bias: draw.floats([n], -1, 1, { dtype: right }),
        out: output([1, m, n], { dtype: into, pad: 1 }),
      }
      yield kernelCase('gemm', `${left} by ${right} to ${into}, (${m}, ${k}, ${n})`, operands, {
        ...plain,
        transposeB: 1,
      })
      yield kernelCase(
        'gemm',
        `gradient of ${right} weights, (${m}, ${k}, ${n})`,
        {
          a: draw.floats([1, m, k], -1, 1, { dtype: left }),
          b: draw.floats([1, m, n], -1, 1, { dtype: left }),
          out: output([1, k, n], { dtype: right }),
        },
        { ...plain, transposeA: 1 },
      )
    }

  // Sizes, strides and batches that matrix units take, past a tile in both directions and with an inner rest.
  for (const transposeA of [0, 1])
    for (const transposeB of [0, 1])
      for (const into of ['float16', 'float32'] as const) {
        const [batch, m, k, n] = [2, 136, 88, 72]
        const operands = {
          a: draw.floats(transposeA ? [batch, k, m] : [batch, m, k], -1, 1, { dtype: 'float16', pad: 8, offset: 8 }),
          b: draw.floats(transposeB ? [batch, n, k] : [batch, k, n], -1, 1, { dtype: 'float16', pad: 16 }),
          bias: transposeA ? null : draw.floats([n], -1, 1),
          out: output([batch, m, n], { dtype: into, pad: transposeB ? 0 : 1 }),
        }
        const name = `float16 to ${into}, ${batch}x(${m}, ${k}, ${n})${transposeA ? ', a transposed' : ''}${transposeB ? ', b transposed' : ''}`
        yield kernelCase('gemm', name, operands, { ...plain, transposeA, transposeB, alpha: 0.5 })
      }
  const long = {
    a: draw.floats([1, 1032, 64], -1, 1, { dtype: 'float16' }),
    b: draw.floats([1, 1032, 40], -1, 1, { dtype: 'float16' }),
    out: draw.floats([1, 64, 40], -5, 5),
  }
  yield kernelCase('gemm', 'float16, a long inner sum, accumulated', long, { ...plain, transposeA: 1, accumulate: 1 })
}
