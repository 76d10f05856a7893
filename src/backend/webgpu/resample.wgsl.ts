// Weighted sums and maxima over windows of one axis, which tables of indices describe, and the gradient of the maxima:
// an invocation an element of the result, or four neighbours.
import type { Operand } from '../types.js'
import { alignedByFour, ceilDiv, type Encoder, linearEntry, linearGrid, present, read, write } from './launcher.js'
import { nanSafe } from './math.wgsl.js'

const invocations = 64

/** Item = (r, i, c) of a result (R, m, inner), c fastest and in steps of `width`. */
const itemText = (width: number) => `${linearEntry(invocations)}
  let item = group * ${invocations}u + lane;
  if (item >= args.items) { return; }
  let c = item % args.columns * ${width}u;
  let i = item / args.columns % args.m;
  let r = item / args.columns / args.m;
  let x_0 = r * args.x_s0 + c;`

const sizes = (out: Operand, index: Operand, n: number, width: number) => {
  const [rows, m, inner] = out.shape
  const columns = inner / width
  return { items: rows * m * columns, columns, m, n, taps: index.shape[1] }
}

/** A loop over the taps of position i that lie in [0, n), as `at` and `t`. */
const eachTap = (text: string) => `for (var t = 0u; t < args.taps; t++) {
    let at = index_get(i * args.taps + t);
    if (at < 0 || u32(at) >= args.n) { continue; }
    ${text}
  }`

export const resample: Encoder<'resample'> = (launcher, { input, index, weight, out }) => {
  const wide = out.shape[2] % 4 === 0 && alignedByFour(input) && alignedByFour(out)
  const width = wide ? 4 : 1
  const integers = sizes(out, index, input.shape[1], width)
  const suffix = wide ? '4' : ''
  launcher.dispatch({
    label: `resample.${width}`,
    bindings: { x: read(input, wide), index: read(index), weight: read(weight), out: write(out, wide) },
    integers: {
      ...integers,
      ...{ x_s0: input.strides[0], x_s1: input.strides[1], out_s0: out.strides[0], out_s1: out.strides[1] },
    },
    code: () => `${itemText(width)}
  var total = ${wide ? 'vec4<f32>()' : '0.0'};
  ${eachTap(`total += weight_get(i * args.taps + t) * x_get${suffix}(x_0 + u32(at) * args.x_s1);`)}
  out_set${suffix}(r * args.out_s0 + i * args.out_s1 + c, total);
}`,
    workgroups: linearGrid(ceilDiv(integers.items, invocations)),
  })
}

export const maxPool: Encoder<'maxPool'> = (launcher, { input, index, out, winner }) => {
  const integers = sizes(out, index, input.shape[1], 1)
  launcher.dispatch({
    label: `maxPool.${!!winner}`,
    bindings: present({ x: read(input), index: read(index), out: write(out), winner: winner && write(winner) }),
    integers: {
      ...integers,
      ...{ x_s0: input.strides[0], x_s1: input.strides[1], out_s0: out.strides[0], out_s1: out.strides[1] },
    },
    code: () => `${nanSafe}
${itemText(1)}
  // An infinity must not be a constant of the text.
  var best = bitcast<f32>(0xff800000u + args.items * 0u);
  var first = -1;
  ${eachTap(`let v = x_get(x_0 + u32(at) * args.x_s1);
    if (first < 0 || (!isNan(best) && (isNan(v) || v > best))) { best = v; first = at; }`)}
  out_set(r * args.out_s0 + i * args.out_s1 + c, best);
  ${winner ? 'winner_set(item, first);' : ''}
}`,
    workgroups: linearGrid(ceilDiv(integers.items, invocations)),
  })
}

export const maxPoolGrad: Encoder<'maxPoolGrad'> = (launcher, { winner, gradOut, index, gradIn }) => {
  const integers = sizes(gradIn, index, gradOut.shape[1], 1)
  launcher.dispatch({
    label: 'maxPoolGrad',
    bindings: { x: read(gradOut), winner: read(winner), index: read(index), out: write(gradIn) },
    integers: {
      ...integers,
      ...{ x_s0: gradOut.strides[0], x_s1: gradOut.strides[1], out_s0: gradIn.strides[0], out_s1: gradIn.strides[1] },
    },
    code: () => `${itemText(1)}
  var total = 0.0;
  ${eachTap(`if (winner_get((r * args.n + u32(at)) * args.columns + c) == i32(i)) { total += x_get(x_0 + u32(at) * args.x_s1); }`)}
  out_set(r * args.out_s0 + i * args.out_s1 + c, total);
}`,
    workgroups: linearGrid(ceilDiv(integers.items, invocations)),
  })
}
