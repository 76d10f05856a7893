// Reductions of the middle axis of (R, n, inner). Rows of a dense n get a workgroup each, other layouts an invocation a
// column; where that leaves a device idle, n is cut into parts whose results are reduced once more, in fixed order.
import { MissingKernelError } from '../../errors.js'
import { type Reduction, reductions } from '../kernels.js'
import { bytesPerElement, type Operand } from '../types.js'
import {
  ceilDiv,
  type Encoder,
  type Launcher,
  linearEntry,
  linearGrid,
  present,
  range,
  read,
  shifted,
  write,
} from './launcher.js'
import { nanSafe } from './math.wgsl.js'
import { isFloat } from './program.js'
import { groupReductions, rowLanes } from './rows.wgsl.js'

/** The statement that takes in a value v, and the reduction that joins partial results. */
const combining: Readonly<Record<string, { text: string; join: Reduction }>> = {
  sum: { text: 'total += v;', join: 'sum' },
  mean: { text: 'total += v;', join: 'sum' },
  sumSquares: { text: 'total += v * v;', join: 'sum' },
  max: { text: 'if (!seen || v > total || isNan(v)) { if (!isNan(total)) { total = v; } } seen = true;', join: 'max' },
  min: { text: 'if (!seen || v < total || isNan(v)) { if (!isNan(total)) { total = v; } } seen = true;', join: 'min' },
  argmax: { text: extremeText('>'), join: 'max' },
  argmin: { text: extremeText('<'), join: 'min' },
}

function extremeText(relation: string): string {
  return `if (!seen || v ${relation} total || isNan(v)) { if (!isNan(total)) { total = v; best = i; } } seen = true;`
}

/** Elements that one invocation takes before an axis is cut into parts. */
const perPart = 64

export const reduce: Encoder<'reduce'> = (launcher, { input, out }, { reduction }) => {
  const name = reductions[reduction]
  if (!isFloat(input.dtype)) throw new MissingKernelError('reduce', 'webgpu', `${name} of ${input.dtype}`)
  const [rows, n, inner] = input.shape
  const arg = name === 'argmax' || name === 'argmin'
  const scale = name === 'mean' ? 1 / n : 1
  const { bindingBytes, fillingInvocations } = launcher.traits
  const perBinding = Math.max(1, Math.floor((bindingBytes - 512) / bytesPerElement[input.dtype] / input.strides[1]))
  if (!arg && rows === 1 && n > perBinding) {
    // Larger than a binding may be: by slices, and then of what those give.
    const slices = ceilDiv(n, perBinding)
    const partial = launcher.scratch('float32', [1, slices, inner])
    for (const s of range(slices)) {
      const first = s * perBinding
      const shape = [1, Math.min(perBinding, n - first), inner]
      const slice = { ...input, offset: input.offset + first * input.strides[1], shape }
      const sums = name === 'mean' ? reductions.indexOf('sum') : reduction
      reduce(launcher, { input: slice, out: shifted(partial, s * inner, [1, inner]) }, { reduction: sums })
    }
    reduceParts(launcher, combining[name].join, partial, out, 1, 1, scale)
    return
  }
  if (arg && inner === 1 && rowLanes(launcher.traits, rows, n) > 1) {
    extremeOfRows(launcher, name, input, out)
    return
  }
  const byRow = inner === 1 && !arg
  const width = byRow ? rowLanes(launcher.traits, rows, n) : 1
  const busy = rows * inner * width
  const wanted = Math.min(Math.floor(fillingInvocations / busy), Math.floor(n / (perPart * width)), 1024)
  // No part may be empty: an extreme of nothing does not exist.
  const parts = arg || wanted < 2 ? 1 : ceilDiv(n, ceilDiv(n, wanted))
  if (parts === 1) {
    reduceParts(launcher, name, input, out, 1, width, scale)
    return
  }
  const partial = launcher.scratch('float32', [rows, parts, inner])
  reduceParts(launcher, name, input, partial, parts, width, scale)
  const joinWidth = byRow ? rowLanes(launcher.traits, rows, parts) : 1
  reduceParts(launcher, combining[name].join, partial, out, 1, joinWidth, 1)
}

/** parts (S, n) summed over S into out (n), float32 or what `out` holds. */
export function sumParts(launcher: Launcher, parts: Operand, out: Operand): void {
  const [count, n] = parts.shape
  const columns = { ...parts, shape: [1, count, n], strides: [0, parts.strides[0], 1] }
  reduceParts(launcher, 'sum', columns, out, 1, 1, 1)
}

function reduceParts(
  launcher: Launcher,
  name: Reduction,
  input: Operand,
  out: Operand,
  parts: number,
  /** Invocations that share a row; 1 gives an invocation a column. */
  width: number,
  scale: number,
): void {
  const [rows, n, inner] = input.shape
  const byRow = width > 1
  const lanes = byRow ? width : 64
  const items = rows * parts * (byRow ? 1 : inner)
  launcher.dispatch({
    label: `reduce.${name}.${byRow}.${lanes}`,
    bindings: { x: read(input), out: write(out) },
    integers: {
      n,
      inner,
      parts,
      items,
      per_part: ceilDiv(n, parts),
      x_s0: input.strides[0],
      x_s1: input.strides[1],
    },
    floats: { scale },
    code: () => (byRow ? rowText(name, lanes) : columnText(name, lanes)),
    workgroups: linearGrid(byRow ? items : ceilDiv(items, lanes)),
  })
}

