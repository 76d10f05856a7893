// Cases of normalisation by channel groups: statistics, the normalised values and their gradients.
import type { Dtype } from '../types.js'
import { Draw, type KernelCase, kernelCase, operandOf, output } from './operands.js'

interface GroupShape {
  readonly batch: number
  readonly positions: number
  readonly channels: number
  readonly groups: number
  readonly dtype?: Dtype
  /** Whether weight and bias are given. Default true. */
  readonly parameters?: boolean
  readonly pad?: number
}

const shapes: readonly (readonly [string, GroupShape])[] = [
  ['one channel', { batch: 1, positions: 7, channels: 1, groups: 1 }],
  ['batch norm', { batch: 1, positions: 300, channels: 20, groups: 20 }],
  ['batch norm of three channels', { batch: 1, positions: 5000, channels: 3, groups: 3 }],
  ['instance norm', { batch: 3, positions: 35, channels: 16, groups: 16 }],
  ['one group', { batch: 4, positions: 49, channels: 24, groups: 1 }],
  ['groups of three', { batch: 2, positions: 21, channels: 33, groups: 11 }],
  ['two wide groups', { batch: 2, positions: 9, channels: 258, groups: 2 }],
  ['bare', { batch: 2, positions: 17, channels: 40, groups: 4, parameters: false }],
  ['one position', { batch: 3, positions: 1, channels: 12, groups: 3 }],
  ['many channels', { batch: 1, positions: 19, channels: 1030, groups: 1030 }],
  ['padded rows', { batch: 2, positions: 21, channels: 21, groups: 7, pad: 3 }],
  ['float16', { batch: 2, positions: 30, channels: 24, groups: 6, dtype: 'float16', pad: 1 }],
  ['bfloat16', { batch: 1, positions: 90, channels: 17, groups: 17, dtype: 'bfloat16' }],
]

export function* groupCases(): Generator<KernelCase> {
  const eps = 1e-5
  for (const [i, [name, shape]] of shapes.entries()) {
    const { batch, positions, channels, groups, dtype = 'float32', parameters = true, pad = 0 } = shape
    const draw = new Draw(9500 + i)
    const whole = [batch, positions, channels]
    const input = draw.floats(whole, -2, 3, { dtype, pad, offset: pad })
    const statistics = () => ({ mean: output([batch, groups]), variance: output([batch, groups]) })
    yield kernelCase('groupStatistics', name, { input, ...statistics() }, {})
    const given = {
      input,
      mean: draw.floats([batch, groups], -0.5, 1),
      variance: draw.floats([batch, groups], 0.5, 3),
      weight: parameters ? draw.floats([channels], 0.2, 2) : null,
    }
    const bias = parameters ? draw.floats([channels]) : null
    yield kernelCase('groupNorm', name, { ...given, bias, out: output(whole, { dtype, pad }) }, { eps })
    for (const fixed of [0, 1]) {
      const gradients = {
        gradOut: draw.floats(whole, -1, 1, { dtype, pad: pad * 2 }),
        gradIn: output(whole, { dtype, pad }),
        gradWeight: parameters ? output([channels]) : null,
        gradBias: parameters ? output([channels]) : null,
      }
      const label = fixed ? `${name}, fixed statistics` : name
      yield kernelCase('groupNormGrad', label, { ...given, ...gradients }, { eps, fixed })
    }
    if (!parameters) continue
    const gradients = { gradOut: draw.floats(whole, -1, 1, { dtype }), gradIn: output(whole, { dtype }) }
    yield kernelCase('groupNormGrad', `${name}, gradIn alone`, { ...given, ...gradients }, { eps, fixed: 0 })
    yield kernelCase('groupNormGrad', `${name}, gradIn alone, fixed`, { ...given, ...gradients }, { eps, fixed: 1 })
  }
  const repeated = {
    mean: operandOf([2, 5], (i) => i % 5, { strides: [0, 1] }),
    variance: operandOf([2, 5], (i) => 1 + (i % 5), { strides: [0, 1] }),
  }
  const input = new Draw(9600).floats([2, 9, 5], -2, 2)
  yield kernelCase('groupNorm', 'statistics for all', { input, ...repeated, out: output([2, 9, 5]) }, { eps })
  // Integers near a million with a variance near 1: exact in float32, and a plain sum of squares would lose it all.
  for (const positions of [600, 7000]) {
    const far = operandOf([1, positions, 5], (i) => 1e6 + ((i * 7) % 4))
    const found = { mean: output([1, 5]), variance: output([1, 5]) }
    yield kernelCase('groupStatistics', `${positions} values far from 0`, { input: far, ...found }, {})
  }
  const off = operandOf([2, 4000, 6], (i) => 4e5 + ((i * 5) % 7))
  const joint = { mean: output([2, 2]), variance: output([2, 2]) }
  yield kernelCase('groupStatistics', 'groups far from 0', { input: off, ...joint }, {})
  const constant = operandOf([2, 600, 6], () => 0.1)
  const alike = { mean: output([2, 2]), variance: output([2, 2]) }
  const tolerance = { scale: 1e-6, relative: 1e-6, absolute: 1e-12 }
  yield kernelCase('groupStatistics', 'all alike', { input: constant, ...alike }, {}, { tolerance })
  const spoiled = operandOf([2, 20, 6], (i) => (i === 31 ? Number.NaN : (i * 13) % 7))
  const marked = { mean: output([2, 3]), variance: output([2, 3]) }
  yield kernelCase('groupStatistics', 'NaN spoils its group', { input: spoiled, ...marked }, {})
}
