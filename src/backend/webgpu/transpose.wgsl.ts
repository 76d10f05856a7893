// Transposes float16 matrices through workgroup memory, so that both sides are read and written in rows.
import type { Operand } from '../types.js'
import { ceilDiv, dispatchLayers, type Launcher, read, write } from './launcher.js'

/** Rows and columns of a tile; invocations stand in rows of `side`. */
const side = 32
const rowsAtOnce = 8

/** (batch, K, M) as a contiguous (batch, M, K) of the same dtype. */
export function transposed(launcher: Launcher, input: Operand): Operand {
  const [batch, K, M] = input.shape
  const out = launcher.scratch(input.dtype, [batch, M, K])
  dispatchLayers(launcher, {
    label: 'transpose',
    bindings: { x: read(input), out: write(out) },
    integers: { K, M, x_s0: input.strides[0], x_s1: input.strides[1], out_s0: out.strides[0] },
    code: () => `
var<workgroup> tile: array<f32, ${side * (side + 1)}>;
@compute @workgroup_size(${side * rowsAtOnce}) fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) wid: vec3<u32>) {
  let b = wid.z + args.z_first;
  let across = lane % ${side}u;
  for (var i = lane / ${side}u; i < ${side}u; i += ${rowsAtOnce}u) {
    let k = wid.y * ${side}u + i;
    let m = wid.x * ${side}u + across;
    if (k < args.K && m < args.M) { tile[i * ${side + 1}u + across] = x_get(b * args.x_s0 + k * args.x_s1 + m); }
  }
  workgroupBarrier();
  for (var i = lane / ${side}u; i < ${side}u; i += ${rowsAtOnce}u) {
    let m = wid.x * ${side}u + i;
    let k = wid.y * ${side}u + across;
    if (k < args.K && m < args.M) { out_set(b * args.out_s0 + m * args.K + k, tile[across * ${side + 1}u + i]); }
  }
}`,
    workgroups: [ceilDiv(M, side), ceilDiv(K, side), batch],
  })
  return out
}
