// Rotary position embedding. An angle is a 32-bit fraction of a turn, the product of the position and the pair's
// frequency as a 64-bit fraction of a turn, so that late positions are as exact as early ones.
import { ceilDiv, type Encoder, linearEntry, linearGrid, present, read, size, strideFields, write } from './launcher.js'
import { wideMultiply } from './random.wgsl.js'

const invocations = 64

/** Turns a position for each pair, in units of 2^-64: high words, then low words. */
function frequencies(base: number, rotaryDim: number): Uint32Array {
  const pairs = rotaryDim / 2
  const words = new Uint32Array(rotaryDim)
  for (let i = 0; i < pairs; i++) {
    const turns = (base ** ((-2 * i) / rotaryDim) / (2 * Math.PI)) * 2 ** 32
    words[i] = Math.floor(turns)
    words[pairs + i] = Math.floor((turns - Math.floor(turns)) * 2 ** 32)
  }
  return words
}

export const rotary: Encoder<'rotary'> = (launcher, { input, positions, out }, numbers) => {
  const { base, rotaryDim, interleaved, inverse } = numbers
  const [, L, H, P] = input.shape
  const pairs = rotaryDim / 2
  const perHead = pairs + P - rotaryDim
  const bindings = present({
    x: read(input),
    positions: positions && read(positions),
    turns: read(launcher.constants(`rotary ${base} ${rotaryDim}`, () => frequencies(base, rotaryDim))),
    out: write(out),
  })
  const items = (size(input.shape) / P) * perHead
  launcher.dispatch({
    label: `rotary.${interleaved}.${inverse}.${!!positions}`,
    bindings,
    integers: { ...strideFields(bindings), L, H, pairs, per_head: perHead, items },
    code: () => `${wideMultiply}
${linearEntry(invocations)}
  let item = group * ${invocations}u + lane;
  if (item >= args.items) { return; }
  let j = item % args.per_head;
  let h = item / args.per_head % args.H;
  let l = item / args.per_head / args.H % args.L;
  let b = item / args.per_head / args.H / args.L;
  let x_0 = b * args.x_s0 + l * args.x_s1 + h * args.x_s2;
  let out_0 = b * args.out_s0 + l * args.out_s1 + h * args.out_s2;
  if (j >= args.pairs) {
    out_set(out_0 + j + args.pairs, x_get(x_0 + j + args.pairs));
    return;
  }
  let position = ${positions ? 'bitcast<u32>(positions_get(b * args.positions_s0 + l))' : 'l'};
  let turn = position * bitcast<u32>(turns_get(j)) + multiplyHigh(position, bitcast<u32>(turns_get(args.pairs + j)));
  let quarter = (turn + 0x20000000u) >> 30u;
  // Within an eighth of a turn of a quarter; 2 pi 2^-32 radians a unit.
  let t = f32(bitcast<i32>(turn - (quarter << 30u))) * 1.4629180792671596e-9;
  let z = t * t;
  let c = 1.0 + z * (-0.5 + z * (0.04166666667 + z * (-0.001388888889 + z * 0.0000248015873)));
  let s = t * (1.0 + z * (-0.16666666667 + z * (0.008333333333 + z * (-0.0001984126984 + z * 2.755731922e-6))));
  let odd = (quarter & 1u) == 1u;
  let cosine = select(c, s, odd) * select(1.0, -1.0, quarter == 1u || quarter == 2u);
  let sine = select(s, c, odd) * select(1.0, -1.0, quarter >= 2u)${inverse ? ' * -1.0' : ''};
  let first = ${interleaved ? '2u * j' : 'j'};
  let second = ${interleaved ? 'first + 1u' : 'j + args.pairs'};
  let a = x_get(x_0 + first);
  let e = x_get(x_0 + second);
  out_set(out_0 + first, a * cosine - e * sine);
  out_set(out_0 + second, a * sine + e * cosine);
}`,
    workgroups: linearGrid(ceilDiv(items, invocations)),
  })
}
