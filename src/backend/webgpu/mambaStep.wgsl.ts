// One step of a Mamba layer. Neighbouring invocations share a row of the matrix, or the states of a channel. For few
// sequences a workgroup normalises the input for itself, which costs less than a kernel of its own.
import type { Operand } from '../types.js'
import { gemm, innerPartsFor } from './gemm.wgsl.js'
import {
  alignedByFour,
  ceilDiv,
  type DeviceTraits,
  dispatchLayers,
  type Encoder,
  type Launcher,
  present,
  range,
  read,
  strideFields,
  update,
  write,
} from './launcher.js'
import { logistic } from './math.wgsl.js'
import { groupReductions, rowEntry, rowGrid, rowLanes } from './rows.wgsl.js'
import { log2e } from './scanText.js'

const sharedInvocations = 256
const aloneInvocations = 64
/** Rows of the matrix that the same invocations take, so that more loads are under way. */
const rowsAtOnce = 2
/** Invocations of a workgroup that takes a block of channels, and those that share a row of x_proj there. */
const blockInvocations = 128
const blockLanes = 8
/** Bytes of an input that is kept in workgroup memory. */
const mostInput = 8192

/** `sumLanes`: the sum over `lanes` neighbours, in each of them; all of the workgroup must call it. */
const laneSum = (lanes: number, invocations: number, subgroups: boolean): string => {
  if (lanes === 1) return 'fn sumLanes(v: f32, lane: u32) -> f32 { return v; }'
  if (subgroups)
    return `fn sumLanes(v: f32, lane: u32) -> f32 {
  var total = v;
  ${range(Math.log2(lanes))
    .map((i) => `total += subgroupShuffleXor(total, ${2 ** i}u);`)
    .join(' ')}
  return total;
}`
  return `
var<workgroup> laneValues: array<f32, ${invocations}>;
fn sumLanes(v: f32, lane: u32) -> f32 {
  laneValues[lane] = v;
  workgroupBarrier();
  var total = 0.0;
  let first = lane / ${lanes}u * ${lanes}u;
  for (var i = 0u; i < ${lanes}u; i++) { total += laneValues[first + i]; }
  workgroupBarrier();
  return total;
}`
}

const powerOfTwo = (n: number) => 2 ** Math.ceil(Math.log2(n))
/** Invocations that share `n` elements. */
const lanesFor = ({ cheapBarriers }: DeviceTraits, n: number) => (cheapBarriers ? Math.min(32, powerOfTwo(n)) : 1)

/** From so many sequences on the product of whole matrices takes less time. */
const manySequences = 9

type StepIn = Parameters<typeof mambaStepIn>[1]
const product = { transposeA: 0, transposeB: 1, alpha: 1, accumulate: 0, activation: 0 }
/** Parts of the inner axis of a (M, K) operand as members of a batch. */
const innerParts = ({ shape: [rows, n], strides, ...rest }: Operand, parts: number): Operand => ({
  ...rest,
  shape: [parts, rows, n / parts],
  strides: [n / parts, strides[0], 1],
})

/**
 * The same step where the matrix is read once for all sequences: what a product of few rows needs to fill the device are
 * parts of its inner axis, and the kernel that reads the product sums them.
 */
function stepMany(launcher: Launcher, operands: StepIn, eps: number): void {
  const { stream, weight, convState, out } = operands
  const [, batch, d] = stream.shape
  const half = weight.dtype === 'float16' && out.dtype === 'float16'
  const normalized = launcher.scratch(half ? 'float16' : 'float32', [batch, d])
  sumAndNormalize(launcher, operands, eps, normalized)
  const parts = innerPartsFor(launcher, normalized, weight)
  const xz = launcher.scratch('float32', [parts, batch, 2 * convState.shape[2]])
  gemm(launcher, { a: innerParts(normalized, parts), b: innerParts(weight, parts), out: xz }, product)
  convolveAndProject(launcher, operands, xz)
}

/** `name`: the sum of `parts` loads, all of which are under way at once. */
const sumOfParts = (name: string, parts: number, load: (p: number) => string) =>
  `${range(parts)
    .map((p) => `let ${name}_${p} = ${load(p)};`)
    .join(' ')} let ${name} = ${range(parts)
    .map((p) => `${name}_${p}`)
    .join(' + ')};`

