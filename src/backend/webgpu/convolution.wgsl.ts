// Convolution over three axes, channels last, and its gradients. An invocation is a channel lane by a few columns of the
// result: neighbours read neighbouring weights (turned to (group, tap, inner, lane) first) and images in whole lines.
import type { ConvolutionNumbers } from '../kernels.js'
import type { Operand } from '../types.js'
import {
  ceilDiv,
  type Encoder,
  type Launcher,
  linearEntry,
  linearGrid,
  present,
  range,
  read,
  size,
  strideFields,
  write,
} from './launcher.js'
import { sumParts } from './reduce.wgsl.js'

const invocations = 64
/** Columns of the result that an invocation takes. */
const columns = 4
/** Inner channels whose gradients of weights an invocation sums side by side. */
const inners = 4

/** Geometry as fields of `args`: taps and groups, channels of a group, and the numbers. */
function geometry(weight: Operand, numbers: ConvolutionNumbers): Record<string, number> {
  const [outChannels, inWidth, kt, kh, kw] = weight.shape
  return {
    ...{ kt, kh, kw, groups: numbers.groups, in_width: inWidth, out_width: outChannels / numbers.groups },
    ...steps(numbers),
  }
}

const steps = (numbers: ConvolutionNumbers) => ({
  ...{ st: numbers.strideT, sh: numbers.strideH, sw: numbers.strideW },
  ...{ dt: numbers.dilationT, dh: numbers.dilationH, dw: numbers.dilationW },
  ...{ pt: numbers.paddingT, ph: numbers.paddingH, pw: numbers.paddingW },
})

/** Extents of an image as fields. */
const extents = (name: string, { shape }: Operand) => ({
  [`${name}_t`]: shape[1],
  [`${name}_h`]: shape[2],
  [`${name}_w`]: shape[3],
})

/** The offset of a position of an image. */
const at = (name: string, b: string, t: string, h: string, w: string) =>
  `${b} * args.${name}_s0 + ${t} * args.${name}_s1 + ${h} * args.${name}_s2 + ${w} * args.${name}_s3`

const rowOfWeight = `
  let n_first = group_of * args.out_width;
  let tap_at = tap / (args.kh * args.kw) * args.w_s2 + tap / args.kw % args.kh * args.w_s3 + tap % args.kw * args.w_s4;`

/** The weight as (groups x taps x inner, lanes) float32: lanes are output channels, or input channels where `byInput`. */
function turnedWeight(launcher: Launcher, weight: Operand, numbers: ConvolutionNumbers, byInput: boolean): Operand {
  const fields = geometry(weight, numbers)
  const [inner, lanes] = byInput ? [fields.out_width, fields.in_width] : [fields.in_width, fields.out_width]
  const items = size(weight.shape)
  const turned = launcher.scratch('float32', [items / lanes, lanes])
  const bindings = { w: read(weight), out: write(turned) }
  launcher.dispatch({
    label: `convolution.turn.${byInput}`,
    bindings,
    integers: { ...strideFields(bindings), w_s4: weight.strides[4], ...fields, inner, lanes, items },
    code: () => `${linearEntry(invocations)}
  let item = group * ${invocations}u + lane;
  if (item >= args.items) { return; }
  let y = item % args.lanes;
  let x = item / args.lanes % args.inner;
  let taps = args.kt * args.kh * args.kw;
  let tap = item / args.lanes / args.inner % taps;
  let group_of = item / args.lanes / args.inner / taps;
  ${rowOfWeight}
  out_set(item, w_get((n_first + ${byInput ? 'x' : 'y'}) * args.w_s0 + ${byInput ? 'y' : 'x'} * args.w_s1 + tap_at));
}`,
    workgroups: linearGrid(ceilDiv(items, invocations)),
  })
  return turned
}

/** Position `of` axis `a` (t, h, w) that tap `tap` meets, as statements that set `to` (i32) and `ok` within `extent`. */
type Meeting = (a: 't' | 'h' | 'w', of: string, tap: string, to: string, ok: string, extent: string) => string

const seen: Meeting = (a, of, tap, to, ok, extent) =>
  `let ${to} = i32(${of} * args.s${a} + ${tap} * args.d${a}) - i32(args.p${a}); let ${ok} = ${to} >= 0 && ${to} < i32(${extent});`

const seenFrom: Meeting = (a, of, tap, to, ok, extent) =>
  `let ${to}_far = i32(${of} + args.p${a}) - i32(${tap} * args.d${a}); let ${to} = ${to}_far / i32(args.s${a});
  let ${ok} = ${to}_far >= 0 && ${to}_far % i32(args.s${a}) == 0 && ${to} < i32(${extent});`

