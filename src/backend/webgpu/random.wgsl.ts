// Philox4x32-10 in WGSL, and the kernels that draw from it. Words are exact integers, so masks and integers equal every
// other backend's; normals are computed in pairs of floats (a value and its rounding error), because WGSL promises only
// coarse log, sin and cos.
import { distributions } from '../kernels.js'
import { elementwise } from './elementwise.wgsl.js'
import { type Encoder, present, read, write } from './launcher.js'
import { isFloat } from './program.js'

/** The high 32 bits of a product. */
export const wideMultiply = `
fn multiplyHigh(a: u32, b: u32) -> u32 {
  let al = a & 0xffffu; let ah = a >> 16u; let bl = b & 0xffffu; let bh = b >> 16u;
  let low = al * bl;
  let mid = ah * bl + (low >> 16u);
  let mid2 = al * bh + (mid & 0xffffu);
  return ah * bh + (mid >> 16u) + (mid2 >> 16u);
}`

const philox = `${wideMultiply}
fn philox(start: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
  var c = start;
  var k = key;
  for (var round = 0; round < 10; round++) {
    let high0 = multiplyHigh(0xD2511F53u, c.x);
    let high1 = multiplyHigh(0xCD9E8D57u, c.z);
    c = vec4<u32>(high1 ^ c.y ^ k.x, 0xCD9E8D57u * c.z, high0 ^ c.w ^ k.y, 0xD2511F53u * c.x);
    k += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
  }
  return c;
}
fn wordsAt(block: u32, step: i32) -> vec4<u32> {
  let low = args.offset_low + block;
  let high = args.offset_high + select(0u, 1u, low < block);
  let stream = args.stream_low + bitcast<u32>(step);
  let carry = select(0u, 1u, stream < bitcast<u32>(step));
  return philox(vec4<u32>(low, high, stream, args.stream_high + carry), vec2<u32>(args.seed_low, args.seed_high));
}`

const pairs = `
struct Pair { high: f32, low: f32 }
fn sumOf(a: f32, b: f32) -> Pair {
  let s = a + b;
  let bb = s - a;
  return Pair(s, (a - (s - bb)) + (b - bb));
}
// The split is by bits: a compiler that contracts or reorders float operations cannot undo it.
fn upper(a: f32) -> f32 { return bitcast<f32>(bitcast<u32>(a) & 0xfffff000u); }
fn productOf(a: f32, b: f32) -> Pair {
  let p = a * b;
  let ah = upper(a); let al = a - ah; let bh = upper(b); let bl = b - bh;
  return Pair(p, ((ah * bh - p) + ah * bl + al * bh) + al * bl);
}
fn multiply(a: Pair, b: Pair) -> Pair {
  let p = productOf(a.high, b.high);
  return sumOf(p.high, p.low + (a.high * b.low + a.low * b.high));
}
// sqrt(-2 ln(k 2^-24)) for k in 1..2^24.
fn radius(k: u32) -> Pair {
  let shift = 31u - countLeadingZeros(k);
  var m = f32(k) / f32(1u << shift);
  var e = f32(shift) - 24.0;
  if (m > 1.41421356) { m *= 0.5; e += 1.0; }
  let f = m - 1.0;
  let s = f / (2.0 + f);
  let back = productOf(s, 2.0 + f);
  let tail = ((f - back.high) - back.low) / (2.0 + f);
  let z = s * s;
  let series = s * z * (0.66666666667 + z * (0.4 + z * (0.28571428571 + z * (0.22222222222 + z * (0.18181818182 + z * 0.15384615385)))));
  // ln 2 in two parts, the first with so few bits that its product with e is exact.
  let body = sumOf(e * 0.693145751953125, 2.0 * s);
  let minusLog = sumOf(-body.high, -(body.low + (2.0 * tail + series + e * 1.4286068203094173e-6)));
  let x = Pair(2.0 * minusLog.high, 2.0 * minusLog.low);
  if (x.high <= 0.0) { return Pair(0.0, 0.0); }
  let r = sqrt(x.high);
  let square = productOf(r, r);
  return sumOf(r, (((x.high - square.high) - square.low) + x.low) / (2.0 * r));
}
// cos and sin of 2 pi k 2^-24.
fn turn(k: u32, sine: bool) -> Pair {
  let quarter = (k + (1u << 21u)) >> 22u;
  let rest = f32(i32(k) - i32(quarter << 22u));
  let t = productOf(rest, 3.7450703871400037e-07);
  let angle = sumOf(t.high, t.low + rest * -1.042160708588074e-14);
  let z = productOf(angle.high, angle.high);
  let zz = z.high;
  let q = (quarter + select(0u, 3u, sine)) & 3u;
  var value: Pair;
  if ((q & 1u) == 0u) {
    let tail = zz * zz * (0.04166666667 + zz * (-0.001388888889 + zz * (0.0000248015873 - zz * 2.755731922e-7)));
    let head = sumOf(1.0, -0.5 * zz);
    value = sumOf(head.high, head.low + (tail - 0.5 * z.low - angle.high * angle.low));
  } else {
    let tail = angle.high * zz * (-0.16666666667 + zz * (0.008333333333 + zz * (-0.0001984126984 + zz * 2.755731922e-6)));
    value = sumOf(angle.high, angle.low + tail);
  }
  // cos at quarters 0..3: cos, -sin, -cos, sin of the rest.
  let flip = select(1.0, -1.0, q == 1u || q == 2u);
  return Pair(flip * value.high, flip * value.low);
}
fn normal(words: vec4<u32>, index: u32) -> f32 {
  let first = select(words.x, words.z, (index & 2u) != 0u);
  let second = select(words.y, words.w, (index & 2u) != 0u);
  let z = multiply(radius((first >> 8u) + 1u), turn(second >> 8u, (index & 1u) == 1u));
  let scaled = multiply(z, Pair(args.beta, 0.0));
  let moved = sumOf(args.alpha, scaled.high);
  return moved.high + (moved.low + scaled.low);
}`

