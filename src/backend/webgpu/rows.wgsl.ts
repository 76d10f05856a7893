// Reductions over a workgroup, and the kernels that give each row a workgroup: softmax and its gradient.
import { ceilDiv, type DeviceTraits, type Encoder, linearEntry, linearGrid, read, write } from './launcher.js'
import { nanSafe } from './math.wgsl.js'

const aloneInvocations = 64

/** Invocations that share a row of n elements; 1 where a row is short, or where sharing costs more than it saves. */
export function rowLanes({ cheapBarriers }: DeviceTraits, rows: number, n: number): number {
  if (n <= 32 || (!cheapBarriers && rows >= 16)) return 1
  return n <= 256 ? 64 : 256
}

/** The grid of `rows` rows, and the entry point that gives each its `group` and `lane`. */
export const rowGrid = (rows: number, lanes: number) => linearGrid(lanes === 1 ? ceilDiv(rows, aloneInvocations) : rows)
export const rowEntry = (lanes: number) =>
  lanes === 1
    ? `@compute @workgroup_size(${aloneInvocations}) fn main(@builtin(local_invocation_index) member: u32, @builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let lane = 0u;
  let group = (wid.x + wid.y * grid.x) * ${aloneInvocations}u + member;`
    : linearEntry(lanes)

/** groupSum and groupMax: the same value in every invocation; all of the workgroup must call them. */
export const groupReductions = (lanes: number) =>
  lanes === 1
    ? 'fn groupSum(v: f32, lane: u32) -> f32 { return v; } fn groupMax(v: f32, lane: u32) -> f32 { return v; }'
    : `
var<workgroup> groupValues: array<f32, ${lanes}>;
fn groupSum(v: f32, lane: u32) -> f32 {
  groupValues[lane] = v;
  workgroupBarrier();
  for (var half = ${lanes / 2}u; half > 0u; half >>= 1u) {
    if (lane < half) { groupValues[lane] += groupValues[lane + half]; }
    workgroupBarrier();
  }
  let total = groupValues[0];
  workgroupBarrier();
  return total;
}
fn groupMax(v: f32, lane: u32) -> f32 {
  groupValues[lane] = v;
  workgroupBarrier();
  for (var half = ${lanes / 2}u; half > 0u; half >>= 1u) {
    if (lane < half) { let other = groupValues[lane + half]; if (other > groupValues[lane]) { groupValues[lane] = other; } }
    workgroupBarrier();
  }
  let most = groupValues[0];
  workgroupBarrier();
  return most;
}`

/** Below every finite float32 that matters, and not an infinity, which WGSL constants may not be. */
export const lowest = '-3.4e38'

export const softmax: Encoder<'softmax'> = (launcher, { input, out }, { log }) => {
  const [rows, n] = input.shape
  const lanes = rowLanes(launcher.traits, rows, n)
  launcher.dispatch({
    label: `softmax.${log}.${lanes}`,
    bindings: { x: read(input), out: write(out) },
    integers: { rows, n, x_s0: input.strides[0], out_s0: out.strides[0] },
    code: () => `${nanSafe}${groupReductions(lanes)}
${rowEntry(lanes)}
  let x_0 = group * args.x_s0;
  let out_0 = group * args.out_s0;
  if (group >= args.rows) { return; }
  var most = ${lowest};
  for (var i = lane; i < args.n; i += ${lanes}u) { most = max(most, x_get(x_0 + i)); }
  most = groupMax(most, lane);
  var total = 0.0;
  for (var i = lane; i < args.n; i += ${lanes}u) { total += expOf(x_get(x_0 + i) - most); }
  total = groupSum(total, lane);
  ${log ? 'let logTotal = logOf(total);' : 'let scale = 1.0 / total;'}
  for (var i = lane; i < args.n; i += ${lanes}u) {
    let v = x_get(x_0 + i) - most;
    out_set(out_0 + i, ${log ? 'v - logTotal' : 'expOf(v) * scale'});
  }
}`,
    workgroups: rowGrid(rows, lanes),
  })
}

export const softmaxGrad: Encoder<'softmaxGrad'> = (launcher, { output, gradOut, gradIn }, { log }) => {
  const [rows, n] = output.shape
  const lanes = rowLanes(launcher.traits, rows, n)
  launcher.dispatch({
    label: `softmaxGrad.${log}.${lanes}`,
    bindings: { y: read(output), g: read(gradOut), out: write(gradIn) },
    integers: { rows, n, y_s0: output.strides[0], g_s0: gradOut.strides[0], out_s0: gradIn.strides[0] },
    code: () => `${nanSafe}${groupReductions(lanes)}
${rowEntry(lanes)}
  if (group >= args.rows) { return; }
  let y_0 = group * args.y_s0;
  let g_0 = group * args.g_s0;
  var total = 0.0;
  for (var i = lane; i < args.n; i += ${lanes}u) { total += g_get(g_0 + i)${log ? '' : ' * y_get(y_0 + i)'}; }
  total = groupSum(total, lane);
  for (var i = lane; i < args.n; i += ${lanes}u) {
    let y = y_get(y_0 + i);
    let g = g_get(g_0 + i);
    out_set(group * args.out_s0 + i, ${log ? 'g - expOf(y) * total' : 'y * (g - total)'});
  }
}`,
    workgroups: rowGrid(rows, lanes),
  })
}
