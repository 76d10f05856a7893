// Products of few rows, as in decoding: b is streamed once, unpacked, its columns cut into tasks. Every element of the
// result sums over k in an order that depends on K alone.
#include "gemm.h"

namespace MK_ISA {

namespace {

/// Stores n results of row i from column j on.
template <class S>
void storeResults(const Problem& p, i64 i, i64 j, vf sums, i64 n) {
  typename S::T* const out = (typename S::T*)p.out + i * p.outStride + j;
  vf x = p.epilogue.alpha * sums;
  if (p.accumulate) x += loadUpTo<S>(out, n);
  storeUpTo<S>(out, finished(p.epilogue, x, j, n), n);
}
void results(const Problem& p, i64 i, i64 j, vf sums, i64 n) {
  withFloat(p.outDtype, [&](auto tag) { storeResults<decltype(tag)>(p, i, j, sums, n); });
}

/// Dot products of ROWS rows of a with COLUMNS columns of b, which lie along k. The columns of the next call begin `ahead`
/// elements on and are fetched meanwhile: a column is too short for the processor to see by itself how memory is read.
template <class S, int ROWS, int COLUMNS>
void dotTile(const float* a, i64 K, const typename S::T* const (&b)[COLUMNS], i64 ahead, float (&out)[ROWS][COLUMNS]) {
  vf acc[ROWS][COLUMNS] = {};
  i64 k = 0;
  for (; k + W <= K; k += W) {
    vf y[COLUMNS];
#pragma GCC unroll 8
    for (int c = 0; c < COLUMNS; c++) {
      __builtin_prefetch(b[c] + ahead + k);
      y[c] = S::load(b[c] + k);
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
      const vf x = load(a + r * K + k);
#pragma GCC unroll 8
      for (int c = 0; c < COLUMNS; c++) acc[r][c] = fma(x, y[c], acc[r][c]);
    }
  }
  // Product and sum lie in one block, or the compiler fuses them for one row and not for the next.
  if (k < K)
#pragma GCC unroll 8
    for (int c = 0; c < COLUMNS; c++) {
      const vf y = loadPart<S>(b[c] + k, K - k);
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; r++) acc[r][c] = fma(loadPart<F32>(a + r * K + k, K - k), y, acc[r][c]);
    }
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
    for (int c = 0; c < COLUMNS; c++) out[r][c] = sum(acc[r][c]);
}

/// The rows of a that are left, ROWS at a time and then one by one, for the columns of one vector of results.
template <class S, int ROWS>
void dotRows(const Problem& p, const float* a, i64& row, i64 j, i64 n) {
  constexpr int COLUMNS = 4;
  const typename S::T* const b = (const typename S::T*)p.b.data;
  for (; row + ROWS <= p.M; row += ROWS) {
    float sums[ROWS][W] = {};
    for (i64 c = 0; c < n; c += COLUMNS) {
      const typename S::T* columns[COLUMNS];
      for (i64 i = 0; i < COLUMNS; i++) columns[i] = b + (j + least(c + i, n - 1)) * p.b.column;
      float part[ROWS][COLUMNS];
      dotTile<S, ROWS, COLUMNS>(a + row * p.K, p.K, columns, COLUMNS * p.b.column, part);
      for (int r = 0; r < ROWS; r++)
        for (i64 i = 0; i < COLUMNS && c + i < n; i++) sums[r][c + i] = part[r][i];
    }
    for (int r = 0; r < ROWS; r++) results(p, row + r, j, load(sums[r]), n);
  }
}

/// Columns [begin, end) of b stored as (N, K).
template <class S>
void dots(const Problem& p, const float* a, i64 begin, i64 end) {
  for (i64 j = begin; j < end; j += W) {
    const i64 n = least<i64>(W, end - j);
    i64 row = 0;
    dotRows<S, 2>(p, a, row, j, n);
    dotRows<S, 1>(p, a, row, j, n);
  }
}

/// Columns [begin, end) of b stored as (K, N): VECTORS vectors of results in registers, k outermost.
template <class S, int VECTORS>
void sumColumns(const Problem& p, const float* a, i64& j, i64 end) {
  const typename S::T* const b = (const typename S::T*)p.b.data;
  for (; j + VECTORS * W <= end; j += VECTORS * W)
    for (i64 i = 0; i < p.M; i++) {
      vf acc[VECTORS] = {};
      for (i64 k = 0; k < p.K; k++) {
        const vf x = splat(a[i * p.K + k]);
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) acc[v] = fma(x, S::load(b + k * p.b.row + j + v * W), acc[v]);
      }
      for (int v = 0; v < VECTORS; v++) results(p, i, j + v * W, acc[v], W);
    }
}
template <class S>
void sumRest(const Problem& p, const float* a, i64 j, i64 n) {
  const typename S::T* const b = (const typename S::T*)p.b.data;
  for (i64 i = 0; i < p.M; i++) {
    vf acc = {};
    for (i64 k = 0; k < p.K; k++) acc = fma(splat(a[i * p.K + k]), loadPart<S>(b + k * p.b.row + j, n), acc);
    results(p, i, j, acc, n);
  }
}

template <class S>
void columns(const Problem& p, const float* a, i64 begin, i64 end) {
  i64 j = begin;
  sumColumns<S, 8>(p, a, j, end);
  sumColumns<S, 1>(p, a, j, end);
  if (j < end) sumRest<S>(p, a, j, end - j);
}

/// The rows of a as dense float32, where they are not so already.
const float* denseRows(const Args& args, const Problem& p) {
  if (p.a.dtype == FLOAT32 && p.a.column == 1 && (p.M == 1 || p.a.row == p.K)) return (const float*)p.a.data;
  float* const a = args.shared<float>(1, p.M * p.K);
  withFloat(p.a.dtype, [&](auto tag) {
    using S = decltype(tag);
    const typename S::T* const from = (const typename S::T*)p.a.data;
    for (i64 i = 0; i < p.M; i++)
      for (i64 k = 0; k < p.K; k++) a[i * p.K + k] = S::get(from[i * p.a.row + k * p.a.column]);
  });
  return a;
}

}  // namespace

void gemmFewRows(const Args& args, const Problem& p) {
  const float* const a = denseRows(args, p);
  // Enough work a task that a thread's start does not show, in whole vectors; but a share for every thread.
  constexpr i64 STEP = 8 * W;
  const i64 enough = ((1 << 16) / most<i64>(1, p.K) / STEP + 1) * STEP;
  const i64 share = ((p.N + args.runtime->threads - 1) / args.runtime->threads + W - 1) / W * W;
  const i64 grain = least(enough, share);
  args.ranges(p.N, grain, [&](i64 begin, i64 end, i32) {
    withFloat(p.b.dtype, [&](auto tag) {
      if (p.bAlongK) dots<decltype(tag)>(p, a, begin, end);
      else columns<decltype(tag)>(p, a, begin, end);
    });
  });
}

}  // namespace MK_ISA