/** to[b, p, channel] = bias + sum over the taps that `meeting` finds of from[b, q, :] times the turned weight. */
function gather(
  launcher: Launcher,
  { from, to, weight, bias }: { from: Operand; to: Operand; weight: Operand; bias: Operand | null | undefined },
  numbers: ConvolutionNumbers,
  byInput: boolean,
): void {
  const turned = turnedWeight(launcher, weight, numbers, byInput)
  const bindings = present({ x: read(from), w: read(turned), bias: bias && read(bias), out: write(to) })
  const fields = geometry(weight, numbers)
  const [inner, lanes] = byInput ? [fields.out_width, fields.in_width] : [fields.in_width, fields.out_width]
  const [batch, T, H, width, channels] = to.shape
  const blocks = ceilDiv(width, columns)
  const items = batch * T * H * blocks * channels
  const meeting = byInput ? seenFrom : seen
  launcher.dispatch({
    label: `convolution.gather.${byInput}.${Object.keys(bindings).join()}`,
    bindings,
    integers: {
      ...strideFields(bindings),
      ...{ ...fields, ...extents('x', from), ...extents('out', to), inner, lanes, channels, blocks, items },
    },
    code: () => `${linearEntry(invocations)}
  let item = group * ${invocations}u + lane;
  if (item >= args.items) { return; }
  let channel = item % args.channels;
  let first = item / args.channels % args.blocks * ${columns}u;
  let row = item / args.channels / args.blocks;
  let h = row % args.out_h;
  let t = row / args.out_h % args.out_t;
  let b = row / args.out_h / args.out_t;
  let group_of = channel / args.lanes;
  let start = ${bias ? 'bias_get(channel)' : '0.0'};
  ${range(columns)
    .map((j) => `var y${j} = start;`)
    .join(' ')}
  var w_at = group_of * args.kt * args.kh * args.kw * args.inner * args.lanes + channel % args.lanes;
  for (var it = 0u; it < args.kt; it++) {
    ${meeting('t', 't', 'it', 'qt', 'ok_t', 'args.x_t')}
    for (var ih = 0u; ih < args.kh; ih++) {
      ${meeting('h', 'h', 'ih', 'qh', 'ok_h', 'args.x_h')}
      if (!ok_t || !ok_h) { w_at += args.kw * args.inner * args.lanes; continue; }
      let x_row = ${at('x', 'b', 'u32(qt)', 'u32(qh)', '0u')} + group_of * args.inner;
      for (var iw = 0u; iw < args.kw; iw++) {
        ${range(columns)
          .map(
            (j) => `${meeting('w', `(first + ${j}u)`, 'iw', `q${j}`, `ok${j}`, 'args.x_w')}
        let x${j} = x_row + u32(q${j}) * args.x_s3;`,
          )
          .join('\n        ')}
        for (var i = 0u; i < args.inner; i++) {
          let weight = w_get(w_at);
          ${range(columns)
            .map((j) => `if (ok${j}) { y${j} += weight * x_get(x${j} + i); }`)
            .join('\n          ')}
          w_at += args.lanes;
        }
      }
    }
  }
  let to = ${at('out', 'b', 't', 'h', 'first')} + channel;
  ${range(columns)
    .map((j) => `if (first + ${j}u < args.out_w) { out_set(to + ${j}u * args.out_s3, y${j}); }`)
    .join('\n  ')}
}`,
    workgroups: linearGrid(ceilDiv(items, invocations)),
  })
}

export const convolution: Encoder<'convolution'> = (launcher, { input, weight, bias, out }, numbers) =>
  gather(launcher, { from: input, to: out, weight, bias }, numbers, false)

export const convolutionGradInput: Encoder<'convolutionGradInput'> = (launcher, operands, numbers) => {
  const { gradOut, weight, bias, gradIn } = operands
  gather(launcher, { from: gradOut, to: gradIn, weight, bias }, numbers, true)
}