/** Elements that an invocation looks at before a row is cut into parts. */
const looked = 4

/** argmax or argmin of rows, a workgroup each, or of parts of rows and then of the parts' extremes. */
function extremeOfRows(launcher: Launcher, name: 'argmax' | 'argmin', input: Operand, out: Operand): void {
  const [rows, n] = input.shape
  const { traits } = launcher
  const lanes = rowLanes(traits, rows, n)
  const wanted = Math.min(Math.floor(traits.fillingInvocations / (rows * lanes)), Math.floor(n / (looked * lanes)), 256)
  const parts = wanted < 2 ? 1 : ceilDiv(n, ceilDiv(n, wanted))
  const pass = (x: Operand, from: Operand | null, values: Operand | null, to: Operand, cut: number, width: number) => {
    const bindings = present({
      x: read(x),
      from: from && read(from),
      values: values && write(values),
      out: write(to),
    })
    launcher.dispatch({
      label: `reduce.${name}.rows.${width}.${Object.keys(bindings).join()}`,
      bindings,
      integers: {
        n: x.shape[1],
        parts: cut,
        items: rows * cut,
        per_part: ceilDiv(x.shape[1], cut),
        x_s0: x.strides[0],
        x_s1: x.strides[1],
      },
      code: () => extremeRowsText(name, width, !!from, !!values),
      workgroups: linearGrid(rows * cut),
    })
  }
  if (parts === 1) {
    pass(input, null, null, out, 1, lanes)
    return
  }
  const values = launcher.scratch('float32', [rows, parts])
  const places = launcher.scratch('int32', [rows, parts])
  pass(input, null, values, places, parts, lanes)
  pass(values, places, null, out, 1, 64)
}

/** The first extreme wins, and any NaN wins over numbers. */
function extremeRowsText(name: 'argmax' | 'argmin', lanes: number, from: boolean, values: boolean): string {
  const relation = name === 'argmax' ? '>' : '<'
  return `${nanSafe}
fn beats(v: f32, i: u32, w: f32, j: u32) -> bool {
  if (isNan(v) || isNan(w)) { return isNan(v) && (!isNan(w) || i < j); }
  return v ${relation} w || (v == w && i < j);
}
var<workgroup> group_values: array<f32, ${lanes}>;
var<workgroup> group_places: array<u32, ${lanes}>;
${linearEntry(lanes)}
  if (group >= args.items) { return; }
  let x_0 = group / args.parts * args.x_s0;
  let first = group % args.parts * args.per_part;
  let last = min(args.n, first + args.per_part);
  var place = first;
  var value = x_get(x_0 + first * args.x_s1);
  for (var i = first + lane; i < last; i += ${lanes}u) {
    let v = x_get(x_0 + i * args.x_s1);
    if (i != place && beats(v, i, value, place)) { value = v; place = i; }
  }
  group_values[lane] = value;
  group_places[lane] = place;
  workgroupBarrier();
  for (var half = ${lanes / 2}u; half > 0u; half >>= 1u) {
    if (lane < half && beats(group_values[lane + half], group_places[lane + half], group_values[lane], group_places[lane])) {
      group_values[lane] = group_values[lane + half];
      group_places[lane] = group_places[lane + half];
    }
    workgroupBarrier();
  }
  if (lane == 0u) {
    let won = group_places[0];
    out_set(group, ${from ? 'from_get(x_0 + won)' : 'i32(won)'});
    ${values ? 'values_set(group, group_values[0]);' : ''}
  }
}`
}

const loop = (name: Reduction, start: string, step: string) => `
  var total = 0.0;
  var seen = false;
  var best = 0u;
  for (var i = ${start}; i < last; i += ${step}) {
    let v = x_get(x_0 + i * args.x_s1);
    ${combining[name].text}
  }`

function columnText(name: Reduction, lanes: number): string {
  return `${nanSafe}
${linearEntry(lanes)}
  let item = group * ${lanes}u + lane;
  if (item >= args.items) { return; }
  let column = item % args.inner;
  let part = item / args.inner % args.parts;
  let row = item / args.inner / args.parts;
  let x_0 = row * args.x_s0 + column;
  let first = part * args.per_part;
  let last = min(args.n, first + args.per_part);
  ${loop(name, 'first', '1u')}
  out_set(item, ${name.startsWith('arg') ? 'i32(best)' : 'total * args.scale'});
}`
}

function rowText(name: Reduction, lanes: number): string {
  const extreme = name === 'max' || name === 'min'
  const sign = name === 'min' ? '-' : ''
  // An extreme joins NaNs by a count of their own, because comparisons lose them.
  const finish = extreme
    ? `let nans = groupSum(select(0.0, 1.0, isNan(total)), lane);
  let edge = ${sign}groupMax(${sign}select(x_get(x_0 + first * args.x_s1), total, seen), lane);
  if (lane == 0u) { out_set(group, select(edge, bitcast<f32>(0x7fc00000u | u32(nans)), nans > 0.0)); }`
    : `total = groupSum(total, lane);
  if (lane == 0u) { out_set(group, total * args.scale); }`
  return `${nanSafe}
${groupReductions(lanes)}
${linearEntry(lanes)}
  if (group >= args.items) { return; }
  let x_0 = group / args.parts * args.x_s0;
  let first = group % args.parts * args.per_part;
  let last = min(args.n, first + args.per_part);
  ${loop(name, 'first + lane', `${lanes}u`)}
  ${finish}
}`
}
