// Softmax attention without an L x S matrix: a workgroup a query walks over tiles of keys with a running maximum and
// sum. The gradient computes the weights again from logSumExp: once a query for q, once a key for k and v.
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
import { nanSafe } from './math.wgsl.js'
import type { Binding } from './program.js'
import { groupReductions } from './rows.wgsl.js'

const lanes = 64

interface Shape {
  readonly L: number
  readonly S: number
  readonly H: number
  readonly keyHeads: number
  readonly P: number
}

const shapeOf = (q: Operand, k: Operand): Shape => ({
  L: q.shape[1],
  S: k.shape[1],
  H: q.shape[2],
  keyHeads: k.shape[2],
  P: q.shape[3],
})

const fields = (bindings: Record<string, Binding>, { L, S, H, keyHeads }: Shape) => ({
  ...strideFields(bindings),
  L,
  S,
  H,
  key_heads: keyHeads,
})

/** Keys that query t of batch member b sees are those below `visible(b, t)`. */
const visibleText = (hasLengths: boolean, causal: number) => `
fn keysOf(b: u32) -> i32 { return ${hasLengths ? 'clamp(lengths_get(b), 0, i32(args.S))' : 'i32(args.S)'}; }
fn visible(b: u32, t: u32) -> u32 {
  let keys = keysOf(b);
  return u32(max(0, ${causal ? 'min(keys, i32(t) + keys - i32(args.L) + 1)' : 'keys'}));
}
var<workgroup> limit_: u32;`

/** Sums over the head's channels, written as a loop over P. */
const dot = (P: number, a: (i: string) => string, b: (i: string) => string, result: string) =>
  `var ${result} = 0.0; for (var i = 0u; i < ${P}u; i++) { ${result} += ${a('i')} * ${b('i')}; }`

/** The channels of one lane. */
const channels = (P: number) => range(ceilDiv(P, lanes))
const eachChannel = (P: number, text: (j: number) => string) =>
  channels(P)
    .map((j) => `{ let i = lane + ${j * lanes}u; if (i < ${P}u) { ${text(j)} } }`)
    .join('\n    ')

const queryHead = `
  if (group >= args.items) { return; }
  let t = group % args.L;
  let h = group / args.L % args.H;
  let b = group / args.L / args.H;
  let kh = h * args.key_heads / args.H;
  if (lane == 0u) { limit_ = visible(b, t); }
  let limit = workgroupUniformLoad(&limit_);
  let q_0 = b * args.q_s0 + t * args.q_s1 + h * args.q_s2;
  let k_0 = b * args.k_s0 + kh * args.k_s2;
  let v_0 = b * args.v_s0 + kh * args.v_s2;`

export const attention: Encoder<'attention'> = (launcher, operands, { scale, causal }) => {
  const { q, k, v, keyLengths, out, logSumExp } = operands
  const shape = shapeOf(q, k)
  const { P } = shape
  const bindings = present({
    q: read(q),
    k: read(k),
    v: read(v),
    lengths: keyLengths && read(keyLengths),
    out: write(out),
    lse: logSumExp && write(logSumExp),
  })
  const items = size(q.shape) / P
  launcher.dispatch({
    label: `attention.${P}.${causal}.${Object.keys(bindings).join()}`,
    bindings,
    integers: { ...fields(bindings, shape), items },
    floats: { scale },
    code: () => `${nanSafe}${groupReductions(lanes)}
${visibleText(!!keyLengths, causal)}
var<workgroup> query: array<f32, ${P}>;
var<workgroup> weights: array<f32, ${lanes}>;
${linearEntry(lanes)}
  ${queryHead}
  ${eachChannel(P, () => 'query[i] = q_get(q_0 + i) * args.scale;')}
  workgroupBarrier();
  var most = -3.4e38;
  var total = 0.0;
  ${channels(P)
    .map((j) => `var y${j} = 0.0;`)
    .join(' ')}
  for (var s0 = 0u; s0 < limit; s0 += ${lanes}u) {
    let s = s0 + lane;
    var score = -3.4e38;
    if (s < limit) { ${dot(
      P,
      (i) => `query[${i}]`,
      (i) => `k_get(k_0 + s * args.k_s1 + ${i})`,
      'x',
    )} score = x; }
    let newMost = max(most, groupMax(score, lane));
    let weight = select(0.0, expOf(score - newMost), s < limit);
    let shrink = expOf(most - newMost);
    most = newMost;
    total = total * shrink + groupSum(weight, lane);
    weights[lane] = weight;
    workgroupBarrier();
    let count = min(${lanes}u, limit - s0);
    ${eachChannel(P, (j) => `y${j} *= shrink; for (var m = 0u; m < count; m++) { y${j} += weights[m] * v_get(v_0 + (s0 + m) * args.v_s1 + i); }`)}
    workgroupBarrier();
  }
  let scale = select(0.0, 1.0 / total, limit > 0u);
  ${eachChannel(P, (j) => `out_set(b * args.out_s0 + t * args.out_s1 + h * args.out_s2 + i, y${j} * scale);`)}
  ${logSumExp ? 'if (lane == 0u) { lse_set(b * args.lse_s0 + h * args.lse_s1 + t, select(0.0, most + logOf(total), limit > 0u)); }' : ''}
}`,
    workgroups: linearGrid(items),
  })
}

