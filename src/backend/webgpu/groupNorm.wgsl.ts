// Statistics of channel groups, the normalisation by them and its gradient. An invocation takes a channel over a part of
// the positions; the parts, then the channels of a group, are joined in order.
import type { Operand } from '../types.js'
import {
  ceilDiv,
  type Encoder,
  type Launcher,
  linearEntry,
  linearGrid,
  present,
  read,
  size,
  strideFields,
  write,
} from './launcher.js'
import { sumParts } from './reduce.wgsl.js'

const invocations = 64

const entry = `${linearEntry(invocations)}
  let item = group * ${invocations}u + lane;
  if (item >= args.items) { return; }`

const grid = (items: number) => linearGrid(ceilDiv(items, invocations))

/** Item = (b, part, c), c fastest: positions [first, last) of channel c. */
const partEntry = `${entry}
  let c = item % args.channels;
  let part = item / args.channels % args.parts;
  let b = item / args.channels / args.parts;
  let first = part * args.per_part;
  let last = min(args.positions, first + args.per_part);`

/** Parts that fill the device, none of them empty. */
function partition({ traits }: Launcher, [batch, positions, channels]: readonly number[]) {
  const wanted = Math.min(ceilDiv(traits.fillingInvocations, batch * channels), ceilDiv(positions, 16), 256)
  const per_part = ceilDiv(positions, Math.max(1, wanted))
  return { parts: ceilDiv(positions, per_part), per_part }
}

export const groupStatistics: Encoder<'groupStatistics'> = (launcher, { input, mean, variance }) => {
  const [batch, positions, channels] = input.shape
  const groups = mean.shape[1]
  const per_group = channels / groups
  const cut = partition(launcher, input.shape)
  const shape = [batch, cut.parts, channels]
  const [means, squares] = [launcher.scratch('float32', shape), launcher.scratch('float32', shape)]
  const bindings = { x: read(input), means: write(means), squares: write(squares) }
  launcher.dispatch({
    label: 'groupStatistics.parts',
    bindings,
    integers: {
      ...{ x_s0: input.strides[0], x_s1: input.strides[1], items: size(shape) },
      ...{ ...cut, positions, channels, per_group },
    },
    code: () => `${partEntry}
  let x_0 = b * args.x_s0 + c;
  // All moments are of differences from the group's first value, so that a mean far from 0 costs no digits.
  let zero = x_get(b * args.x_s0 + c / args.per_group * args.per_group);
  let start = x_get(x_0 + first * args.x_s1) - zero;
  var total = 0.0;
  for (var s = first; s < last; s++) { total += (x_get(x_0 + s * args.x_s1) - zero) - start; }
  let centre = start + total / f32(last - first);
  total = 0.0;
  for (var s = first; s < last; s++) { let d = (x_get(x_0 + s * args.x_s1) - zero) - centre; total += d * d; }
  means_set(item, centre);
  squares_set(item, total);
}`,
    workgroups: grid(size(shape)),
  })
  // Joins moments of (b, ., c): the mean of the means by their counts, and the squares about it.
  const join = (first: string, count: string, at: string, weight: string) => `
  let start = means_get(${first});
  var all = 0.0;
  var total = 0.0;
  for (var k = 0u; k < ${count}; k++) { let n = ${weight}; all += n; total += n * (means_get(${at}) - start); }
  let centre = start + total / all;
  total = 0.0;
  for (var k = 0u; k < ${count}; k++) { let d = means_get(${at}) - centre; total += squares_get(${at}) + ${weight} * d * d; }`
  const perChannel = [launcher.scratch('float32', [batch, channels]), launcher.scratch('float32', [batch, channels])]
  launcher.dispatch({
    label: 'groupStatistics.channels',
    bindings: { means: read(means), squares: read(squares), centres: write(perChannel[0]), sums: write(perChannel[1]) },
    integers: { ...cut, positions, channels, items: batch * channels },
    code: () => `${entry}
  let base = item / args.channels * args.parts * args.channels + item % args.channels;
  ${join('base', 'args.parts', 'base + k * args.channels', 'f32(min(args.positions - k * args.per_part, args.per_part))')}
  centres_set(item, centre);
  sums_set(item, total);
}`,
    workgroups: grid(batch * channels),
  })
  launcher.dispatch({
    label: 'groupStatistics.groups',
    bindings: {
      x: read(input),
      means: read(perChannel[0]),
      squares: read(perChannel[1]),
      mean: write(mean),
      variance: write(variance),
    },
    integers: { positions, groups, per_group, x_s0: input.strides[0], items: batch * groups },
    code: () => `${entry}
  let base = item * args.per_group;
  ${join('base', 'args.per_group', 'base + k', 'f32(args.positions)')}
  mean_set(item, centre + x_get(item / args.groups * args.x_s0 + item % args.groups * args.per_group));
  variance_set(item, total / all);
}`,
    workgroups: grid(batch * groups),
  })
}

/** Item = (b, s, c), c fastest, and the group's statistics. */
const elementEntry = `${entry}
  let c = item % args.channels;
  let s = item / args.channels % args.positions;
  let b = item / args.channels / args.positions;
  let g = c / args.per_group;
  let scale = inverseSqrt(variance_get(b * args.variance_s0 + g) + args.eps);
  let normal = (x_get(b * args.x_s0 + s * args.x_s1 + c) - mean_get(b * args.mean_s0 + g)) * scale;`

