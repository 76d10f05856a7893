// Cases of axis reductions and of softmax with its gradient.
import { reductions } from '../kernels.js'
import type { Dtype } from '../types.js'
import { Draw, type KernelCase, kernelCase, operandOf, output } from './operands.js'

const floats: readonly Dtype[] = ['float32', 'float16', 'bfloat16']

export function* reduceCases(): Generator<KernelCase> {
  const draw = new Draw(20)
  for (const [reduction, name] of reductions.entries()) {
    const index = name === 'argmax' || name === 'argmin'
    const dtypeOut = (dtype: Dtype) => (index ? 'int32' : dtype)
    for (const [rows, n, inner] of [
      [1, 1, 1],
      [1, 70001, 1],
      [5, 37, 1],
      [3, 300, 1],
      [1, 513, 7],
      [4, 9, 33],
      [2, 1, 5],
      // More rows than a GPU has workgroups in one dimension.
      ...(name === 'sum' || name === 'argmax' ? [[65537, 3, 1]] : []),
    ]) {
      const input = draw.floats([rows, n, inner], -2, 2, { offset: 1 })
      yield kernelCase(
        'reduce',
        `${name} (${rows}, ${n}, ${inner})`,
        { input, out: output([rows, inner], { dtype: dtypeOut('float32') }) },
        { reduction },
      )
    }
    for (const dtype of floats) {
      const input = draw.floats([6, 29, 3], -2, 2, { dtype, strides: [120, 4, 1], offset: 2 })
      yield kernelCase(
        'reduce',
        `${name}, ${dtype}, strided`,
        { input, out: output([6, 3], { dtype: dtypeOut(dtype) }) },
        { reduction },
      )
    }
    const nan = operandOf([2, 40, 1], (i) => (i === 17 || i === 30 ? Number.NaN : (i * 7) % 13))
    yield kernelCase(
      'reduce',
      `${name} with NaN`,
      { input: nan, out: output([2, 1], { dtype: dtypeOut('float32') }) },
      { reduction },
    )
    const ties = draw.integers([5, 100, 1], 0, 4, { dtype: 'float32' })
    yield kernelCase(
      'reduce',
      `${name} with ties`,
      { input: ties, out: output([5, 1], { dtype: dtypeOut('float32') }) },
      { reduction },
    )
  }

  for (const log of [0, 1]) {
    const name = log ? 'logarithm' : 'softmax'
    for (const [rows, n] of [
      [1, 1],
      [7, 5],
      [3, 33],
      [2, 1000],
      [9, 256],
      [1, 50280],
      [65537, 3],
    ])
      for (const dtype of n === 33 ? floats : (['float32'] as const)) {
        const input = draw.floats([rows, n], -8, 8, { dtype, pad: 3, offset: 1 })
        yield kernelCase(
          'softmax',
          `${name} (${rows}, ${n}) ${dtype}`,
          { input, out: output([rows, n], { dtype, pad: 1 }) },
          { log },
        )
        // Outputs of softmax lie in (0, 1), their logarithms below 0.
        const result = log ? draw.floats([rows, n], -9, -1, { dtype }) : draw.floats([rows, n], 0, 2 / n, { dtype })
        const gradOut = draw.floats([rows, n], -1, 1, { dtype, pad: 2 })
        const gradIn = output([rows, n], { dtype })
        yield kernelCase(
          'softmaxGrad',
          `${name} (${rows}, ${n}) ${dtype}`,
          { output: result, gradOut, gradIn },
          { log },
        )
      }
    const large = operandOf([2, 19], (i) => 1000 * ((i % 3) - 1))
    yield kernelCase('softmax', `${name} of large values`, { input: large, out: output([2, 19]) }, { log })
    const masked = operandOf([3, 21], (i) => (i % 4 === 1 ? Number.NEGATIVE_INFINITY : (i % 7) / 3))
    yield kernelCase('softmax', `${name} of masked values`, { input: masked, out: output([3, 21]) }, { log })
    const nan = operandOf([3, 21], (i) => (i === 30 ? Number.NaN : (i % 7) / 3))
    yield kernelCase('softmax', `${name} with NaN`, { input: nan, out: output([3, 21]) }, { log })
  }
}
