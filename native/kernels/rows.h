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

/// Sum of f(x, y) over n elements, in double, since long sums cancel; the order depends on n alone.
template <class F>
static inline float rowSum(const float* x, const float* y, i64 n, F&& f) {
  vd a = {}, b = {};
  i64 i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    a += __builtin_convertvector(f(load(x + i), load(y + i)), vd);
    b += __builtin_convertvector(f(load(x + i + W), load(y + i + W)), vd);
  }
  for (; i < n; i += W) {
    const vf last = f(loadUpTo<F32>(x + i, n - i), loadUpTo<F32>(y + i, n - i));
    for (i64 k = 0; k < W && i + k < n; k++) a[k] += (double)last[k];
  }
  a += b;
  double total = 0;
  for (int k = 0; k < W; k++) total += a[k];
  return (float)total;
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
