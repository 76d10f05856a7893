// Kernels that treat a matrix row by row: row addresses, and sums and maxima of a row in a fixed order.
#pragma once
#include "strided.h"

namespace MK_ISA {

static inline char* rowOf(const View& view, i64 r) {
  return view.data + r * view.stride[0] * elementBytes(view.dtype);
}

/// Floats that a row buffer takes, so that the next one is aligned again.
static inline i64 paddedRow(i64 n) { return (n + 15) / 16 * 16; }

/// Calls body(row, thread) for all rows over the threads, short rows several to a task.
template <class Body>
static inline void forRows(const Args& args, i64 rows, i64 n, Body&& body) {
  args.ranges(rows, most<i64>(1, TASK_ELEMENTS / most<i64>(n, 1)), [&](i64 begin, i64 end, i32 thread) {
    for (i64 r = begin; r < end; r++) body(r, thread);
  });
}

/// Elements that one accumulator takes before it is added to the total: keeps the rounding error of long sums small.
constexpr i64 SUM_BLOCK = 4096;

/// Sum of f(x, y) over n elements, by four accumulators and blocks, so that the order depends on n alone.
template <class F>
static inline float rowSum(const float* x, const float* y, i64 n, F&& f) {
  float total = 0;
  for (i64 start = 0; start < n; start += SUM_BLOCK) {
    const i64 end = least(n, start + SUM_BLOCK);
    vf a = {}, b = {}, c = {}, d = {};
    i64 i = start;
    for (; i + 4 * W <= end; i += 4 * W) {
      a += f(load(x + i), load(y + i));
      b += f(load(x + i + W), load(y + i + W));
      c += f(load(x + i + 2 * W), load(y + i + 2 * W));
      d += f(load(x + i + 3 * W), load(y + i + 3 * W));
    }
    for (; i + W <= end; i += W) a += f(load(x + i), load(y + i));
    float rest = 0;
    if (i < end) {
      const vf last = f(loadPart<F32>(x + i, end - i), loadPart<F32>(y + i, end - i));
      for (i64 k = 0; k < end - i; k++) rest += last[k];
    }
    total += sum((a + b) + (c + d)) + rest;
  }
  return total;
}
template <class F>
static inline float rowSum(const float* x, i64 n, F&& f) {
  return rowSum(x, x, n, [&](vf v, vf) { return f(v); });
}

/// Largest element; NaN if any is.
static inline float rowMaximum(const float* x, i64 n) {
  vf m = splat(-__builtin_inff());
  i64 i = 0;
  for (; i + W <= n; i += W) {
    const vf v = load(x + i);
    m = choose((v > m) | (v != v), v, m);
  }
  float largest = maximum(m);
  for (; i < n; i++) largest = (x[i] > largest || x[i] != x[i]) ? x[i] : largest;
  return largest;
}

}  // namespace MK_ISA