export const attentionGrad: Encoder<'attentionGrad'> = (launcher, operands, { scale, causal }) => {
  const { q, k } = operands
  const shape = shapeOf(q, k)
  const [batch, L, H] = q.shape
  const dots = launcher.scratch('float32', [batch, H, L])
  queryGradient(launcher, operands, shape, dots, scale, causal)
  keyGradient(launcher, operands, shape, dots, scale, causal)
}

type Gradient = Parameters<Encoder<'attentionGrad'>>[1]

/** gradQ, and for each query the sum of out * gradOut, which the keys' gradient needs too. */
function queryGradient(
  launcher: Launcher,
  { q, k, v, keyLengths, out, logSumExp, gradOut, gradQ }: Gradient,
  shape: Shape,
  dots: Operand,
  scale: number,
  causal: number,
): void {
  const { P } = shape
  const bindings = present({
    q: read(q),
    k: read(k),
    v: read(v),
    lengths: keyLengths && read(keyLengths),
    y: read(out),
    lse: read(logSumExp),
    g: read(gradOut),
    dots: write(dots),
    gradQ: write(gradQ),
  })
  const items = size(q.shape) / P
  launcher.dispatch({
    label: `attentionGrad.q.${P}.${causal}.${!!keyLengths}`,
    bindings,
    integers: { ...fields(bindings, shape), items },
    floats: { scale },
    code: () => `${nanSafe}${groupReductions(lanes)}
${visibleText(!!keyLengths, causal)}
var<workgroup> query: array<f32, ${P}>;
var<workgroup> grad: array<f32, ${P}>;
var<workgroup> weights: array<f32, ${lanes}>;
${linearEntry(lanes)}
  ${queryHead}
  let g_0 = b * args.g_s0 + t * args.g_s1 + h * args.g_s2;
  var own = 0.0;
  ${eachChannel(P, () => 'query[i] = q_get(q_0 + i) * args.scale; grad[i] = g_get(g_0 + i); own += grad[i] * y_get(b * args.y_s0 + t * args.y_s1 + h * args.y_s2 + i);')}
  let total = groupSum(own, lane);
  if (lane == 0u) { dots_set(b * args.dots_s0 + h * args.dots_s1 + t, total); }
  let lse = lse_get(b * args.lse_s0 + h * args.lse_s1 + t);
  ${channels(P)
    .map((j) => `var d${j} = 0.0;`)
    .join(' ')}
  for (var s0 = 0u; s0 < limit; s0 += ${lanes}u) {
    let s = s0 + lane;
    var ds = 0.0;
    if (s < limit) {
      ${dot(
        P,
        (i) => `query[${i}]`,
        (i) => `k_get(k_0 + s * args.k_s1 + ${i})`,
        'x',
      )}
      ${dot(
        P,
        (i) => `grad[${i}]`,
        (i) => `v_get(v_0 + s * args.v_s1 + ${i})`,
        'dp',
      )}
      // The only key of a query has weight 1, whatever it is.
      ds = select(expOf(x - lse) * (dp - total) * args.scale, 0.0, limit == 1u);
    }
    weights[lane] = ds;
    workgroupBarrier();
    let count = min(${lanes}u, limit - s0);
    ${eachChannel(P, (j) => `for (var m = 0u; m < count; m++) { d${j} += weights[m] * k_get(k_0 + (s0 + m) * args.k_s1 + i); }`)}
    workgroupBarrier();
  }
  ${eachChannel(P, (j) => `gradQ_set(b * args.gradQ_s0 + t * args.gradQ_s1 + h * args.gradQ_s2 + i, d${j});`)}
}`,
    workgroups: linearGrid(items),
  })
}