export const convolutionGradWeight: Encoder<'convolutionGradWeight'> = (launcher, operands, numbers) => {
  const { input, gradOut, gradWeight, gradBias } = operands
  const fields = geometry(gradWeight, numbers)
  const outChannels = gradWeight.shape[0]
  const taps = size(gradWeight.shape.slice(2))
  const blocks = ceilDiv(fields.in_width, inners)
  // Rows of the result are summed in parts where the weight alone does not fill the device.
  const rows = size(gradOut.shape.slice(0, 3))
  const items = taps * blocks * outChannels
  const parts = Math.max(1, Math.min(ceilDiv(launcher.traits.fillingInvocations, items), rows, 256))
  const sums = launcher.scratch('float32', [parts, taps * fields.in_width * outChannels])
  const bindings = { x: read(input), g: read(gradOut), sums: write(sums) }
  const common = { ...fields, ...extents('x', input), ...extents('g', gradOut), channels: outChannels, rows }
  launcher.dispatch({
    label: 'convolution.gradWeight',
    bindings,
    integers: { ...strideFields(bindings), ...common, blocks, items, per_part: ceilDiv(rows, parts) },
    code: () => `
@compute @workgroup_size(${invocations}) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let item = id.x;
  if (item >= args.items) { return; }
  let n = item % args.channels;
  let first = item / args.channels % args.blocks * ${inners}u;
  let tap = item / args.channels / args.blocks;
  let it = tap / (args.kh * args.kw);
  let ih = tap / args.kw % args.kh;
  let iw = tap % args.kw;
  let x_channel = n / args.out_width * args.in_width + first;
  ${range(inners)
    .map((j) => `var y${j} = 0.0; let there${j} = first + ${j}u < args.in_width;`)
    .join(' ')}
  let last = min(args.rows, (id.y + 1u) * args.per_part);
  for (var row = id.y * args.per_part; row < last; row++) {
    let h = row % args.g_h;
    let t = row / args.g_h % args.g_t;
    let b = row / args.g_h / args.g_t;
    ${seen('t', 't', 'it', 'qt', 'ok_t', 'args.x_t')}
    ${seen('h', 'h', 'ih', 'qh', 'ok_h', 'args.x_h')}
    if (!ok_t || !ok_h) { continue; }
    let x_row = ${at('x', 'b', 'u32(qt)', 'u32(qh)', '0u')} + x_channel;
    let g_row = ${at('g', 'b', 't', 'h', '0u')} + n;
    for (var w = 0u; w < args.g_w; w++) {
      ${seen('w', 'w', 'iw', 'qw', 'ok_w', 'args.x_w')}
      if (!ok_w) { continue; }
      let g = g_get(g_row + w * args.g_s3);
      let x = x_row + u32(qw) * args.x_s3;
      ${range(inners)
        .map((j) => `if (there${j}) { y${j} += g * x_get(x + ${j}u); }`)
        .join('\n      ')}
    }
  }
  let to = id.y * args.sums_s0 + (tap * args.in_width + first) * args.channels + n;
  ${range(inners)
    .map((j) => `if (there${j}) { sums_set(to + ${j}u * args.channels, y${j}); }`)
    .join('\n  ')}
}`,
    workgroups: [ceilDiv(items, invocations), parts, 1],
  })
  turnBack(launcher, joined(launcher, sums), gradWeight, fields)
  if (gradBias) biasSums(launcher, gradOut, gradBias)
}

/** Parts (S, n) summed into one (1, n), in order. */
function joined(launcher: Launcher, sums: Operand): Operand {
  const [parts, n] = sums.shape
  if (parts === 1) return sums
  const total = launcher.scratch('float32', [1, n])
  sumParts(launcher, sums, total)
  return total
}

/** (taps, inner, Cout) into the layout of weights. */
function turnBack(launcher: Launcher, turned: Operand, weight: Operand, fields: Record<string, number>): void {
  const items = size(weight.shape)
  const bindings = { x: read(turned), w: write(weight) }
  launcher.dispatch({
    label: 'convolution.turnBack',
    bindings,
    integers: { ...strideFields(bindings), w_s4: weight.strides[4], ...fields, channels: weight.shape[0], items },
    code: () => `${linearEntry(invocations)}
  let item = group * ${invocations}u + lane;
  if (item >= args.items) { return; }
  let taps = args.kt * args.kh * args.kw;
  let tap = item % taps;
  let c = item / taps % args.in_width;
  let n = item / taps / args.in_width;
  let group_of = 0u;
  ${rowOfWeight}
  w_set(n * args.w_s0 + c * args.w_s1 + tap_at, x_get((tap * args.in_width + c) * args.channels + n));
}`,
    workgroups: linearGrid(ceilDiv(items, invocations)),
  })
}

/** Sums of an image over everything but channels. */
function biasSums(launcher: Launcher, image: Operand, out: Operand): void {
  const rows = size(image.shape.slice(0, 3))
  const channels = image.shape[4]
  const parts = Math.max(1, Math.min(ceilDiv(launcher.traits.fillingInvocations, channels), rows, 256))
  const sums = launcher.scratch('float32', [parts, channels])
  const bindings = { g: read(image), sums: write(sums) }
  launcher.dispatch({
    label: 'convolution.gradBias',
    bindings,
    integers: { ...strideFields(bindings), ...extents('g', image), channels, rows, per_part: ceilDiv(rows, parts) },
    code: () => `
@compute @workgroup_size(${invocations}) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let n = id.x;
  if (n >= args.channels) { return; }
  var total = 0.0;
  let last = min(args.rows, (id.y + 1u) * args.per_part);
  for (var row = id.y * args.per_part; row < last; row++) {
    let at = ${at('g', 'row / args.g_h / args.g_t', 'row / args.g_h % args.g_t', 'row % args.g_h', '0u')} + n;
    for (var w = 0u; w < args.g_w; w++) { total += g_get(at + w * args.g_s3); }
  }
  sums_set(id.y * args.sums_s0 + n, total);
}`,
    workgroups: [ceilDiv(channels, invocations), parts, 1],
  })
  sumParts(launcher, sums, out)
}