export const groupNorm: Encoder<'groupNorm'> = (launcher, operands, { eps }) => {
  const { input, mean, variance, weight, bias, out } = operands
  const [, positions, channels] = input.shape
  const bindings = present({
    x: read(input),
    mean: read(mean),
    variance: read(variance),
    weight: weight && read(weight),
    bias: bias && read(bias),
    out: write(out),
  })
  const items = size(input.shape)
  launcher.dispatch({
    label: `groupNorm.${Object.keys(bindings).join()}`,
    bindings,
    integers: { ...strideFields(bindings), positions, channels, per_group: channels / mean.shape[1], items },
    floats: { eps },
    code: () => `${elementEntry}
  out_set(b * args.out_s0 + s * args.out_s1 + c, normal${weight ? ' * weight_get(c)' : ''}${bias ? ' + bias_get(c)' : ''});
}`,
    workgroups: grid(items),
  })
}

export const groupNormGrad: Encoder<'groupNormGrad'> = (launcher, operands, { eps, fixed }) => {
  const { input, mean, variance, weight, gradOut, gradIn, gradWeight, gradBias } = operands
  const [batch, positions, channels] = input.shape
  const groups = mean.shape[1]
  const per_group = channels / groups
  const given = { x: read(input), mean: read(mean), variance: read(variance), dy: read(gradOut) }
  let offsets: Operand | null = null
  if (!fixed || gradWeight || gradBias) {
    const sums = channelSums(launcher, operands, eps)
    if (gradBias) sumParts(launcher, part(sums, 0), gradBias)
    if (gradWeight) sumParts(launcher, part(sums, 1), gradWeight)
    if (!fixed) {
      // Means over a group of the gradient and of its product with the normalised input, (2, B, G).
      offsets = launcher.scratch('float32', [2, batch, groups])
      const bindings = present({ sums: read(sums), weight: weight && read(weight), offsets: write(offsets) })
      launcher.dispatch({
        label: `groupNormGrad.groups.${!!weight}`,
        bindings,
        integers: { per_group, groups, items: 2 * batch * groups },
        floats: { scale: 1 / (positions * per_group) },
        code: () => `${entry}
  let c_0 = item % args.groups * args.per_group;
  var total = 0.0;
  for (var k = 0u; k < args.per_group; k++) {
    total += sums_get(item * args.per_group + k)${weight ? ' * weight_get(c_0 + k)' : ''};
  }
  offsets_set(item, total * args.scale);
}`,
        workgroups: grid(2 * batch * groups),
      })
    }
  }
  const bindings = present({
    ...given,
    weight: weight && read(weight),
    offsets: offsets && read(offsets),
    out: write(gradIn),
  })
  const items = size(input.shape)
  launcher.dispatch({
    label: `groupNormGrad.${Object.keys(bindings).join()}`,
    bindings,
    integers: { ...strideFields(bindings), positions, channels, per_group, groups, batch, items },
    floats: { eps },
    code: () => `${elementEntry}
  let grad = dy_get(b * args.dy_s0 + s * args.dy_s1 + c)${weight ? ' * weight_get(c)' : ''};
  let at = b * args.groups + g;
  let through = ${offsets ? 'offsets_get(at) + normal * offsets_get(args.batch * args.groups + at)' : '0.0'};
  out_set(b * args.out_s0 + s * args.out_s1 + c, scale * (grad - through));
}`,
    workgroups: grid(items),
  })
}

/** One of two matrices that lie behind each other. */
const part = (pair: Operand, index: 0 | 1): Operand => {
  const [, rows, columns] = pair.shape
  return { ...pair, offset: pair.offset + index * rows * columns, shape: [rows, columns], strides: [columns, 1] }
}

/** (2, B, C): sums over the positions of gradOut, and of gradOut times the normalised input. */
function channelSums(launcher: Launcher, operands: Parameters<typeof groupNormGrad>[1], eps: number): Operand {
  const { input, mean, variance, gradOut } = operands
  const [batch, positions, channels] = input.shape
  const cut = partition(launcher, input.shape)
  const partial = launcher.scratch('float32', [2, batch, cut.parts, channels])
  const bindings = {
    x: read(input),
    mean: read(mean),
    variance: read(variance),
    dy: read(gradOut),
    partial: write(partial),
  }
  const items = batch * cut.parts * channels
  launcher.dispatch({
    label: 'groupNormGrad.parts',
    bindings,
    integers: { ...strideFields(bindings), ...cut, positions, channels, per_group: channels / mean.shape[1], items },
    floats: { eps },
    code: () => `${partEntry}
  let g = c / args.per_group;
  let centre = mean_get(b * args.mean_s0 + g);
  let scale = inverseSqrt(variance_get(b * args.variance_s0 + g) + args.eps);
  var total = 0.0;
  var along = 0.0;
  for (var s = first; s < last; s++) {
    let dy = dy_get(b * args.dy_s0 + s * args.dy_s1 + c);
    total += dy;
    along += dy * (x_get(b * args.x_s0 + s * args.x_s1 + c) - centre) * scale;
  }
  partial_set(item, total);
  partial_set(args.items + item, along);
}`,
    workgroups: grid(items),
  })
  const sums = launcher.scratch('float32', [2, batch, channels])
  launcher.dispatch({
    label: 'groupNormGrad.channels',
    bindings: { partial: read(partial), sums: write(sums) },
    integers: { parts: cut.parts, channels, items: 2 * batch * channels },
    code: () => `${entry}
  let base = item / args.channels * args.parts * args.channels + item % args.channels;
  var total = 0.0;
  for (var k = 0u; k < args.parts; k++) { total += partial_get(base + k * args.channels); }
  sums_set(item, total);
}`,
    workgroups: grid(2 * batch * channels),
  })
  return sums
}
