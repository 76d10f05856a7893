// Causal depth-wise convolution over time with carried state and resets, and its gradients.
import type { Operand } from '../types.js'
import { convByFours, convGradByFours } from './convFours.wgsl.js'
import {
  ceilDiv,
  type Encoder,
  type Launcher,
  linearEntry,
  linearGrid,
  present,
  range,
  read,
  strideFields,
  write,
} from './launcher.js'
import { logistic } from './math.wgsl.js'
import type { Binding } from './program.js'
import { sumParts } from './reduce.wgsl.js'

const invocations = 64

/** The input that tap k of output (b, t, d) sees, as statements over the taps from the newest to the oldest: `each` gets k and may use `x`. */
function taps(K: number, bindings: Record<string, Binding>, each: (k: number) => string): string {
  const past = bindings.initial ? `x = initial_get(b * args.initial_s0 + (${K}u + t - age) * args.initial_s1 + d);` : ''
  return `var open = true;
  ${range(K)
    .map((age) => {
      const k = K - 1 - age
      const reset =
        age > 0 && bindings.resets
          ? `if (t >= ${age - 1}u) { open = open && resets_get(b * args.resets_s0 + (t - ${age - 1}u) * args.resets_s1) == 0; }`
          : ''
      return `{ let age = ${age}u; ${reset}
    var x = 0.0;
    if (open) { if (t >= age) { x = x_get(b * args.x_s0 + (t - age) * args.x_s1 + d); } else { ${past} } }
    ${each(k)} }`
    })
    .join('\n  ')}`
}

/** Item = (b, t, d), channels fastest. */
const itemText = `
  let item = group * ${invocations}u + lane;
  if (item >= args.items) { return; }
  let d = item % args.channels;
  let t = item / args.channels % args.L;
  let b = item / args.channels / args.L;`

/** The operands that have an axis of time, as (B, L, ...) in the order in which steps run; indices wrap, so that strides may be negative. */
function inOrder<O extends Readonly<Record<string, Operand | null | undefined>>>(operands: O, reverse: number): O {
  const turned = ['input', 'resets', 'out', 'gradOut', 'gradIn'].flatMap((name) => {
    const operand = operands[name]
    if (!operand) return []
    const [batch, length, channels = 1] = operand.shape
    const [perBatch, perStep] = operand.strides
    const offset = reverse ? operand.offset + Math.max(0, length - 1) * perStep : operand.offset
    const strides = [perBatch, reverse ? -perStep : perStep, 1]
    return [[name, { ...operand, offset, shape: [batch, length, channels], strides }] as const]
  })
  return { ...operands, ...Object.fromEntries(turned) }
}

export const causalConv1d: Encoder<'causalConv1d'> = (launcher, given, { silu, reverse }) => {
  const operands = inOrder(given, reverse)
  const { input, weight, bias, initialState, resets, out, finalState } = operands
  const [batch, L, D] = input.shape
  const K = weight.shape[2]
  const bindings = present({
    x: read(input),
    weight: read(weight),
    bias: bias && read(bias),
    initial: initialState && read(initialState),
    resets: resets && read(resets),
    out: write(out),
  })
  if (L === 1 && finalState && initialState && !resets) {
    stepByChannel(launcher, operands, initialState, finalState, silu)
    return
  }
  if (!initialState && !resets && convByFours(launcher, operands, silu)) {
    if (finalState) keepLastInputs(launcher, operands, finalState, K)
    return
  }
  const items = batch * L * D
  launcher.dispatch({
    label: `conv.${K}.${silu}.${Object.keys(bindings).join()}`,
    bindings,
    integers: { ...strideFields(bindings), L, channels: D, items },
    code: () => `${logistic}
${linearEntry(invocations)}
  ${itemText}
  var y = ${bias ? 'bias_get(d)' : '0.0'};
  ${taps(K, bindings, (k) => `y += weight_get(d * args.weight_s0 + ${k}u) * x;`)}
  out_set(b * args.out_s0 + t * args.out_s1 + d, ${silu ? 'silu(y)' : 'y'});
}`,
    workgroups: linearGrid(ceilDiv(items, invocations)),
  })
  if (finalState) keepLastInputs(launcher, operands, finalState, K)
}

