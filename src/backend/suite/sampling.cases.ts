// Cases of sampling at any points: filters, what lies outside, corners, two and three axes, storage, NaN.
import type { Dtype } from '../types.js'
import { Draw, type KernelCase, kernelCase, operandOf, output } from './operands.js'

interface SampleShape {
  readonly batch: number
  /** depth, height, width; depth 0 for two axes. */
  readonly extents: readonly [number, number, number]
  readonly points: number
  readonly channels: number
  readonly dtype?: Dtype
  readonly pad?: number
}

const usual: SampleShape = { batch: 2, extents: [0, 5, 7], points: 60, channels: 5 }
const shapes: readonly (readonly [string, SampleShape])[] = [
  ['usual', usual],
  ['three axes', { batch: 2, extents: [3, 4, 5], points: 40, channels: 3 }],
  ['one cell', { batch: 1, extents: [0, 1, 1], points: 9, channels: 2 }],
  ['one row', { ...usual, extents: [0, 1, 6], channels: 16 }],
  ['many channels', { ...usual, points: 9, channels: 150 }],
  ['padded rows', { ...usual, pad: 3 }],
  ['bfloat16', { ...usual, dtype: 'bfloat16' }],
  ['float16', { ...usual, channels: 24, dtype: 'float16', pad: 1 }],
]

function numbersOf(extents: SampleShape['extents'], filter: number, outside: number, alignCorners: number) {
  const [depth, height, width] = extents
  return { depth: Math.max(1, depth), height, width, filter, outside, alignCorners }
}

function casesOf(draw: Draw, { batch, extents, points, channels, dtype = 'float32', pad = 0 }: SampleShape) {
  const axes = extents[0] ? 3 : 2
  const positions = extents.reduce((n, extent) => n * Math.max(1, extent), 1)
  const given = {
    input: draw.floats([batch, positions, channels], -1, 1, { dtype, pad }),
    grid: draw.floats([batch, points, axes], -1.9, 1.9),
  }
  const out = output([batch, points, channels], { dtype, pad })
  const gradients = {
    gradOut: draw.floats([batch, points, channels], -1, 1, { dtype, pad: pad && pad + 1 }),
    gradIn: output([batch, positions, channels], { dtype, pad }),
    gradGrid: output([batch, points, axes]),
  }
  return { given, out, gradients }
}

const filters = ['linear', 'nearest', 'cubic']
const surroundings = ['zeros', 'border', 'reflection']

export function* samplingCases(): Generator<KernelCase> {
  for (const [i, [name, shape]] of shapes.entries())
    for (const [filter, filterName] of filters.entries())
      for (const [outside, outsideName] of surroundings.entries()) {
        const corners = i === 0 ? [0, 1] : [(i + filter + outside) % 2]
        for (const alignCorners of corners) {
          const { given, out, gradients } = casesOf(new Draw(9800 + 10 * i + filter), shape)
          const numbers = numbersOf(shape.extents, filter, outside, alignCorners)
          const label = `${name}, ${filterName}, ${outsideName}${alignCorners ? ', corners' : ''}`
          yield kernelCase('gridSample', label, { ...given, out }, numbers)
          // Slopes of a cubic add up to 0 where all cells are one.
          const tolerance = { scale: 1e-5, relative: 1e-5, absolute: 1e-6 }
          yield kernelCase('gridSampleGrad', label, { ...given, ...gradients }, numbers, { tolerance })
        }
      }
  const { given, out, gradients } = casesOf(new Draw(9890), usual)
  const numbers = numbersOf(usual.extents, 0, 1, 0)
  const { gradOut, gradIn, gradGrid } = gradients
  yield kernelCase('gridSampleGrad', 'gradIn alone', { ...given, gradOut, gradIn }, numbers)
  yield kernelCase('gridSampleGrad', 'gradGrid alone', { ...given, gradOut, gradGrid }, numbers)
  const grid = operandOf([2, 60, 2], (i) => (i === 7 || i === 150 ? Number.NaN : ((i * 37) % 41) / 20.3 - 1))
  yield kernelCase('gridSample', 'NaN points', { ...given, grid, out }, numbers)
  yield kernelCase('gridSampleGrad', 'NaN points', { ...given, grid, ...gradients }, numbers)
}
