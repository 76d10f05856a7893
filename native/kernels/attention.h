// What attention and its gradient share: heads as matrices, their packed forms, and the two small products that both are
// made of. Queries of all heads that share a key head form one matrix, so that its keys are read once for them all.
// Letters: B batch, L queries, S keys, H heads, P head dimension; rows and columns are those of the L x S matrix or, where
// the gradient works on keys, of its transpose.
#pragma once
#include "../vec.h"

namespace MK_ISA {

// Register tile TILE_ROWS x (TILE_VECTORS vectors): as many accumulators as the registers hold beside the operands.
#if MK_LANES == 16
constexpr int TILE_ROWS = 12;
#elif defined(__aarch64__)
constexpr int TILE_ROWS = 8;
#else
constexpr int TILE_ROWS = 6;
#endif
constexpr int TILE_VECTORS = 2;
constexpr int PANEL = TILE_VECTORS * W;
/// Columns taken at a time: their packed rows stay in the second-level cache, a row of scores in the first.
constexpr i64 COLUMNS = 8 * W;
/// Rows a task at most, for which columns are packed once.
constexpr i64 TASK_ROWS = 16 * TILE_ROWS;

constexpr double LOG2E = 1.44269504088896340736;
constexpr double LN2 = 0.69314718055994530942;

/// The (rows, P) matrix of one batch item and key head of a (B, L, H, P) operand: `group` heads a position.
struct Rows {
  View view;
  i64 base, group;
  i64 at(i64 r) const { return base + r / group * view.stride[1] + r % group * view.stride[2]; }
};

static inline Rows rowsOf(const View& v, i64 b, i64 keyHead, i64 group) {
  return {v, b * v.stride[0] + keyHead * group * v.stride[2], group};
}

/// The sizes of one call.
struct AttentionShape {
  i64 batch, length, keys, keyHeads, group, width;
  bool causal;
  const View* keyLengths;

  i64 rows() const { return length * group; }
  /// Floats of a row of P, so that the next one starts a vector.
  i64 padded() const { return (width + W - 1) / W * W; }
  i64 keysOf(i64 b) const {
    if (!*keyLengths) return keys;
    const i64 n = ((const i32*)keyLengths->data)[b * keyLengths->stride[0]];
    return most<i64>(0, least(n, keys));
  }
  /// How many leading keys a row of a batch item with `own` keys sees.
  i64 visible(i64 own, i64 row) const {
    return causal ? most<i64>(0, least(own, row / group + own - length + 1)) : own;
  }
  /// Rows a task, fewer where there would be too few tasks; no result depends on it.
  i64 taskRows(i64 total, i32 threads) const {
    i64 n = TASK_ROWS;
    while (n > 2 * TILE_ROWS && batch * keyHeads * ((total + n - 1) / n) < 4 * threads) n -= TILE_ROWS;
    return n;
  }
};

/// False, with an error, where operands are none that attention takes. `floats` operands come before keyLengths.
static inline bool attentionShape(const Args& args, AttentionShape& shape) {
  const View &q = args[0], &k = args[1];
  for (int i = 0; i < 3; i++)
    if (args[i].dtype > BFLOAT16) {
      args.operandError(i);
      return false;
    }
  if (k.dim[2] < 1 || q.dim[2] % k.dim[2] != 0) {
    args.operandError(1);
    return false;
  }
  shape = {q.dim[0], q.dim[1], k.dim[1], k.dim[2], q.dim[2] / k.dim[2], q.dim[3], args.number[1] != 0, &args[3]};
  return true;
}

/// Packs rows [first, first + count), times `factor`, into panels of N rows: a panel holds N values for each of P. Missing
/// rows are 0.
template <int N>
static inline void packPanels(const Rows& m, i64 first, i64 count, i64 width, float factor, float* to) {
  withFloat(m.view.dtype, [&](auto tag) {
    using S = decltype(tag);
    for (i64 r = 0; r < count; r += N, to += N * width) {
      const i64 n = least<i64>(N, count - r);
      if (n < N)
        for (i64 i = 0; i < N * width; i++) to[i] = 0.0f;
      for (i64 i = 0; i < n; i++) {
        const typename S::T* const from = (const typename S::T*)m.view.data + m.at(first + r + i);
        i64 p = 0;
        for (; p + W <= width; p += W) {
          const vf x = S::load(from + p) * factor;
          for (int l = 0; l < W; l++) to[(p + l) * N + i] = x[l];
        }
        for (; p < width; p++) to[p * N + i] = S::get(from[p]) * factor;
      }
    }
  });
}

/// Copies rows [first, first + count) as floats, `padded` apart, the padding 0.
static inline void copyRows(const Rows& m, i64 first, i64 count, i64 width, i64 padded, float* to) {
  withFloat(m.view.dtype, [&](auto tag) {
    using S = decltype(tag);
    for (i64 r = 0; r < count; r++, to += padded) {
      const typename S::T* const from = (const typename S::T*)m.view.data + m.at(first + r);
      for (i64 p = 0; p < width; p += W) store(to + p, loadUpTo<S>(from + p, width - p));
    }
  });
}

/// acc += a (TILE_ROWS, depth) b (depth, V vectors); a's element (i, k) lies at i * row + k * step.
template <int V>
static inline __attribute__((always_inline)) void multiply(const float* a, i64 row, i64 step, const float* b, i64 bStep,
                                                           i64 depth, vf (&acc)[TILE_ROWS][V]) {
  for (i64 k = 0; k < depth; k++, a += step, b += bStep) {
    vf x[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) x[v] = load(b + v * W);
#pragma GCC unroll 16
    for (int i = 0; i < TILE_ROWS; i++) {
      const vf y = splat(a[i * row]);
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) acc[i][v] = fma(y, x[v], acc[i][v]);
    }
  }
}