/** One step: an invocation reads a channel's past, and shifts it on (initial and final state may be one). */
function stepByChannel(
  launcher: Launcher,
  { input, weight, bias, out }: Parameters<typeof causalConv1d>[1],
  initialState: Operand,
  finalState: Operand,
  silu: number,
): void {
  const [batch, , D] = input.shape
  const K = weight.shape[2]
  const bindings = present({
    x: read(input),
    weight: read(weight),
    bias: bias && read(bias),
    initial: read(initialState),
    out: write(out),
    state: write(finalState),
  })
  launcher.dispatch({
    label: `conv.step.${K}.${silu}.${!!bias}`,
    bindings,
    integers: { ...strideFields(bindings), channels: D, items: batch * D },
    code: () => `${logistic}
${linearEntry(invocations)}
  let item = group * ${invocations}u + lane;
  if (item >= args.items) { return; }
  let d = item % args.channels;
  let b = item / args.channels;
  ${range(K)
    .map((k) =>
      k < K - 1
        ? `let x${k} = initial_get(b * args.initial_s0 + ${k + 1}u * args.initial_s1 + d);`
        : `let x${k} = x_get(b * args.x_s0 + d);`,
    )
    .join('\n  ')}
  let y = ${range(K).reduce((sum, k) => `fma(weight_get(d * args.weight_s0 + ${k}u), x${k}, ${sum})`, bias ? 'bias_get(d)' : '0.0')};
  out_set(b * args.out_s0 + d, ${silu ? 'silu(y)' : 'y'});
  ${range(K)
    .map((k) => `state_set(b * args.state_s0 + ${k}u * args.state_s1 + d, x${k});`)
    .join(' ')}
}`,
    workgroups: linearGrid(ceilDiv(batch * D, invocations)),
  })
}

/** The last K inputs of the running sequence. Rows are written in the order in which an aliased initial state is read. */
function keepLastInputs(
  launcher: Launcher,
  { input, initialState, resets }: Parameters<typeof causalConv1d>[1],
  finalState: Operand,
  K: number,
): void {
  const [batch, L, D] = input.shape
  const bindings = present({
    x: read(input),
    initial: initialState && read(initialState),
    resets: resets && read(resets),
    out: write(finalState),
  })
  launcher.dispatch({
    label: `conv.state.${K}.${Object.keys(bindings).join()}`,
    bindings,
    integers: { ...strideFields(bindings), L, channels: D, items: batch * D },
    code: () => `${linearEntry(invocations)}
  let item = group * ${invocations}u + lane;
  if (item >= args.items) { return; }
  let d = item % args.channels;
  let b = item / args.channels;
  // The first position of the running sequence, counted from L - K.
  var start = 0u;
  ${
    resets
      ? `for (var r = 0u; r < ${K}u; r++) {
    if (args.L + r >= ${K}u && resets_get(b * args.resets_s0 + (args.L + r - ${K}u) * args.resets_s1) != 0) { start = r; }
  }`
      : ''
  }
  for (var r = 0u; r < ${K}u; r++) {
    var x = 0.0;
    if (r >= start) {
      if (args.L + r >= ${K}u) { x = x_get(b * args.x_s0 + (args.L + r - ${K}u) * args.x_s1 + d); }
      ${initialState ? 'else { x = initial_get(b * args.initial_s0 + (args.L + r) * args.initial_s1 + d); }' : ''}
    }
    out_set(b * args.out_s0 + r * args.out_s1 + d, x);
  }
}`,
    workgroups: linearGrid(ceilDiv(batch * D, invocations)),
  })
}

type Gradient = Parameters<Encoder<'causalConv1dGrad'>>[1]

export const causalConv1dGrad: Encoder<'causalConv1dGrad'> = (launcher, given, { silu, reverse }) => {
  const operands = inOrder(given, reverse)
  const { gradOut, gradInitialState } = operands
  if (convGradByFours(launcher, operands, silu)) return
  const before = silu ? gradBeforeSilu(launcher, operands) : gradOut
  gradOfInput(launcher, operands, before)
  gradOfWeight(launcher, operands, before)
  if (gradInitialState) gradOfInitialState(launcher, operands, before, gradInitialState)
}

/** gradOut times the derivative of silu at the convolution, which is computed again. */
function gradBeforeSilu(launcher: Launcher, operands: Gradient): Operand {
  const { input, weight, bias, initialState, resets, gradOut } = operands
  const [batch, L, D] = input.shape
  const K = weight.shape[2]
  const result = launcher.scratch('float32', [batch, L, D])
  const bindings = present({
    x: read(input),
    weight: read(weight),
    bias: bias && read(bias),
    initial: initialState && read(initialState),
    resets: resets && read(resets),
    g: read(gradOut),
    out: write(result),
  })
  const items = batch * L * D
  launcher.dispatch({
    label: `convGrad.silu.${K}.${Object.keys(bindings).join()}`,
    bindings,
    integers: { ...strideFields(bindings), L, channels: D, items },
    code: () => `${logistic}
${linearEntry(invocations)}
  ${itemText}
  var y = ${bias ? 'bias_get(d)' : '0.0'};
  ${taps(K, bindings, (k) => `y += weight_get(d * args.weight_s0 + ${k}u) * x;`)}
  out_set(item, g_get(b * args.g_s0 + t * args.g_s1 + d) * siluGrad(y));
}`,
    workgroups: linearGrid(ceilDiv(items, invocations)),
  })
  return result
}