/** Part 0 of the stream becomes the sum of its parts, and `normalized` what RMSNorm makes of it. */
function sumAndNormalize(launcher: Launcher, { stream, normWeight }: StepIn, eps: number, normalized: Operand): void {
  const [parts, rows, n] = stream.shape
  const wide = [stream, normWeight, normalized].every(alignedByFour) && n % 4 === 0
  const step = wide ? 4 : 1
  const lanes = rowLanes(launcher.traits, rows, n)
  const bindings = {
    stream: parts > 1 ? update(stream, wide) : read(stream, wide),
    norm: read(normWeight, wide),
    out: write(normalized, wide),
  }
  const four = wide ? '4' : ''
  const each = (text: string) => `for (var i = lane * ${step}u; i < args.n; i += ${lanes * step}u) { ${text} }`
  const scaled = `stream_get${four}(row + i) * scale * norm_get${four}(i)`
  launcher.dispatch({
    label: `mambaStepIn.norm.${wide}.${lanes}.${parts}`,
    bindings,
    integers: { ...strideFields(bindings), rows, n },
    floats: { eps, share: 1 / n },
    workgroups: rowGrid(rows, lanes),
    code: () => `${groupReductions(lanes)}
${rowEntry(lanes)}
  if (group >= args.rows) { return; }
  let row = group * args.stream_s1;
  var squares = 0.0;
  ${each(`${sumOfParts('v', parts, (p) => `stream_get${four}(row + i + ${p}u * args.stream_s0)`)}
    ${parts > 1 ? `stream_set${four}(row + i, v);` : ''}
    squares += ${wide ? 'dot(v, v)' : 'v * v'};`)}
  let scale = inverseSqrt(groupSum(squares, lane) * args.share + args.eps);
  ${each(`out_set${four}(group * args.out_s0 + i, ${scaled});`)}
}`,
  })
}

/** Sums the parts of [x, z], (parts, B, 2D); the convolution of x, and the product of a block of its channels with x_proj. */
function convolveAndProject(launcher: Launcher, operands: StepIn, xz: Operand): void {
  const { bias, convWeight, convBias, convState, xWeight, out, projected } = operands
  const { traits } = launcher
  const [batch, K, D] = convState.shape
  const [blocks, , maps] = projected.shape
  const block = D / blocks
  const wide = block % 4 === 0 && alignedByFour(xWeight)
  const step = wide ? 4 : 1
  const invocations = traits.cheapBarriers ? blockInvocations : aloneInvocations
  const lanes = traits.cheapBarriers ? blockLanes : 1
  const subgroups = traits.exchange === 'subgroup'
  const bindings = present({
    parts: read(xz),
    bias: bias && read(bias),
    taps: read(convWeight),
    tap_bias: convBias && read(convBias),
    past: update(convState),
    weight: read(xWeight, wide),
    out: write(out),
    maps: write(projected),
  })
  dispatchLayers(launcher, {
    label: `mambaStepIn.conv.${wide}.${K}.${block}.${xz.shape[0]}.${Object.keys(bindings).join()}`,
    bindings,
    integers: { ...strideFields(bindings), channels: D, rows: maps },
    subgroups,
    workgroups: [blocks, 1, batch],
    code: () => `${logistic}
${laneSum(lanes, invocations, subgroups)}
var<workgroup> channel_row: array<${wide ? 'vec4<f32>' : 'f32'}, ${block / step}>;
@compute @workgroup_size(${invocations}) fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) wid: vec3<u32>) {
  let b = wid.z + args.z_first;
  let first = wid.x * ${block}u;
  for (var c = lane; c < ${block}u; c += ${invocations}u) {
    let d = first + c;
    let past_0 = b * args.past_s0 + d;
    let tap_0 = d * args.taps_s0;
    ${range(K - 1)
      .map((k) => `let x${k + 1} = past_get(past_0 + ${k + 1}u * args.past_s1);`)
      .join(' ')}
    let at = b * args.parts_s1 + d;
    ${sumOfParts('x_sum', xz.shape[0], (p) => `parts_get(at + ${p}u * args.parts_s0)`)}
    ${sumOfParts('z_sum', xz.shape[0], (p) => `parts_get(at + args.channels + ${p}u * args.parts_s0)`)}
    let x = x_sum${bias ? ' + bias_get(d)' : ''};
    let z = z_sum${bias ? ' + bias_get(args.channels + d)' : ''};
    ${range(K - 1)
      .map((k) => `past_set(past_0 + ${k}u * args.past_s1, x${k + 1});`)
      .join(' ')}
    past_set(past_0 + ${K - 1}u * args.past_s1, x);
    let y = silu(${[
      ...(convBias ? ['tap_bias_get(d)'] : []),
      ...range(K - 1).map((k) => `taps_get(tap_0 + ${k}u) * x${k + 1}`),
      `taps_get(tap_0 + ${K - 1}u) * x`,
    ].join(' + ')});
    out_set(b * args.out_s0 + d, y);
    out_set(b * args.out_s0 + args.channels + d, z);
    channel_row[c${wide ? ' / 4u][c & 3u' : ''}] = y;
  }
  workgroupBarrier();
  let part = lane % ${lanes}u;
  for (var r_0 = 0u; r_0 < args.rows; r_0 += ${invocations / lanes}u) {
    let r = r_0 + lane / ${lanes}u;
    let weight_0 = min(r, args.rows - 1u) * args.weight_s0 + first;
    var total = 0.0;
    for (var i = part * ${step}u; i < ${block}u; i += ${lanes * step}u) {
      total += ${wide ? 'dot(weight_get4(weight_0 + i), channel_row[i / 4u])' : 'weight_get(weight_0 + i) * channel_row[i]'};
    }
    total = sumLanes(total, lane);
    if (part == 0u && r < args.rows) { maps_set(wid.x * args.maps_s0 + b * args.maps_s1 + r, total); }
  }
}`,
  })
}

