// Rows by index: gather, and scatterAdd without float atomics. scatterAdd links the rows of each id into a chain, in the
// order of the rows; the first of a chain adds them all. A table larger than a binding may be is gone through in slices,
// each of which takes the ids that lie in it.
import { bytesPerElement, type Operand } from '../types.js'
import { kernelCode } from './errorCodes.js'
import {
  alignedByFour,
  ceilDiv,
  type DeviceTraits,
  type Encoder,
  linearEntry,
  linearGrid,
  range,
  read,
  update,
  write,
} from './launcher.js'

const invocations = 64

/** Slices of the rows of a table (V, n), each of which fits in a binding with what alignment adds. */
function slicesOf(
  table: Operand,
  { bindingBytes }: DeviceTraits,
): { readonly first: number; readonly table: Operand }[] {
  const [size, n] = table.shape
  const [row] = table.strides
  const most = (bindingBytes - 512) / bytesPerElement[table.dtype]
  if (size * row <= most) return [{ first: 0, table }]
  const rows = Math.max(1, Math.floor((most - n) / row))
  return range(ceilDiv(size, rows)).map((i) => {
    const first = i * rows
    const shape = [Math.min(rows, size - first), n]
    return { first, table: { ...table, offset: table.offset + first * row, shape } }
  })
}

export const gather: Encoder<'gather'> = (launcher, { table, ids, out }) => {
  const [rows, n] = out.shape
  const wide = n % 4 === 0 && alignedByFour(table) && alignedByFour(out)
  const perRow = wide ? n / 4 : n
  const items = rows * perRow
  for (const slice of slicesOf(table, launcher.traits))
    launcher.dispatch({
      label: `gather.${wide}`,
      bindings: { table: read(slice.table, wide), ids: read(ids), out: write(out, wide), errors: launcher.errors },
      integers: {
        per_row: perRow,
        items,
        size: table.shape[0],
        first: slice.first,
        count: slice.table.shape[0],
        ids_s0: ids.strides[0],
        table_s0: table.strides[0],
        out_s0: out.strides[0],
        kernel: kernelCode('gather'),
      },
      code: () => `${linearEntry(invocations)}
  let item = group * ${invocations}u + lane;
  if (item >= args.items) { return; }
  let row = item / args.per_row;
  let i = item % args.per_row * ${wide ? 4 : 1}u;
  let id = ids_get(row * args.ids_s0);
  let inside = u32(id) < args.size;
  // The first slice answers for ids outside.
  let here = u32(id) - args.first;
  if (select(args.first > 0u, here >= args.count, inside)) { return; }
  if (!inside && i == 0u) { reportIndex(args.kernel, id, args.size); }
  let at = select(0u, here, inside) * args.table_s0 + i;
  let to = row * args.out_s0 + i;
  ${
    wide
      ? 'out_set4(to, select(vec4<f32>(), table_get4(at), inside));'
      : 'out_set(to, select(0.0, table_get(at), inside));'
  }
}`,
      workgroups: linearGrid(ceilDiv(items, invocations)),
    })
}

export const scatterAdd: Encoder<'scatterAdd'> = (launcher, { rows, ids, table }) => {
  const [count, n] = rows.shape
  // The next row of each row's id (or `count`), and 1 where a row is the first of its id.
  const links = launcher.scratch('int32', [count])
  const firsts = launcher.scratch('int32', [count])
  launcher.dispatch({
    label: 'scatterAdd.links',
    bindings: { ids: read(ids), links: write(links), firsts: write(firsts), errors: launcher.errors },
    integers: { count, ids_s0: ids.strides[0], size: table.shape[0], kernel: kernelCode('scatterAdd') },
    code: () => `${linearEntry(invocations)}
  let row = group * ${invocations}u + lane;
  if (row >= args.count) { return; }
  let id = ids_get(row * args.ids_s0);
  var next = row + 1u;
  var isFirst = u32(id) < args.size;
  if (!isFirst) { reportIndex(args.kernel, id, args.size); next = args.count; }
  while (next < args.count && ids_get(next * args.ids_s0) != id) { next++; }
  if (isFirst) {
    var before = row;
    while (before > 0u && ids_get((before - 1u) * args.ids_s0) != id) { before--; }
    isFirst = before == 0u;
  }
  links_set(row, i32(next));
  firsts_set(row, select(0, 1, isFirst));
}`,
    workgroups: linearGrid(ceilDiv(count, invocations)),
  })
  const items = count * n
  for (const slice of slicesOf(table, launcher.traits))
    launcher.dispatch({
      label: 'scatterAdd',
      bindings: {
        rows: read(rows),
        ids: read(ids),
        links: read(links),
        firsts: read(firsts),
        table: update(slice.table),
      },
      integers: {
        first: slice.first,
        size: slice.table.shape[0],
        count,
        n,
        items,
        ids_s0: ids.strides[0],
        rows_s0: rows.strides[0],
        table_s0: table.strides[0],
      },
      code: () => `${linearEntry(invocations)}
  let item = group * ${invocations}u + lane;
  if (item >= args.items) { return; }
  var row = item / args.n;
  let i = item % args.n;
  let here = u32(ids_get(row * args.ids_s0)) - args.first;
  if (firsts_get(row) == 0 || here >= args.size) { return; }
  let at = here * args.table_s0 + i;
  var total = table_get(at);
  while (row < args.count) {
    total += rows_get(row * args.rows_s0 + i);
    row = u32(links_get(row));
  }
  table_set(at, total);
}`,
      workgroups: linearGrid(ceilDiv(items, invocations)),
    })
}
