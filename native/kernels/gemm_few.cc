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

/// Columns that are read at once, and how many lie behind each other in each of these streams. A column is too short for
/// the processor to see by itself how memory is read, and neighbours are too near to be streams: four of them took 1.4 times
/// as long.
constexpr int STREAMS = 4;
constexpr i64 RUN = 16;

/// Dot products of ROWS rows of a with columns of b that lie along k.
template <class S, int ROWS>
void dotTile(const float* a, i64 K, const typename S::T* const (&b)[STREAMS], float (&out)[ROWS][STREAMS]) {
  vf acc[ROWS][STREAMS] = {};
  i64 k = 0;
  for (; k + W <= K; k += W) {
    vf y[STREAMS];
#pragma GCC unroll 8
    for (int c = 0; c < STREAMS; c++) y[c] = S::load(b[c] + k);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
      const vf x = load(a + r * K + k);
#pragma GCC unroll 8
      for (int c = 0; c < STREAMS; c++) acc[r][c] = fma(x, y[c], acc[r][c]);
    }
  }
  // Product and sum lie in one block, or the compiler fuses them for one row and not for the next.
  if (k < K)
#pragma GCC unroll 8
    for (int c = 0; c < STREAMS; c++) {
      const vf y = loadPart<S>(b[c] + k, K - k);
#pragma GCC unroll 8
      for (int r = 0; r < ROWS; r++) acc[r][c] = fma(loadPart<F32>(a + r * K + k, K - k), y, acc[r][c]);
    }
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
    for (int c = 0; c < STREAMS; c++) out[r][c] = sum(acc[r][c]);
}

/// Dot products of ROWS rows with columns j, j + run, j + 2 run, ... of a block of n; those beyond it repeat the last.
template <class S, int ROWS>
void dotStreams(const Problem& p, const float* a, const typename S::T* b, i64 j, i64 run, i64 n, float (*sums)[STREAMS * RUN]) {
  const typename S::T* columns[STREAMS];
  for (i64 s = 0; s < STREAMS; s++) columns[s] = b + least(j + s * run, n - 1) * p.b.column;
  float part[ROWS][STREAMS];
  dotTile<S, ROWS>(a, p.K, columns, part);
  for (int r = 0; r < ROWS; r++)
    for (i64 s = 0; s < STREAMS; s++) sums[r][j + s * run] = part[r][s];
}

/// Columns [begin, end) of b stored as (N, K), a block at a time: all rows while the first-level cache holds the columns.
template <class S>
void dots(const Problem& p, const float* a, i64 begin, i64 end) {
  const typename S::T* const b = (const typename S::T*)p.b.data;
  float sums[FEW][STREAMS * RUN];
  for (i64 first = begin; first < end; first += STREAMS * RUN) {
    const i64 n = least(STREAMS * RUN, end - first), run = (n + STREAMS - 1) / STREAMS;
    for (i64 j = 0; j < run; j++) {
      const typename S::T* const block = b + first * p.b.column;
      i64 row = 0;
      for (; row + 2 <= p.M; row += 2) dotStreams<S, 2>(p, a + row * p.K, block, j, run, n, sums + row);
      if (row < p.M) dotStreams<S, 1>(p, a + row * p.K, block, j, run, n, sums + row);
    }
    for (i64 row = 0; row < p.M; row++)
      for (i64 j = 0; j < n; j += W) results(p, row, first + j, load(sums[row] + j), least<i64>(W, n - j));
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
  // Enough work a task that a thread's start does not show, in whole blocks; but a share for every thread.
  constexpr i64 STEP = 2 * STREAMS * RUN;
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