export const mambaStepIn: Encoder<'mambaStepIn'> = (launcher, operands, { eps }) => {
  const { stream, projected, xWeight } = operands
  if (stream.shape[1] >= manySequences || stream.shape[0] > 1 || projected.shape[0] > 1) {
    stepMany(launcher, operands, eps)
    return
  }
  stepFew(launcher, operands, eps)
  const { out } = operands
  const x: Operand = { ...out, shape: [1, out.shape[0], xWeight.shape[1]], strides: [0, ...out.strides] }
  gemm(launcher, { a: x, b: innerParts(xWeight, 1), out: projected }, product)
}

/** The step of few sequences, in one kernel but for x_proj. */
function stepFew(launcher: Launcher, operands: StepIn, eps: number): void {
  const { stream, normWeight, weight, bias, convWeight, convBias, convState, out } = operands
  const input: Operand = { ...stream, shape: stream.shape.slice(1), strides: stream.strides.slice(1) }
  const { traits } = launcher
  const [batch, d] = input.shape
  const [, K, D] = convState.shape
  const wide = d % 4 === 0 && [input, normWeight, weight].every(alignedByFour)
  const step = wide ? 4 : 1
  const lanes = lanesFor(traits, d / step)
  const invocations = lanes === 1 ? aloneInvocations : sharedInvocations
  const subgroups = traits.exchange === 'subgroup'
  const kept = 4 * d <= mostInput
  const perGroup = (invocations / lanes) * rowsAtOnce
  const bindings = present({
    input: read(input, wide),
    norm: read(normWeight, wide),
    weight: read(weight, wide),
    bias: bias && read(bias),
    taps: read(convWeight),
    tap_bias: convBias && read(convBias),
    past: update(convState),
    out: write(out),
  })
  dispatchLayers(launcher, {
    label: `mambaStepIn.${wide}.${lanes}.${K}.${kept ? d : 'long'}.${Object.keys(bindings).join()}`,
    bindings,
    integers: { ...strideFields(bindings), d, channels: D },
    floats: { eps },
    subgroups,
    workgroups: [ceilDiv(2 * D, perGroup), 1, batch],
    code: () => {
      const type = wide ? 'vec4<f32>' : 'f32'
      const get = (name: string, at: string) => `${name}_get${wide ? '4' : ''}(${at})`
      const product = (a: string, b: string) => (wide ? `dot(${a}, ${b})` : `${a} * ${b}`)
      const scaled = (i: string) => `${get('input', `input_0 + ${i}`)} * ${get('norm', i)}`
      const rows = range(rowsAtOnce)
      const length = kept ? `${d}u` : 'args.d'
      const finish = (r: number) => `
  let value${r} = sumLanes(total${r}, lane) * scale${bias ? ` + bias_get(row${r})` : ''};
  if (part == 0u && first + ${r}u < 2u * args.channels) {
    if (row${r} < args.channels) {
      ${range(K - 1)
        .map((k) => `past_set(past${r} + ${k}u * args.past_s1, x${r}_${k + 1});`)
        .join(' ')}
      past_set(past${r} + ${K - 1}u * args.past_s1, value${r});
      out_set(b * args.out_s0 + row${r}, silu(y${r} + taps_get(tap${r} + ${K - 1}u) * value${r}));
    } else { out_set(b * args.out_s0 + row${r}, value${r}); }
  }`
      return `${logistic}
${groupReductions(invocations)}
${laneSum(lanes, invocations, subgroups)}
${kept ? `var<workgroup> input_row: array<${type}, ${d / step}>;` : ''}
@compute @workgroup_size(${invocations}) fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) wid: vec3<u32>) {
  let b = wid.z + args.z_first;
  let part = lane % ${lanes}u;
  let first = (wid.x * ${invocations / lanes}u + lane / ${lanes}u) * ${rowsAtOnce}u;
  let input_0 = b * args.input_s0;
  // What the convolution needs is on its way while the row is summed.
  ${rows
    .map(
      (r) => `let row${r} = min(first + ${r}u, 2u * args.channels - 1u);
  let channel${r} = min(row${r}, args.channels - 1u);
  let past${r} = b * args.past_s0 + channel${r};
  let tap${r} = channel${r} * args.taps_s0;
  let weight${r} = row${r} * args.weight_s0;
  ${range(K - 1)
    .map((k) => `let x${r}_${k + 1} = past_get(past${r} + ${k + 1}u * args.past_s1);`)
    .join(' ')}
  let y${r} = ${[
    convBias ? `tap_bias_get(channel${r})` : '0.0',
    ...range(K - 1).map((k) => `taps_get(tap${r} + ${k}u) * x${r}_${k + 1}`),
  ].join(' + ')};
  var total${r} = 0.0;`,
    )
    .join('\n  ')}
  var squares = 0.0;
  for (var i = lane * ${step}u; i < ${length}; i += ${invocations * step}u) {
    let v = ${get('input', 'input_0 + i')};
    squares += ${product('v', 'v')};
    ${kept ? `input_row[i / ${step}u] = v * ${get('norm', 'i')};` : ''}
  }
  let scale = inverseSqrt(groupSum(squares, lane) / f32(args.d) + args.eps);
  for (var i = part * ${step}u; i < ${length}; i += ${lanes * step}u) {
    let v = ${kept ? `input_row[i / ${step}u]` : scaled('i')};
    ${rows.map((r) => `total${r} += ${product(get('weight', `weight${r} + i`), 'v')};`).join(' ')}
  }
  ${rows.map(finish).join('')}
}`
    },
  })
}

