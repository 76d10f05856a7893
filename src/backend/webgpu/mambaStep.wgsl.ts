// One step of a Mamba layer in two kernels. Neighbouring invocations share a row of the matrix, or the states of a
// channel; a workgroup normalises the input for itself, which costs less than a kernel of its own.
import type { Operand } from '../types.js'
import { causalConv1d } from './conv.wgsl.js'
import { gemm } from './gemm.wgsl.js'
import {
  alignedByFour,
  ceilDiv,
  type DeviceTraits,
  dispatchLayers,
  type Encoder,
  type Launcher,
  linearEntry,
  linearGrid,
  present,
  range,
  read,
  strideFields,
  update,
  write,
} from './launcher.js'
import { logistic } from './math.wgsl.js'
import { rmsNorm } from './norms.wgsl.js'
import { groupReductions } from './rows.wgsl.js'
import { log2e } from './scanText.js'

const sharedInvocations = 256
const aloneInvocations = 64
/** Rows of the matrix that the same invocations take, so that more loads are under way. */
const rowsAtOnce = 2
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

/** The same step by kernels that read the matrix once for all sequences. */
function stepMany(launcher: Launcher, operands: Parameters<typeof mambaStepIn>[1], eps: number): void {
  const { input, normWeight, weight, bias, convWeight, convBias, convState, out } = operands
  const [batch, d] = input.shape
  const half = weight.dtype === 'float16' && out.dtype === 'float16'
  const normalized = launcher.scratch(half ? 'float16' : 'float32', [batch, d])
  rmsNorm(launcher, { input, weight: normWeight, out: normalized }, { eps })
  const layer = (operand: Operand) => ({ ...operand, shape: [1, ...operand.shape], strides: [0, ...operand.strides] })
  const product = { transposeA: 0, transposeB: 1, alpha: 1, accumulate: 0, activation: 0 }
  gemm(launcher, { a: layer(normalized), b: layer(weight), bias, out: layer(out) }, product)
  const x = { ...out, shape: [batch, 1, convState.shape[2]], strides: [out.strides[0], out.strides[0], 1] }
  const state = { initialState: convState, finalState: convState }
  causalConv1d(launcher, { input: x, weight: convWeight, bias: convBias, ...state, out: x }, { silu: 1, reverse: 0 })
}

export const mambaStepIn: Encoder<'mambaStepIn'> = (launcher, operands, { eps }) => {
  if (operands.input.shape[0] >= manySequences) {
    stepMany(launcher, operands, eps)
    return
  }
  const { input, normWeight, weight, bias, convWeight, convBias, convState, out } = operands
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
  const invocations = aloneInvocations
  launcher.dispatch({
    label: `mambaStepScan.${lanes}`,
    bindings,
    integers: { ...strideFields(bindings), batch, channels, N, rank: dtWeight.shape[1] },
    subgroups,
    workgroups: linearGrid(ceilDiv(batch * channels * lanes, invocations)),
    code: () => `${logistic}
${laneSum(lanes, invocations, subgroups)}
${linearEntry(invocations)}
  let part = lane % ${lanes}u;
  let item = group * ${invocations / lanes}u + lane / ${lanes}u;
  let inside = item < args.batch * args.channels;
  let d = item % args.channels;
  let b = select(0u, item / args.channels, inside);
  let maps_0 = b * args.maps_s0;
  var sum = 0.0;
  for (var r = part; r < args.rank; r += ${lanes}u) { sum += weight_get(d * args.weight_s0 + r) * maps_get(maps_0 + r); }
  let delta = softplus(sumLanes(sum, lane) + bias_get(d));
  let x = xz_get(b * args.xz_s0 + d);
  let z = xz_get(b * args.xz_s0 + args.channels + d);
  var y = 0.0;
  for (var n = part; n < args.N; n += ${lanes}u) {
    let at = b * args.state_s0 + d * args.state_s1 + n;
    let h = exp2(delta * A_get(d * args.A_s0 + n) * ${log2e}) * state_get(at) + delta * x * maps_get(maps_0 + args.rank + n);
    y += maps_get(maps_0 + args.rank + args.N + n) * h;
    if (inside) { state_set(at, h); }
  }
  y = sumLanes(y, lane);
  if (inside && part == 0u) { out_set(b * args.out_s0 + d, (y + D_get(d) * x) * silu(z)); }
}`,
  })
}