interface Counter {
  readonly seed: number
  readonly stream: number
  readonly offset: number
}

function counterFields({ seed, stream, offset }: Counter): Record<string, number> {
  const high = (x: number) => Math.floor(x / 2 ** 32)
  return {
    seed_low: seed >>> 0,
    seed_high: high(seed),
    stream_low: stream >>> 0,
    stream_high: high(stream),
    offset_low: offset >>> 0,
    offset_high: high(offset),
  }
}

export const random: Encoder<'random'> = (launcher, { step, out }, numbers) => {
  const { distribution, alpha, beta } = numbers
  const name = distributions[distribution]
  const everywhere = { shape: out.shape, strides: out.shape.map(() => 0) }
  const integer = name === 'integer'
  const value = {
    uniform: 'args.alpha + args.span * (f32(words[index & 3u] >> 8u) * 5.9604644775390625e-8)',
    normal: 'normal(words, index)',
    integer: 'bitcast<i32>(args.low + multiplyHigh(words[index & 3u], args.width))',
  }[name]
  const converted = integer === isFloat(out.dtype) ? (integer ? `f32(${value})` : `i32(${value})`) : value
  elementwise(launcher, {
    label: `random.${name}.${!!step}`,
    bindings: present({ step: step && read({ ...step, ...everywhere }), out: write(out) }),
    declarations: `${philox}${name === 'normal' ? pairs : ''}`,
    once: `let words = wordsAt(first >> 2u, ${step ? 'step_get(0u)' : '0'});`,
    text: `out = ${converted};`,
    integers: {
      ...counterFields(numbers),
      ...(integer ? { low: alpha | 0, width: (beta - alpha) >>> 0 } : {}),
    },
    floats: integer ? {} : { alpha, beta, span: beta - alpha },
  })
}

export const dropout: Encoder<'dropout'> = (launcher, { input, step, out }, numbers) => {
  const { p } = numbers
  const everywhere = { shape: out.shape, strides: out.shape.map(() => 0) }
  elementwise(launcher, {
    label: `dropout.${!!step}`,
    bindings: present({ step: step && read({ ...step, ...everywhere }), x: read(input), out: write(out) }),
    declarations: philox,
    once: `let words = wordsAt(first >> 2u, ${step ? 'step_get(0u)' : '0'});`,
    // The uniforms are multiples of 2^-24: comparing their integers keeps the mask equal to a float64 comparison.
    text: 'out = select(0.0, x * args.scale, (words[index & 3u] >> 8u) >= args.threshold);',
    integers: { ...counterFields(numbers), threshold: Math.ceil(p * 2 ** 24) },
    floats: { scale: p < 1 ? 1 / (1 - p) : 0 },
  })
}
