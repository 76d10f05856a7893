// Reductions of the middle axis of (R, n, inner). The axis is cut into pieces of fixed length, whose results are combined
// in order, so that nothing depends on the threads.
#include "../kernels.h"
#include "rows.h"

namespace MK_ISA {

namespace {

enum Reduction { SUM, MEAN, MAX, MIN, SUM_SQUARES, ARGMAX, ARGMIN };

/// Elements of the axis a piece has where the axis is dense, and where vectors lie across it.
constexpr i64 DENSE_PIECE = 16384;
constexpr i64 CROSS_PIECE = 512;
/// Columns a task takes at a time.
constexpr i64 COLUMNS = 512;

/// The largest value so far and where it first stood; NaN is larger than everything. Minima are maxima of -x.
struct Extreme {
  float value;
  i32 index;

  void meet(float x, i32 at) {
    const bool larger = x > value || (x != x && value == value);
    const bool earlier = (x == value || (x != x && value != value)) && at < index;
    if (larger || earlier) *this = {x, at};
  }
};

vi beats(vf x, vf best) { return ((x > best) | (x != x)) & (best == best); }
vi pick(vi mask, vi a, vi b) { return (mask & a) | (~mask & b); }

Extreme extremeOf(const float* x, i64 n, float sign) {
  vi index;
  for (int i = 0; i < W; i++) index[i] = i;
  vf best = splat(-__builtin_inff());
  vi at = index;
  i64 i = 0;
  for (; i + W <= n; i += W, index += W) {
    const vf v = load(x + i) * sign;
    const vi mask = beats(v, best);
    best = choose(mask, v, best);
    at = pick(mask, index, at);
  }
  Extreme extreme = {best[0], at[0]};
  for (int lane = 1; lane < W; lane++) extreme.meet(best[lane], at[lane]);
  for (; i < n; i++) extreme.meet(x[i] * sign, (i32)i);
  return extreme;
}

/// Stores element i of `out` (contiguous).
void put(const View& out, i64 i, float value, i32 index, int reduction) {
  if (reduction >= ARGMAX) ((i32*)out.data)[i] = index;
  else unstage(out.data + i * elementBytes(out.dtype), out.dtype, 2, 1, &value);
}

/// inner = 1: a row is a vector.
void reduceRows(const Args& args, int reduction, bool extremes, float sign) {
  const View &input = args[0], &out = args[1];
  const i64 rows = input.dim[0], n = input.dim[1];
  const i64 pieces = (n + DENSE_PIECE - 1) / DENSE_PIECE;
  Extreme* const partial = args.shared<Extreme>(0, rows * pieces);
  const i64 grain = most<i64>(1, TASK_ELEMENTS / least(n, DENSE_PIECE));
  args.ranges(rows * pieces, grain, [&](i64 begin, i64 end, i32 thread) {
    float* const buffer = args.scratch<float>(thread, 0, least(n, DENSE_PIECE));
    for (i64 task = begin; task < end; task++) {
      const i64 start = task % pieces * DENSE_PIECE;
      const i64 count = least(DENSE_PIECE, n - start);
      const char* const from = rowOf(input, task / pieces) + start * input.stride[1] * elementBytes(input.dtype);
      const float* const x = stage(from, input.dtype, input.stride[1], count, buffer);
      if (extremes) {
        partial[task] = extremeOf(x, count, sign);
        partial[task].index += (i32)start;
      } else if (reduction == SUM_SQUARES) {
        partial[task].value = rowSum(x, count, [](vf v) { return v * v; });
      } else {
        partial[task].value = rowSum(x, count, [](vf v) { return v; });
      }
    }
  });
  args.ranges(rows, TASK_ELEMENTS, [&](i64 begin, i64 end, i32) {
    for (i64 r = begin; r < end; r++) {
      const Extreme* const of = partial + r * pieces;
      if (extremes) {
        Extreme extreme = of[0];
        for (i64 i = 1; i < pieces; i++) extreme.meet(of[i].value, of[i].index);
        put(out, r, extreme.value * sign, extreme.index, reduction);
      } else {
        double total = 0;
        for (i64 i = 0; i < pieces; i++) total += of[i].value;
        put(out, r, (float)(reduction == MEAN ? total / (double)n : total), 0, reduction);
      }
    }
  });
}

/// One piece of the axis for up to COLUMNS columns.
void reduceColumns(const View& input, i64 r, i64 start, i64 end, i64 column, i64 columns, int reduction, bool extremes,
                   float sign, float* values, i32* indices) {
  const i64 bytes = elementBytes(input.dtype);
  float buffer[COLUMNS];
  vf best[COLUMNS / W];
  vi at[COLUMNS / W];
  const i64 vectors = (columns + W - 1) / W;
  for (i64 v = 0; v < vectors; v++) {
    best[v] = extremes ? splat(-__builtin_inff()) : vf{};
    at[v] = splat((i32)start);
  }
  const char* from = input.data + (r * input.stride[0] + start * input.stride[1] + column * input.stride[2]) * bytes;
  for (i64 i = start; i < end; i++, from += input.stride[1] * bytes) {
    const float* const x = stage(from, input.dtype, input.stride[2], columns, buffer);
    for (i64 v = 0; v < vectors; v++) {
      const vf value = loadUpTo<F32>(x + v * W, columns - v * W);
      if (extremes) {
        const vf signedValue = value * sign;
        const vi mask = beats(signedValue, best[v]);
        best[v] = choose(mask, signedValue, best[v]);
        at[v] = pick(mask, splat((i32)i), at[v]);
      } else {
        best[v] += reduction == SUM_SQUARES ? value * value : value;
      }
    }
  }
  for (i64 c = 0; c < columns; c++) {
    values[c] = best[c / W][c % W];
    if (extremes) indices[c] = at[c / W][c % W];
  }
}

/// inner > 1: vectors lie across the axis.
void reduceAcross(const Args& args, int reduction, bool extremes, float sign) {
  const View &input = args[0], &out = args[1];
  const i64 rows = input.dim[0], n = input.dim[1], inner = input.dim[2];
  const i64 pieces = (n + CROSS_PIECE - 1) / CROSS_PIECE;
  const i64 blocks = (inner + COLUMNS - 1) / COLUMNS;
  float* const values = args.shared<float>(0, rows * pieces * inner);
  i32* const indices = extremes ? args.shared<i32>(1, rows * pieces * inner) : nullptr;
  const i64 elements = least(n, CROSS_PIECE) * least(inner, COLUMNS);
  args.ranges(rows * pieces * blocks, most<i64>(1, TASK_ELEMENTS / elements), [&](i64 begin, i64 end, i32) {
    for (i64 task = begin; task < end; task++) {
      const i64 column = task % blocks * COLUMNS;
      const i64 piece = task / blocks;
      const i64 start = piece % pieces * CROSS_PIECE;
      const i64 at = piece * inner + column;
      reduceColumns(input, piece / pieces, start, least(n, start + CROSS_PIECE), column, least(COLUMNS, inner - column),
                    reduction, extremes, sign, values + at, indices + at);
    }
  });
  args.ranges(rows * inner, TASK_ELEMENTS, [&](i64 begin, i64 end, i32) {
    for (i64 i = begin; i < end; i++) {
      const i64 first = i / inner * pieces * inner + i % inner;
      if (extremes) {
        Extreme extreme = {values[first], indices[first]};
        for (i64 p = 1; p < pieces; p++) extreme.meet(values[first + p * inner], indices[first + p * inner]);
        put(out, i, extreme.value * sign, extreme.index, reduction);
      } else {
        double total = 0;
        for (i64 p = 0; p < pieces; p++) total += values[first + p * inner];
        put(out, i, (float)(reduction == MEAN ? total / (double)n : total), 0, reduction);
      }
    }
  });
}

}  // namespace

void reduce(const Args& args) {
  const int reduction = (int)args.number[0];
  const bool extremes = reduction == MAX || reduction == MIN || reduction >= ARGMAX;
  const float sign = reduction == MIN || reduction == ARGMIN ? -1.0f : 1.0f;
  if (reduction >= ARGMAX && args[1].dtype != INT32) return args.operandError(1);
  if (args[0].count() == 0) return args.operandError(0);
  if (args[0].dim[2] == 1) reduceRows(args, reduction, extremes, sign);
  else reduceAcross(args, reduction, extremes, sign);
}

}  // namespace MK_ISA
