// Rows by index: gather, and scatterAdd without float atomics. scatterAdd links the rows of each id into a chain, in the
// order of the rows; the first of a chain adds them all.
import type { Operand } from '../types.js'
import { kernelCode } from './errorCodes.js'
import { alignedByFour, ceilDiv, type Encoder, linearEntry, linearGrid, read, update, write } from './launcher.js'

const invocations = 64

export const gather: Encoder<'gather'> = (launcher, { table, ids, out }) => {
  const [rows, n] = out.shape
  const wide = n % 4 === 0 && alignedByFour(table) && alignedByFour(out)
  const perRow = wide ? n / 4 : n
  const items = rows * perRow
  launcher.dispatch({
    label: `gather.${wide}`,
    bindings: { table: read(table, wide), ids: read(ids), out: write(out, wide), errors: launcher.errors },
    integers: {
      per_row: perRow,
      items,
      size: table.shape[0],
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
  if (!inside && i == 0u) { reportIndex(args.kernel, id, args.size); }
  let at = select(0u, u32(id), inside) * args.table_s0 + i;
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
  // links[r]: the next row of r's id (or `count`); links[count + r]: 1 where r is the first of its id.
  const links: Operand = launcher.scratch('int32', [2 * count])
  launcher.dispatch({
    label: 'scatterAdd.links',
    bindings: { ids: read(ids), links: write(links), errors: launcher.errors },
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
  links_set(args.count + row, select(0, 1, isFirst));
}`,
    workgroups: linearGrid(ceilDiv(count, invocations)),
  })
  const items = count * n
  launcher.dispatch({
    label: 'scatterAdd',
    bindings: { rows: read(rows), ids: read(ids), links: read(links), table: update(table) },
    integers: {
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
  if (links_get(args.count + row) == 0) { return; }
  let at = u32(ids_get(row * args.ids_s0)) * args.table_s0 + i;
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