/// to (TILE_ROWS, COLUMNS) = a panel of rows times the transposed panels of `columns` columns.
static inline void dotProducts(const float* rowPanel, const float* columnPanels, i64 columns, i64 width, float* to) {
  for (i64 c = 0; c < columns; c += PANEL, columnPanels += PANEL * width) {
    vf acc[TILE_ROWS][TILE_VECTORS] = {};
    multiply(rowPanel, 1, TILE_ROWS, columnPanels, PANEL, width, acc);
    for (int i = 0; i < TILE_ROWS; i++)
      for (int v = 0; v < TILE_VECTORS; v++) store(to + i * COLUMNS + c + v * W, acc[i][v]);
  }
}

template <int V>
static inline void addMixed(const float* weights, const float* rows, i64 count, i64 padded, float* to) {
  vf acc[TILE_ROWS][V];
  for (int i = 0; i < TILE_ROWS; i++)
    for (int v = 0; v < V; v++) acc[i][v] = load(to + i * padded + v * W);
  multiply(weights, COLUMNS, 1, rows, padded, count, acc);
  for (int i = 0; i < TILE_ROWS; i++)
    for (int v = 0; v < V; v++) store(to + i * padded + v * W, acc[i][v]);
}

/// to (TILE_ROWS, padded) += weights (TILE_ROWS, COLUMNS) times `count` rows.
static inline void addMixtures(const float* weights, const float* rows, i64 count, i64 padded, float* to) {
  i64 p = 0;
  for (; p + PANEL <= padded; p += PANEL) addMixed<TILE_VECTORS>(weights, rows + p, count, padded, to + p);
  for (; p < padded; p += W) addMixed<1>(weights, rows + p, count, padded, to + p);
}

/// Writes one row of P floats, times `factor`.
static inline void writeRow(const Rows& m, i64 r, i64 width, const float* from, float factor) {
  const i64 at = m.at(r);
  for (i64 p = 0; p < width; p += W) storeAny(m.view, at + p, load(from + p) * factor, width - p);
}

}  // namespace MK_ISA
