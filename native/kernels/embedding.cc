// Rows of a table by id, and the addition of rows to a table. Ids outside the table are reported in the order of rows.
#include "../kernels.h"
#include "rows.h"

namespace MK_ISA {

namespace {

i64 idAt(const View& ids, i64 r) { return ((const i32*)ids.data)[r * ids.stride[0]]; }

void reportOutside(const Args& args, const View& ids, i64 size) {
  for (i64 r = 0; r < ids.dim[0]; r++) {
    const i64 id = idAt(ids, r);
    if (id < 0 || id >= size) return args.indexError(id, size);
  }
}

}  // namespace

void gather(const Args& args) {
  const View &table = args[0], &ids = args[1], &out = args[2];
  if (ids.dtype != INT32) return args.operandError(1);
  const i64 size = table.dim[0], n = table.dim[1];
  reportOutside(args, ids, size);
  forRows(args, ids.dim[0], n, [&](i64 r, i32) {
    const i64 id = idAt(ids, r);
    const bool inside = id >= 0 && id < size;
    float buffer[BLOCK];
    for (i64 i = 0; !inside && i < least(BLOCK, n); i++) buffer[i] = 0;
    for (i64 i = 0; i < n; i += BLOCK) {
      const i64 count = least(BLOCK, n - i);
      const char* const from = rowOf(table, id) + i * table.stride[1] * elementBytes(table.dtype);
      const float* const x = inside ? stage(from, table.dtype, table.stride[1], count, buffer) : buffer;
      unstage(rowOf(out, r) + i * out.stride[1] * elementBytes(out.dtype), out.dtype, out.stride[1], count, x);
    }
  });
}

void scatterAdd(const Args& args) {
  const View &rows = args[0], &ids = args[1], &table = args[2];
  if (ids.dtype != INT32) return args.operandError(1);
  if (table.dtype != FLOAT32 || table.stride[1] != 1) return args.operandError(2);
  const i64 size = table.dim[0], n = table.dim[1];
  reportOutside(args, ids, size);
  // A task owns every PARTS-th row of the table, and adds to it in the order of r.
  constexpr i64 PARTS = 16;
  const i64 parts = ids.dim[0] * n > TASK_ELEMENTS ? PARTS : 1;
  args.parallel(parts, [&](i64 part, i32) {
    float buffer[BLOCK];
    for (i64 r = 0; r < ids.dim[0]; r++) {
      const i64 id = idAt(ids, r);
      if (id < 0 || id >= size || id % parts != part) continue;
      float* const sums = (float*)rowOf(table, id);
      for (i64 i = 0; i < n; i += BLOCK) {
        const i64 count = least(BLOCK, n - i);
        const char* const from = rowOf(rows, r) + i * rows.stride[1] * elementBytes(rows.dtype);
        const float* const x = stage(from, rows.dtype, rows.stride[1], count, buffer);
        zip(sums + i, x, sums + i, count, [](vf a, vf b) { return a + b; });
      }
    }
  });
}

}  // namespace MK_ISA