function gradOfInput(launcher: Launcher, operands: Gradient, before: Operand): void {
  const { input, weight, resets, gradFinalState, gradIn } = operands
  const [batch, L, D] = input.shape
  const K = weight.shape[2]
  const bindings = present({
    weight: read(weight),
    resets: resets && read(resets),
    g: read(before),
    last: gradFinalState && read(gradFinalState),
    out: write(gradIn),
  })
  const items = batch * L * D
  launcher.dispatch({
    label: `convGrad.input.${K}.${Object.keys(bindings).join()}`,
    bindings,
    integers: { ...strideFields(bindings), L, channels: D, items },
    code: () => `${linearEntry(invocations)}
  ${itemText}
  var total = 0.0;
  var open = true;
  for (var i = 0u; i < ${K}u; i++) {
    if (t + i >= args.L) { break; }
    ${resets ? 'if (i > 0u && resets_get(b * args.resets_s0 + (t + i) * args.resets_s1) != 0) { open = false; break; }' : ''}
    total += weight_get(d * args.weight_s0 + ${K - 1}u - i) * g_get(b * args.g_s0 + (t + i) * args.g_s1 + d);
  }
  ${
    gradFinalState
      ? `if (open && t + ${K}u >= args.L) { total += last_get(b * args.last_s0 + (t + ${K}u - args.L) * args.last_s1 + d); }`
      : ''
  }
  out_set(b * args.out_s0 + t * args.out_s1 + d, total);
}`,
    workgroups: linearGrid(ceilDiv(items, invocations)),
  })
}

function gradOfWeight(launcher: Launcher, operands: Gradient, before: Operand): void {
  const { input, weight, initialState, resets, gradWeight, gradBias } = operands
  const [batch, L, D] = input.shape
  const K = weight.shape[2]
  const rows = batch * L
  const parts = Math.max(1, Math.min(ceilDiv(launcher.traits.fillingInvocations, D), ceilDiv(rows, 16), 1024))
  const sums = launcher.scratch('float32', [parts, D * (K + 1)])
  const bindings = present({
    x: read(input),
    initial: initialState && read(initialState),
    resets: resets && read(resets),
    g: read(before),
    sums: write(sums),
  })
  launcher.dispatch({
    label: `convGrad.weight.${K}.${Object.keys(bindings).join()}`,
    bindings,
    integers: { ...strideFields(bindings), L, channels: D, rows, per_part: ceilDiv(rows, parts) },
    code: () => `
@compute @workgroup_size(${invocations}) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let d = id.x;
  if (d >= args.channels) { return; }
  ${range(K)
    .map((k) => `var w${k} = 0.0;`)
    .join(' ')}
  var total = 0.0;
  let last = min(args.rows, (id.y + 1u) * args.per_part);
  for (var row = id.y * args.per_part; row < last; row++) {
    let b = row / args.L;
    let t = row % args.L;
    let g = g_get(b * args.g_s0 + t * args.g_s1 + d);
    total += g;
    ${taps(K, bindings, (k) => `w${k} += g * x;`)}
  }
  let sums_0 = id.y * args.channels * ${K + 1}u;
  ${range(K)
    .map((k) => `sums_set(sums_0 + d * ${K}u + ${k}u, w${k});`)
    .join(' ')}
  sums_set(sums_0 + args.channels * ${K}u + d, total);
}`,
    workgroups: [ceilDiv(D, invocations), parts, 1],
  })
  const columns = (offset: number, n: number): Operand => ({
    ...sums,
    offset: sums.offset + offset,
    shape: [parts, n],
    strides: [D * (K + 1), 1],
  })
  sumParts(launcher, columns(0, D * K), gradWeight)
  if (gradBias) sumParts(launcher, columns(D * K, D), gradBias)
}

function gradOfInitialState(launcher: Launcher, operands: Gradient, before: Operand, target: Operand): void {
  const { input, weight, resets, gradFinalState } = operands
  const [batch, L, D] = input.shape
  const K = weight.shape[2]
  const bindings = present({
    weight: read(weight),
    resets: resets && read(resets),
    g: read(before),
    last: gradFinalState && read(gradFinalState),
    out: write(target),
  })
  const items = batch * K * D
  launcher.dispatch({
    label: `convGrad.state.${K}.${Object.keys(bindings).join()}`,
    bindings,
    integers: { ...strideFields(bindings), L, channels: D, items },
    code: () => `${linearEntry(invocations)}
  let item = group * ${invocations}u + lane;
  if (item >= args.items) { return; }
  let d = item % args.channels;
  let row = item / args.channels % ${K}u;
  let b = item / args.channels / ${K}u;
  var total = 0.0;
  var open = true;
  for (var t = 0u; t < min(row, args.L); t++) {
    ${resets ? 'open = open && resets_get(b * args.resets_s0 + t * args.resets_s1) == 0; if (!open) { break; }' : ''}
    total += weight_get(d * args.weight_s0 + row - 1u - t) * g_get(b * args.g_s0 + t * args.g_s1 + d);
  }
  ${
    gradFinalState
      ? // Rows that a short sequence passes on.
        'if (open && row >= args.L) { total += last_get(b * args.last_s0 + (row - args.L) * args.last_s1 + d); }'
      : ''
  }
  out_set(b * args.out_s0 + row * args.out_s1 + d, total);
}`,
    workgroups: linearGrid(ceilDiv(items, invocations)),
  })
}
