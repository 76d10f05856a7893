// The second stage of the scan gradient's sums.
import type { Operand } from '../types.js'
import { ceilDiv, type Launcher, linearEntry, linearGrid, present, read, strideFields, write } from './launcher.js'

export interface Walk {
  /** First step and number of steps that the parts hold. */
  readonly first: number
  readonly steps: number
  readonly L: number
  readonly reverse: number
  /** Where steps lie, if not in their own order; with two axes, one row for each direction. */
  readonly path?: Operand | null
}

/** The position of `step` for group `g` of `count`. */
const positionOf = (path: Operand | null | undefined, count: string) => {
  if (!path) return 'step'
  return path.shape.length === 2
    ? `u32(path_get(g * args.directions / ${count} * args.path_s0 + step))`
    : 'u32(path_get(step))'
}
const directionsOf = (path: Operand | null | undefined) => (path?.shape.length === 2 ? path.shape[0] : 1)

const invocations = 64

/** parts (B, steps, G, parts, 2N), states from `offset` on, summed over the parts and the groups inside each of target's, into target (B, L, G', N) at each step's position. */
export function sumColumnParts(launcher: Launcher, parts: Operand, target: Operand, offset: number, walk: Walk): void {
  const [batch, , fineGroups, count] = parts.shape
  const [, , G, N] = target.shape
  const bindings = present({ parts: read(parts), path: walk.path && read(walk.path), out: write(target) })
  const total = batch * walk.steps * G * N
  launcher.dispatch({
    label: `scanGrad.columns.${walk.reverse}.${directionsOf(walk.path) > 1}.${Object.keys(bindings).join()}`,
    bindings,
    integers: {
      ...strideFields(bindings),
      first: walk.first,
      steps: walk.steps,
      L: walk.L,
      G,
      N,
      count: (fineGroups / G) * count,
      offset,
      total,
      directions: directionsOf(walk.path),
    },
    code: () => `${linearEntry(invocations)}
  let item = group * ${invocations}u + lane;
  if (item >= args.total) { return; }
  let n = item % args.N;
  let g = item / args.N % args.G;
  let local = item / (args.N * args.G) % args.steps;
  let b = item / (args.N * args.G * args.steps);
  let parts_0 = b * args.parts_s0 + local * args.parts_s1 + g * args.count * args.parts_s3 + args.offset + n;
  var total = 0.0;
  for (var i = 0u; i < args.count; i++) { total += parts_get(parts_0 + i * args.parts_s3); }
  let s = args.first + local;
  let step = ${walk.reverse ? 'args.L - 1u - s' : 's'};
  let p = ${positionOf(walk.path, 'args.G')};
  out_set(b * args.out_s0 + p * args.out_s1 + g * args.out_s2 + n, total);
}`,
    workgroups: linearGrid(ceilDiv(total, invocations)),
  })
}

/** parts (B, L, blocks, 2N), each block's sums of consecutive channels, into gradB and gradC (B, L, G, N) at each step's position. */
export function sumChannelParts(
  launcher: Launcher,
  parts: Operand,
  gradB: Operand,
  gradC: Operand,
  reverse: number,
  path?: Operand | null,
): void {
  const [batch, L, blocks, both] = parts.shape
  const bindings = present({ parts: read(parts), path: path && read(path), B: write(gradB), C: write(gradC) })
  const [groupsB, groupsC] = [gradB.shape[2], gradC.shape[2]]
  const groups = Math.max(groupsB, groupsC)
  const total = batch * L * groups * both
  launcher.dispatch({
    label: `scanGrad.channels.${reverse}.${groups > 1}.${directionsOf(path) > 1}.${Object.keys(bindings).join()}`,
    bindings,
    integers: {
      ...strideFields(bindings),
      L,
      N: both / 2,
      blocks,
      groups,
      groupsB,
      groupsC,
      total,
      directions: directionsOf(path),
    },
    code: () => `${linearEntry(invocations)}
  let item = group * ${invocations}u + lane;
  if (item >= args.total) { return; }
  let m = item % (2u * args.N);
  let g = item / (2u * args.N) % args.groups;
  let s = item / (2u * args.N * args.groups) % args.L;
  let b = item / (2u * args.N * args.groups * args.L);
  let forC = m >= args.N;
  let count = select(args.groupsB, args.groupsC, forC);
  if (g >= count) { return; }
  let span = args.blocks / count;
  let parts_0 = b * args.parts_s0 + s * args.parts_s1 + g * span * args.parts_s2 + m;
  var totals = vec4<f32>();
  var i = 0u;
  for (; i + 3u < span; i += 4u) {
    totals += vec4<f32>(parts_get(parts_0 + i * args.parts_s2), parts_get(parts_0 + (i + 1u) * args.parts_s2),
      parts_get(parts_0 + (i + 2u) * args.parts_s2), parts_get(parts_0 + (i + 3u) * args.parts_s2));
  }
  for (; i < span; i++) { totals.x += parts_get(parts_0 + i * args.parts_s2); }
  let sum = (totals.x + totals.y) + (totals.z + totals.w);
  let step = ${reverse ? 'args.L - 1u - s' : 's'};
  let p = ${positionOf(path, 'count')};
  if (forC) { C_set(b * args.C_s0 + p * args.C_s1 + g * args.C_s2 + m - args.N, sum); }
  else { B_set(b * args.B_s0 + p * args.B_s1 + g * args.B_s2 + m, sum); }
}`,
    workgroups: linearGrid(ceilDiv(total, invocations)),
  })
}

/** planes (B, chunks, planes, D) from plane `first` on, summed over batch and chunks into target (D, N) or (D). */
export function sumPlanes(launcher: Launcher, planes: Operand, first: number, target: Operand): void {
  const [batch, chunks, , D] = planes.shape
  const N = target.shape.length === 2 ? target.shape[1] : 1
  const bindings = { planes: read(planes), out: write(target) }
  launcher.dispatch({
    label: 'scanGrad.planes',
    bindings,
    integers: {
      planes_row: planes.strides[1],
      planes_s2: planes.strides[2],
      out_row: target.strides[0],
      rows: batch * chunks,
      channels: D,
      first,
      total: N * D,
    },
    code: () => `${linearEntry(invocations)}
  let item = group * ${invocations}u + lane;
  if (item >= args.total) { return; }
  let d = item % args.channels;
  let n = item / args.channels;
  var total = 0.0;
  for (var r = 0u; r < args.rows; r++) { total += planes_get(r * args.planes_row + (args.first + n) * args.planes_s2 + d); }
  out_set(d * args.out_row + n, total);
}`,
    workgroups: linearGrid(ceilDiv(N * D, invocations)),
  })
}