function keyGradient(
  launcher: Launcher,
  { q, k, v, keyLengths, logSumExp, gradOut, gradK, gradV }: Gradient,
  shape: Shape,
  dots: Operand,
  scale: number,
  causal: number,
): void {
  const { P } = shape
  const bindings = present({
    q: read(q),
    k: read(k),
    v: read(v),
    lengths: keyLengths && read(keyLengths),
    lse: read(logSumExp),
    g: read(gradOut),
    dots: read(dots),
    gradK: write(gradK),
    gradV: write(gradV),
  })
  const items = size(k.shape) / P
  launcher.dispatch({
    label: `attentionGrad.k.${P}.${causal}.${!!keyLengths}`,
    bindings,
    integers: { ...fields(bindings, shape), items },
    floats: { scale },
    code: () => `${nanSafe}${visibleText(!!keyLengths, causal)}
var<workgroup> key: array<f32, ${P}>;
var<workgroup> value: array<f32, ${P}>;
var<workgroup> weights: array<f32, ${lanes}>;
var<workgroup> slopes: array<f32, ${lanes}>;
${linearEntry(lanes)}
  if (group >= args.items) { return; }
  let s = group % args.S;
  let kh = group / args.S % args.key_heads;
  let b = group / args.S / args.key_heads;
  let k_0 = b * args.k_s0 + s * args.k_s1 + kh * args.k_s2;
  let v_0 = b * args.v_s0 + s * args.v_s1 + kh * args.v_s2;
  ${eachChannel(P, () => 'key[i] = k_get(k_0 + i) * args.scale; value[i] = v_get(v_0 + i);')}
  workgroupBarrier();
  ${channels(P)
    .map((j) => `var dk${j} = 0.0; var dv${j} = 0.0;`)
    .join(' ')}
  let firstHead = (kh * args.H + args.key_heads - 1u) / args.key_heads;
  let lastHead = ((kh + 1u) * args.H + args.key_heads - 1u) / args.key_heads;
  for (var h = firstHead; h < lastHead; h++) {
    let q_0 = b * args.q_s0 + h * args.q_s2;
    let g_0 = b * args.g_s0 + h * args.g_s2;
    for (var t0 = 0u; t0 < args.L; t0 += ${lanes}u) {
      let t = t0 + lane;
      var weight = 0.0;
      var slope = 0.0;
      if (t < args.L && s < visible(b, t)) {
        ${dot(
          P,
          (i) => `key[${i}]`,
          (i) => `q_get(q_0 + t * args.q_s1 + ${i})`,
          'x',
        )}
        ${dot(
          P,
          (i) => `value[${i}]`,
          (i) => `g_get(g_0 + t * args.g_s1 + ${i})`,
          'dp',
        )}
        weight = expOf(x - lse_get(b * args.lse_s0 + h * args.lse_s1 + t));
        let share = weight * (dp - dots_get(b * args.dots_s0 + h * args.dots_s1 + t)) * args.scale;
        slope = select(share, 0.0, visible(b, t) == 1u);
      }
      weights[lane] = weight;
      slopes[lane] = slope;
      workgroupBarrier();
      let count = min(${lanes}u, args.L - t0);
      ${eachChannel(
        P,
        (j) => `for (var m = 0u; m < count; m++) {
        dk${j} += slopes[m] * q_get(q_0 + (t0 + m) * args.q_s1 + i);
        dv${j} += weights[m] * g_get(g_0 + (t0 + m) * args.g_s1 + i);
      }`,
      )}
      workgroupBarrier();
    }
  }
  ${eachChannel(
    P,
    (j) => `gradK_set(b * args.gradK_s0 + s * args.gradK_s1 + kh * args.gradK_s2 + i, dk${j});
    gradV_set(b * args.gradV_s0 + s * args.gradV_s1 + kh * args.gradV_s2 + i, dv${j});`,
  )}
}`,
    workgroups: linearGrid(items),
  })
}
