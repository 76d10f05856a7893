// The causal convolution of whole sequences without carried state: an invocation takes four channels through a run of
// time steps, so that each input is read about once; the gradient finds those of input, weight and bias in one walk.
import type { Operand } from '../types.js'
import {
  alignedByFour,
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
import { sumParts } from './reduce.wgsl.js'

const invocations = 64
/** Steps of a run, forward and backward. */
const forwardSteps = 8
const backwardSteps = 32

type Forward = Parameters<Encoder<'causalConv1d'>>[1]
type Gradient = Parameters<Encoder<'causalConv1dGrad'>>[1]

/** Four channels i of a function that takes one. */
const four = (text: (lane: number) => string) =>
  `vec4<f32>(${range(4)
    .map((lane) => text(lane))
    .join(', ')})`
const weights = (K: number, bias: boolean) => `
  ${range(K)
    .map((k) => `let w${k} = ${four((lane) => `weight_get((d + ${lane}u) * args.weight_s0 + ${k}u)`)};`)
    .join('\n  ')}
  let bias = ${bias ? four((lane) => `bias_get(d + ${lane}u)`) : 'vec4<f32>()'};`
const functions = `${logistic}
fn silu4(x: vec4<f32>) -> vec4<f32> { return ${four((i) => `silu(x[${i}])`)}; }
fn siluGrad4(x: vec4<f32>) -> vec4<f32> { return ${four((i) => `siluGrad(x[${i}])`)}; }`
/** The run of an invocation: channels d..d+3 of batch member b, steps first..last-1. */
const runText = (steps: number) => `
  let item = group * ${invocations}u + lane;
  if (item >= args.items) { return; }
  let d = item % args.fours * 4u;
  let run = item / args.fours % args.runs;
  let b = item / args.fours / args.runs;
  let first = run * ${steps}u;
  let last = min(args.L, first + ${steps}u);`
const inputAt = (t: string) => `x_get4(b * args.x_s0 + (${t}) * args.x_s1 + d)`

export function convByFours(launcher: Launcher, { input, weight, bias, out }: Forward, silu: number): boolean {
  const [batch, L, D] = input.shape
  const K = weight.shape[2]
  if (D % 4 !== 0 || L < forwardSteps || ![input, out].every(alignedByFour)) return false
  const bindings = present({
    x: read(input, true),
    weight: read(weight),
    bias: bias && read(bias),
    out: write(out, true),
  })
  const runs = ceilDiv(L, forwardSteps)
  const items = (batch * runs * D) / 4
  launcher.dispatch({
    label: `conv.fours.${K}.${silu}.${!!bias}`,
    bindings,
    integers: { ...strideFields(bindings), L, runs, fours: D / 4, items },
    code: () => `${functions}
${linearEntry(invocations)}
  ${runText(forwardSteps)}
  ${weights(K, !!bias)}
  // x0 is the oldest input that the step sees.
  ${range(K)
    .map((k) => `var x${k} = vec4<f32>();`)
    .join(' ')}
  ${range(K - 1)
    .map((k) => `if (first + ${k}u >= ${K - 1}u) { x${k + 1} = ${inputAt(`first + ${k}u - ${K - 1}u`)}; }`)
    .join('\n  ')}
  for (var t = first; t < last; t++) {
    ${range(K - 1)
      .map((k) => `x${k} = x${k + 1};`)
      .join(' ')}
    x${K - 1} = ${inputAt('t')};
    let y = ${range(K).reduce((sum, k) => `fma(w${k}, x${k}, ${sum})`, 'bias')};
    out_set4(b * args.out_s0 + t * args.out_s1 + d, ${silu ? 'silu4(y)' : 'y'});
  }
}`,
    workgroups: linearGrid(ceilDiv(items, invocations)),
  })
  return true
}

/**
 * Walks a run from its end to its start. `before` is the gradient before silu; that of an input takes the K steps from
 * its own on, so a run also computes those of the K-1 steps after it.
 */
export function convGradByFours(launcher: Launcher, operands: Gradient, silu: number): boolean {
  const { input, weight, bias, initialState, resets, gradOut, gradFinalState, gradIn, gradWeight, gradBias } = operands
  const [batch, L, D] = input.shape
  const K = weight.shape[2]
  const plain = !initialState && !resets && !gradFinalState && !operands.gradInitialState
  if (!plain || D % 4 !== 0 || L < forwardSteps || ![input, gradOut, gradIn].every(alignedByFour)) return false
  const runs = ceilDiv(L, backwardSteps)
  const sums = launcher.scratch('float32', [batch * runs, D * (K + 1)])
  const bindings = present({
    x: read(input, true),
    weight: read(weight),
    bias: bias && read(bias),
    g: read(gradOut, true),
    out: write(gradIn, true),
    sums: write(sums, true),
  })
  const items = (batch * runs * D) / 4
  launcher.dispatch({
    label: `convGrad.fours.${K}.${silu}.${!!bias}`,
    bindings,
    integers: { ...strideFields(bindings), L, runs, fours: D / 4, items },
    code: () => `${functions}
${linearEntry(invocations)}
  ${runText(backwardSteps)}
  ${weights(K, !!bias)}
  // x<k> is the input that tap k of the step sees, g<i> the gradient before silu i steps after it.
  ${range(K)
    .map((k) => `var x${k} = vec4<f32>(); var sum${k} = vec4<f32>(); var g${k} = vec4<f32>();`)
    .join(' ')}
  var total = vec4<f32>();
  let end = min(args.L, last + ${K - 1}u);
  ${range(K - 1)
    .map((k) => `if (end + ${k}u >= ${K}u) { x${k} = ${inputAt(`end + ${k}u - ${K}u`)}; }`)
    .join('\n  ')}
  x${K - 1} = ${inputAt('end - 1u')};
  for (var back = end; back > first; back--) {
    let t = back - 1u;
    ${range(K - 1)
      .map((i) => K - 1 - i)
      .map((i) => `g${i} = g${i - 1};`)
      .join(' ')}
    g0 = g_get4(b * args.g_s0 + t * args.g_s1 + d);
    ${silu ? `g0 *= siluGrad4(${range(K).reduce((sum, k) => `fma(w${k}, x${k}, ${sum})`, 'bias')});` : ''}
    if (t < last) {
      out_set4(b * args.out_s0 + t * args.out_s1 + d, ${range(K)
        .map((i) => `w${K - 1 - i} * g${i}`)
        .join(' + ')});
      total += g0;
      ${range(K)
        .map((k) => `sum${k} = fma(g0, x${k}, sum${k});`)
        .join(' ')}
    }
    ${range(K - 1)
      .map((i) => K - 1 - i)
      .map((k) => `x${k} = x${k - 1};`)
      .join(' ')}
    x0 = vec4<f32>();
    if (t >= ${K}u) { x0 = ${inputAt(`t - ${K}u`)}; }
  }
  let sums_0 = (b * args.runs + run) * args.fours * ${4 * (K + 1)}u;
  // As the weight lies: the K taps of a channel are neighbours.
  ${range(K)
    .map(
      (q) =>
        `sums_set4(sums_0 + d * ${K}u + ${4 * q}u, vec4<f32>(${range(4)
          .map((i) => `sum${(4 * q + i) % K}[${Math.floor((4 * q + i) / K)}]`)
          .join(', ')}));`,
    )
    .join('\n  ')}
  sums_set4(sums_0 + args.fours * ${4 * K}u + d, total);
}`,
    workgroups: linearGrid(ceilDiv(items, invocations)),
  })
  const columns = (offset: number, n: number): Operand => ({
    ...sums,
    offset: sums.offset + offset,
    shape: [batch * runs, n],
    strides: [D * (K + 1), 1],
  })
  sumParts(launcher, columns(0, D * K), gradWeight)
  if (gradBias) sumParts(launcher, columns(D * K, D), gradBias)
  return true
}
