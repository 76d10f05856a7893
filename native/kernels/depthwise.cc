// Depth-wise convolution, channels last: a lane is a channel. A few columns of the result are summed side by side in
// registers while the taps of a row pass over them; where columns and taps lie side by side, each value is loaded once
// for all taps that see it.
#include "depthwise.h"
#include "transpose.h"

namespace MK_ISA {

namespace {

/// Rows of the result a task, at most.
constexpr i64 ROWS = 8;
/// From this size on a result is stored past the caches, which would not keep it.
constexpr i64 LARGE_BYTES = 1 << 24;

/// Can a vector be stored past the caches? It must be a whole line.
#if MK_LANES == 16 && defined(__AVX512F__)
constexpr bool STREAMS = true;
static inline void stream(float* to, vf x) { asm volatile("vmovntps %1, %0" : "=m"(*(vf*)to) : "v"(x)); }
static inline void endStream() { asm volatile("sfence" ::: "memory"); }
#else
constexpr bool STREAMS = false;
static inline void stream(float* to, vf x) { store(to, x); }
static inline void endStream() {}
#endif

/// Where lanes lie in channels: the last vector is moved back to the last whole one where there are enough channels.
struct Lanes {
  i64 first, count;
};
Lanes lanesAt(i64 c, i64 channels) {
  if (c + W <= channels) return {c, W};
  if (channels >= W) return {channels - W, W};
  return {0, channels};
}

/// Turns weight (C, 1, taps) to rows of channels, one for each tap of each pass. Squares are transposed in registers.
const float* turned(const Args& args, const Geometry& g, Pass* passes, i64 count, const float* weight, i64 row) {
  float* const to = args.shared<float>(1, g.taps * row);
  const Place* const places = placesOf(args, g, passes, count, 1, row, 5);
  args.ranges(row / W, 4, [&](i64 begin, i64 end, i32) {
    for (i64 c = begin * W; c < end * W; c += W) {
      const i64 lanes = least<i64>(W, g.groups - c);
      for (i64 tap = 0; tap < g.taps; tap += W) {
        vf square[W];
        const i64 n = least<i64>(W, g.taps - tap);
        for (i64 r = 0; r < W; r++) square[r] = r < lanes ? loadUpTo<F32>(weight + (c + r) * g.taps + tap, n) : vf{};
        transpose(square);
        for (i64 r = 0; r < n; r++)
          if (places[tap + r].start >= 0) store(to + places[tap + r].start + c, square[r]);
      }
    }
  });
  return to;
}

/// A row of the image that a row of the result sees, and the weights of its taps.
struct Row {
  const float* image;
  const float* weight;
};

/// What a block of columns reads and writes.
struct Columns {
  const Row* rows;
  i64 rowCount;
  /// Taps of a row, between which lie `tapStep` columns of the image, as `step` between columns of the result.
  i64 taps, tapStep, step;
  /// First column of the image that is seen, and the image's width.
  i64 begin, width;
  /// Elements between columns, and between the weights of taps.
  i64 column, tap;
  /// First channel.
  i64 channel;
  /// The row of the image that the next row of the result is the first to see, or null: it is asked for early.
  const float* ahead;
  const float* zeros;
};

/// The values at column x from `row` on, zeros outside.
template <bool EDGE>
inline const float* seen(const Columns& s, const float* row, i64 x) {
  if (EDGE && (x < 0 || x >= s.width)) return s.zeros;
  return row + x * s.column;
}

/// R columns whose K taps lie side by side.
template <int K, int R, bool EDGE, class Load>
inline void sliding(const Columns& s, vf (&y)[R], Load&& load) {
  for (i64 r = 0; r < s.rowCount; r++) {
    const Row row = {s.rows[r].image + s.channel, s.rows[r].weight + s.channel};
    vf w[K];
#pragma GCC unroll 16
    for (int k = 0; k < K; k++) w[k] = load(row.weight + k * s.tap);
#pragma GCC unroll 32
    for (int j = 0; j < R + K - 1; j++) {
      const vf x = load(seen<EDGE>(s, row.image, s.begin + j));
#pragma GCC unroll 16
      for (int k = 0; k < K; k++)
        if (j - k >= 0 && j - k < R) y[j - k] = fma(w[k], x, y[j - k]);
    }
  }
}

/// R columns, any taps.
template <int R, bool EDGE, class Load>
inline void stepping(const Columns& s, vf (&y)[R], Load&& load) {
  for (i64 r = 0; r < s.rowCount; r++) {
    const Row row = {s.rows[r].image + s.channel, s.rows[r].weight + s.channel};
    for (i64 k = 0; k < s.taps; k++) {
      const vf w = load(row.weight + k * s.tap);
      const i64 x = s.begin + k * s.tapStep;
#pragma GCC unroll 16
      for (int j = 0; j < R; j++) y[j] = fma(w, load(seen<EDGE>(s, row.image, x + j * s.step)), y[j]);
    }
  }
}

/// Sums R columns from `bias` on and stores the first `count`.
template <int R, bool EDGE, class Load, class Store>
inline void columnsOf(const Columns& s, vf bias, i64 count, Load&& load, Store&& put) {
  vf y[R];
#pragma GCC unroll 16
  for (int j = 0; j < R; j++) y[j] = bias;
  const bool besides = s.tapStep == 1 && s.step == 1;
  if (besides && s.taps == 3) sliding<3, R, EDGE>(s, y, load);
  else if (besides && s.taps == 5) sliding<5, R, EDGE>(s, y, load);
  else if (besides && s.taps == 7) sliding<7, R, EDGE>(s, y, load);
  else stepping<R, EDGE>(s, y, load);
  if (count == R) {
#pragma GCC unroll 16
    for (int j = 0; j < R; j++) put(j, y[j]);
    return;
  }
#pragma GCC unroll 16
  for (int j = 0; j < R; j++)
    if (j < count) put(j, y[j]);
}

template <int R, class Load, class Store>
void columnsOf(const Columns& s, vf bias, i64 count, Load&& load, Store&& put) {
  const i64 last = s.begin + (R - 1) * s.step + (s.taps - 1) * s.tapStep;
  if (s.begin >= 0 && last < s.width) columnsOf<R, false>(s, bias, count, load, put);
  else columnsOf<R, true>(s, bias, count, load, put);
}

/// A row of the result. All channels of a block of columns come first, so that lines are used whole while they are near.
template <int R>
void resultRow(Columns s, const Line& line, i64 channels, const View& bias, float* out, i64 outStep, bool past) {
  const i64 start = s.begin, count = line.count;
  for (i64 x = 0; x < count; x += R) {
    // The last columns are done as a whole block that ends where the row does.
    const i64 from = x + R > count && count >= R ? count - R : x, n = least<i64>(R, count - from);
    s.begin = start + from * s.step;
    if (s.ahead) {
      const i64 reach = s.begin + (s.taps - 1) * s.tapStep;
      const float* const end = s.ahead + least(s.width, reach + R * s.step) * s.column;
      for (const float* p = s.ahead + most<i64>(0, reach) * s.column; p < end; p += 16) __builtin_prefetch(p);
    }
    for (i64 c = 0; c < channels; c += W) {
      const Lanes lanes = lanesAt(c, channels);
      const vf first = bias ? loadAny(bias, lanes.first, lanes.count) : vf{};
      s.channel = lanes.first;
      float* const to = out + from * outStep + lanes.first;
      const auto whole = [](const float* p) { return load(p); };
      if (STREAMS && R == 8 && past) columnsOf<R>(s, first, n, whole, [&](i64 j, vf y) { stream(to + j * outStep, y); });
      else if (lanes.count == W) columnsOf<R>(s, first, n, whole, [&](i64 j, vf y) { store(to + j * outStep, y); });
      else
        columnsOf<R>(s, first, n, [&](const float* p) { return loadPart<F32>(p, lanes.count); },
                     [&](i64 j, vf y) { storePart<F32>(to + j * outStep, y, lanes.count); });
    }
  }
}

/// One pass, from images as floats.
void runPass(const Args& args, const Pass& pass, const View& from, const Floats& x, const View& to, const Floats& y,
             const View& bias, const float* taps, i64 row) {
  if (pass.empty()) return;
  const i64 channels = to.dim[4];
  const Line* const l = pass.line;
  const i64 height = l[1].count, outer = to.dim[0] * l[0].count, threads = args.runtime->threads;
  // As many rows for one thread as for another.
  const auto rowsOfBusiest = [&](i64 n) { return ceilDiv(outer * ceilDiv(height, n), threads) * n; };
  i64 rowsEach = ROWS;
  for (i64 n = ROWS - 1; n > 0; n--)
    if (rowsOfBusiest(n) < rowsOfBusiest(rowsEach)) rowsEach = n;
  const i64 rowBlocks = ceilDiv(height, rowsEach);
  bool past = STREAMS && to.count() * (i64)sizeof(float) >= LARGE_BYTES && channels % W == 0 && (u64)y.data % sizeof(vf) == 0;
  for (const i64 stride : y.stride) past = past && stride % W == 0;
  args.parallel(outer * rowBlocks, [&](i64 task, i32 thread) {
    const i64 b = task / rowBlocks / l[0].count, t = task / rowBlocks % l[0].count, first = task % rowBlocks * rowsEach;
    Row* const rows = args.scratch<Row>(thread, 0, l[0].taps * l[1].taps);
    float* const zeros = args.scratch<float>(thread, 1, W);
    store(zeros, vf{});
    for (i64 h = first; h < least(height, first + rowsEach); h++) {
      Columns s;
      s.rowCount = 0;
      for (i64 i = 0; i < l[0].taps; i++)
        for (i64 j = 0; j < l[1].taps; j++) {
          const i64 atT = l[0].begin(t) + i * l[0].tapStep, atH = l[1].begin(h) + j * l[1].tapStep;
          if (atT < 0 || atT >= from.dim[1] || atH < 0 || atH >= from.dim[2]) continue;
          rows[s.rowCount++] = {x.data + b * x.stride[0] + atT * x.stride[1] + atH * x.stride[2],
                                taps + (i * l[1].taps + j) * l[2].taps * row};
        }
      const i64 nextT = l[0].begin(t) + (l[0].taps - 1) * l[0].tapStep;
      const i64 nextH = l[1].begin(h + 1) + (l[1].taps - 1) * l[1].tapStep;
      const bool more = nextT >= 0 && nextT < from.dim[1] && nextH >= 0 && nextH < from.dim[2];
      s.ahead = more ? x.data + b * x.stride[0] + nextT * x.stride[1] + nextH * x.stride[2] : nullptr;
      s.rows = rows;
      s.taps = l[2].taps;
      s.tapStep = l[2].tapStep;
      s.step = l[2].fromStep;
      s.begin = l[2].fromStart;
      s.width = from.dim[3];
      s.column = x.stride[3];
      s.tap = row;
      s.zeros = zeros;
      float* const out = y.data + b * y.stride[0] + (l[0].toStart + t * l[0].toStep) * y.stride[1] +
                         (l[1].toStart + h * l[1].toStep) * y.stride[2] + l[2].toStart * y.stride[3];
      const i64 step = l[2].toStep * y.stride[3];
      if (l[2].count > 4) resultRow<8>(s, l[2], channels, bias, out, step, past);
      else resultRow<4>(s, l[2], channels, bias, out, step, past);
    }
    if (past) endStream();
  });
}

}  // namespace

void depthwise(const Args& args, const Geometry& g, Pass* passes, i64 count, const View& from, const View& to,
               const View& bias, const float* weight) {
  const i64 row = roundUp(g.groups, W);
  const float* const taps = turned(args, g, passes, count, weight, row);
  const Floats x = floatsOf(args, from, 2, true);
  const Floats y = floatsOf(args, to, 3, false);
  for (i64 i = 0; i < count; i++) runPass(args, passes[i], from, x, to, y, bias, taps + passes[i].weights, row);
  if (to.dtype == FLOAT32) return;
  const i64 channels = to.dim[4];
  args.ranges(to.dim[0] * to.dim[1] * to.dim[2], 4, [&](i64 begin, i64 end, i32) {
    for (i64 r = begin; r < end; r++) {
      const i64 b = r / to.dim[2] / to.dim[1], t = r / to.dim[2] % to.dim[1], h = r % to.dim[2];
      for (i64 w = 0; w < to.dim[3]; w++)
        unstage(to.data + (b * to.stride[0] + t * to.stride[1] + h * to.stride[2] + w * to.stride[3]) * 2, to.dtype, 1,
                channels, y.data + b * y.stride[0] + t * y.stride[1] + h * y.stride[2] + w * y.stride[3]);
    }
  });
}

}  // namespace MK_ISA