export const mambaStepScan: Encoder<'mambaStepScan'> = (launcher, operands) => {
  const { xz, projected, dtWeight, dtBias, A, D, state, out } = operands
  const { traits } = launcher
  const [batch, channels, N] = state.shape
  const [parts, , maps] = projected.shape
  const lanes = lanesFor(traits, N)
  const subgroups = traits.exchange === 'subgroup'
  const bindings = {
    xz: read(xz),
    maps: read(projected),
    weight: read(dtWeight),
    bias: read(dtBias),
    A: read(A),
    D: read(D),
    state: update(state),
    out: write(out),
  }
  // Where the maps are in parts, a workgroup sums them once, for as many channels as pay for it.
  const summed = parts > 1
  const invocations = summed && traits.cheapBarriers ? sharedInvocations : aloneInvocations
  const perPass = invocations / lanes
  const passes = summed ? Math.max(1, Math.floor(blockInvocations / 2 / perPass)) : 1
  const map = (i: string) => (summed ? `maps_row[${i}]` : `maps_get(maps_0 + ${i})`)
  dispatchLayers(launcher, {
    label: `mambaStepScan.${lanes}.${invocations}.${passes}.${summed ? `${maps}.${parts}` : 'whole'}`,
    bindings,
    integers: { ...strideFields(bindings), channels, N, rank: dtWeight.shape[1] },
    subgroups,
    workgroups: [ceilDiv(channels, perPass * passes), 1, batch],
    code: () => `${logistic}
${laneSum(lanes, invocations, subgroups)}
${summed ? `var<workgroup> maps_row: array<f32, ${maps}>;` : ''}
@compute @workgroup_size(${invocations}) fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) wid: vec3<u32>) {
  let b = wid.z + args.z_first;
  let part = lane % ${lanes}u;
  let maps_0 = b * args.maps_s1;
  ${
    summed
      ? `for (var i = lane; i < ${maps}u; i += ${invocations}u) {
    ${sumOfParts('total', parts, (p) => `maps_get(maps_0 + i + ${p}u * args.maps_s0)`)}
    maps_row[i] = total;
  }
  workgroupBarrier();`
      : ''
  }
  for (var pass_ = 0u; pass_ < ${passes}u; pass_++) {
    let item = (wid.x * ${passes}u + pass_) * ${perPass}u + lane / ${lanes}u;
    let inside = item < args.channels;
    let d = min(item, args.channels - 1u);
    var sum = 0.0;
    for (var r = part; r < args.rank; r += ${lanes}u) { sum += weight_get(d * args.weight_s0 + r) * ${map('r')}; }
    let delta = softplus(sumLanes(sum, lane) + bias_get(d));
    let x = xz_get(b * args.xz_s0 + d);
    let z = xz_get(b * args.xz_s0 + args.channels + d);
    var y = 0.0;
    for (var n = part; n < args.N; n += ${lanes}u) {
      let at = b * args.state_s0 + d * args.state_s1 + n;
      let h = exp2(delta * A_get(d * args.A_s0 + n) * ${log2e}) * state_get(at) + delta * x * ${map('args.rank + n')};
      y += ${map('args.rank + args.N + n')} * h;
      if (inside) { state_set(at, h); }
    }
    y = sumLanes(y, lane);
    if (inside && part == 0u) { out_set(b * args.out_s0 + d, (y + D_get(d) * x) * silu(z)); }
  }
}`,
  })
}
