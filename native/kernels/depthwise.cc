// Depth-wise convolution, channels last: a lane is a channel. A few columns of the result are summed side by side in
// registers while the taps of a row pass over them; where columns and taps lie side by side, each value is loaded once
// for all taps that see it, and under a kernel of 3 x 3 once for a few rows of the result too.
#include "depthwise.h"
#include "transpose.h"

namespace MK_ISA {

namespace {

/// Rows and columns of the result that are summed together under 3 x 3. Few columns keep memory's streams few and long:
/// with four of them a result larger than the caches takes 1.5 times as long.
constexpr int SQUARE_ROWS = 4, SQUARE_COLUMNS = 2;
/// From this size on a result is stored past the caches, which would not keep it, and the image asked for early.
constexpr i64 LARGE_BYTES = 1 << 24;
/// WebAssembly has no more than 16 registers in an engine for x86-64, and V8's optimiser (Node 20) moves all loads of a
/// straight piece of code before its sums. There sums pass along a row, a column at a time.
#ifdef __wasm__
constexpr bool ALONG_ROWS = true;
#else
constexpr bool ALONG_ROWS = false;
#endif
/// Rows of the result a task, at most; where an image is large and nothing can be asked for early, the first rows of a task
/// are waited for, so there are many.
constexpr i64 ROWS = 8, LARGE_ROWS = ALONG_ROWS ? 32 : ROWS;
/// Columns of the result that are summed side by side.
constexpr int COLUMNS = ALONG_ROWS ? 4 : 8;

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

/// A row of the image that rows of the result see, or null outside, and the weights of its taps in the first of them.
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
  /// Rows of the image that the next rows of the result are the first to see: where the image is large they are asked for early.
  const float* ahead;
  i64 aheadCount, aheadStep;
  const float* zeros;
};

/// The values at column x from `row` on, zeros outside.
template <bool EDGE>
inline const float* seen(const Columns& s, const float* row, i64 x) {
  if (!EDGE) return row + x * s.column;
  const float* at = x < 0 || x >= s.width ? s.zeros : row + x * s.column;
  // Keeps what follows out of the branches: products and sums that lie in different ones would not be fused.
  asm("" : "+r"(at));
  return at;
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

/// N rows of R columns under 3 x 3 taps that lie side by side. Each sum is over the same values in the same order as in
/// `sliding`.
template <int N, int R, bool EDGE, class Load>
inline void square(const Columns& s, vf (&y)[N][R], Load&& load) {
  vf w[3][3];
#pragma GCC unroll 3
  for (int a = 0; a < 3; a++)
#pragma GCC unroll 3
    for (int k = 0; k < 3; k++) w[a][k] = load(s.rows[0].weight + (3 * a + k) * s.tap + s.channel);
#pragma GCC unroll 8
  for (int r = 0; r < N + 2; r++) {
    if (!s.rows[r].image) continue;
    const float* const image = s.rows[r].image + s.channel;
#pragma GCC unroll 8
    for (int j = 0; j < R + 2; j++) {
      const vf x = load(seen<EDGE>(s, image, s.begin + j));
#pragma GCC unroll 8
      for (int i = 0; i < N; i++)
#pragma GCC unroll 3
        for (int k = 0; k < 3; k++)
          if (r - i >= 0 && r - i < 3 && j - k >= 0 && j - k < R) y[i][j - k] = fma(w[r - i][k], x, y[i][j - k]);
    }
  }
}

/// Sums N rows of R columns from `bias` on and stores the first `count` columns.
template <int N, int R, bool EDGE, class Load, class Store>
inline void columnsOf(const Columns& s, vf bias, i64 count, Load&& load, Store&& put) {
  vf y[N][R];
#pragma GCC unroll 8
  for (int i = 0; i < N; i++)
#pragma GCC unroll 16
    for (int j = 0; j < R; j++) y[i][j] = bias;
  if constexpr (N > 1) square<N, R, EDGE>(s, y, load);
  else {
    const bool besides = !ALONG_ROWS && s.tapStep == 1 && s.step == 1;
    if (besides && s.taps == 3) sliding<3, R, EDGE>(s, y[0], load);
    else if (besides && s.taps == 5) sliding<5, R, EDGE>(s, y[0], load);
    else if (besides && s.taps == 7) sliding<7, R, EDGE>(s, y[0], load);
    else stepping<R, EDGE>(s, y[0], load);
  }
#pragma GCC unroll 8
  for (int i = 0; i < N; i++) {
    if (count == R) {
#pragma GCC unroll 16
      for (int j = 0; j < R; j++) put(i, j, y[i][j]);
      continue;
    }
#pragma GCC unroll 16
    for (int j = 0; j < R; j++)
      if (j < count) put(i, j, y[i][j]);
  }
}

template <int N, int R, class Load, class Store>
void columnsOf(const Columns& s, vf bias, i64 count, Load&& load, Store&& put) {
  const i64 last = s.begin + (R - 1) * s.step + (s.taps - 1) * s.tapStep;
  if (s.begin >= 0 && last < s.width) columnsOf<N, R, false>(s, bias, count, load, put);
  else columnsOf<N, R, true>(s, bias, count, load, put);
}

/// N rows of the result. All channels of a block of columns come first, so that lines are used whole while they are near.
template <int N, int R>
void resultRows(Columns s, const Line& line, i64 channels, const View& bias, float* out, i64 outRow, i64 outStep, bool past) {
  const i64 start = s.begin, count = line.count;
  for (i64 x = 0; x < count; x += R) {
    // The last columns are done as a whole block that ends where the row does.
    const i64 from = x + R > count && count >= R ? count - R : x, n = least<i64>(R, count - from);
    s.begin = start + from * s.step;
    const i64 reach = s.begin + (s.taps - 1) * s.tapStep;
    for (i64 r = 0; r < s.aheadCount; r++) {
      const float* const row = s.ahead + r * s.aheadStep;
      const float* const end = row + least(s.width, reach + R * s.step) * s.column;
      for (const float* p = row + most<i64>(0, reach) * s.column; p < end; p += 16) __builtin_prefetch(p);
    }
    for (i64 c = 0; c < channels; c += W) {
      const Lanes lanes = lanesAt(c, channels);
      const vf first = bias ? loadAny(bias, lanes.first, lanes.count) : vf{};
      s.channel = lanes.first;
      float* const to = out + from * outStep + lanes.first;
      const auto whole = [](const float* p) { return load(p); };
      const auto put = [&](i64 i, i64 j, vf y) { store(to + i * outRow + j * outStep, y); };
      if (STREAMS && R != 4 && past)
        columnsOf<N, R>(s, first, n, whole, [&](i64 i, i64 j, vf y) { stream(to + i * outRow + j * outStep, y); });
      else if (lanes.count == W) columnsOf<N, R>(s, first, n, whole, put);
      else
        columnsOf<N, R>(s, first, n, [&](const float* p) { return loadPart<F32>(p, lanes.count); },
                        [&](i64 i, i64 j, vf y) { storePart<F32>(to + i * outRow + j * outStep, y, lanes.count); });
    }
  }
}

/// Reads a value of each line, so that the lines come in order and early.
inline void touch(const float* p, i64 count) {
  for (i64 i = 0; i < count; i += 16) (void)*(const volatile float*)(p + i);
}

/// What sums start from: the vector of floats at `at`, and where that of the next column lies.
struct Source {
  const float* at;
  i64 step;
};

/// Adds ROWS rows of K taps that lie side by side to a row of the result, for the lanes of one vector. Each value of the
/// image is loaded once for all sums that see it; K - 1 of them are under way. `start` is what they start from, if not zero.
template <int ROWS, int K, bool ZERO, class Load, class Store>
inline void along(const Columns& s, const Row* rows, Source start, i64 count, float* out, i64 outStep, Load&& load, Store&& put) {
  vf w[ROWS][K], sums[K - 1] = {};
  Source image[ROWS];
  const i64 skipped = most<i64>(0, -s.begin);
  for (int r = 0; r < ROWS; r++) {
    image[r] = {s.zeros, 0};
    if (rows[r].image) image[r] = {rows[r].image + s.channel + (s.begin + skipped) * s.column, s.column};
#pragma GCC unroll 8
    for (int k = 0; k < K; k++) w[r][k] = load(rows[r].weight + k * s.tap + s.channel);
  }
  // Column `x` of the part of the image that is seen is the first of the sum x and the last of the sum x - K + 1.
  const auto next = [&](vf first) {
    vf x[ROWS];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
      x[r] = load(image[r].at);
      image[r].at += image[r].step;
    }
    const auto added = [&](vf sum, int k, int begin) {
#pragma GCC unroll 8
      for (int r = begin; r < ROWS; r++) sum = fma(w[r][k], x[r], sum);
      return sum;
    };
    const vf last = added(sums[0], K - 1, 0);
#pragma GCC unroll 8
    for (int k = K - 2; k > 0; k--) sums[K - 2 - k] = added(sums[K - 1 - k], k, 0);
    sums[K - 2] = ZERO ? added(w[0][0] * x[0], 0, 1) : added(first, 0, 0);
    return last;
  };
  const auto skip = [&](vf first) {
    const vf last = sums[0];
#pragma GCC unroll 8
    for (int k = 1; k < K - 1; k++) sums[k - 1] = sums[k];
    sums[K - 2] = first;
    return last;
  };
  // From here on every column begins a sum, ends one and lies in the image.
  const i64 begin = most<i64>(K - 1, skipped), end = least(count, s.width - s.begin);
  for (i64 x = 0; x < count + K - 1;) {
    if (x == begin)
      for (; x < end; x++, start.at += start.step, out += outStep) put(out, next(ZERO ? vf{} : load(start.at)));
    const vf first = !ZERO && x < count ? load(start.at) : vf{};
    const vf last = x >= skipped && s.begin + x < s.width ? next(first) : skip(first);
    if (x >= K - 1) {
      put(out, last);
      out += outStep;
    }
    start.at += start.step;
    x++;
  }
}

/// A row of the result, ROWS rows of the image after ROWS rows.
template <int ROWS, int K>
__attribute__((noinline)) void rowAlong(Columns s, i64 count, i64 channels, const View& bias, float* out, i64 outStep) {
  for (i64 c = 0; c < channels; c += W) {
    const Lanes lanes = lanesAt(c, channels);
    s.channel = lanes.first;
    float first[W];
    store(first, bias ? loadAny(bias, lanes.first, lanes.count) : vf{});
    float* const to = out + lanes.first;
    Source start = {first, 0};
    for (i64 r = 0; r < s.rowCount; r += ROWS, start = {to, outStep}) {
      const auto whole = [](const float* p) { return load(p); };
      const auto put = [](float* p, vf y) { store(p, y); };
      if (lanes.count < W)
        along<ROWS, K, false>(s, s.rows + r, start, count, to, outStep, [&](const float* p) { return loadPart<F32>(p, lanes.count); },
                              [&](float* p, vf y) { storePart<F32>(p, y, lanes.count); });
      else if (ROWS > 1 && !bias) along<ROWS, K, true>(s, s.rows + r, start, count, to, outStep, whole, put);
      else along<ROWS, K, false>(s, s.rows + r, start, count, to, outStep, whole, put);
    }
  }
}

typedef void (*PassesAlong)(Columns s, i64 count, i64 channels, const View& bias, float* out, i64 outStep);
/// How sums pass along rows, if they do.
PassesAlong alongOf(const Line& line, bool inThrees) {
  if (!ALONG_ROWS || line.tapStep != 1 || line.fromStep != 1) return nullptr;
  switch (line.taps) {
    case 3: return inThrees ? rowAlong<3, 3> : rowAlong<1, 3>;
    case 5: return rowAlong<1, 5>;
    case 7: return rowAlong<1, 7>;
    default: return nullptr;
  }
}

/// One pass, from images as floats.
void runPass(const Args& args, const Pass& pass, const View& from, const Floats& x, const View& to, const Floats& y,
             const View& bias, const float* taps, i64 row) {
  if (pass.empty()) return;
  const i64 channels = to.dim[4];
  const Line* const l = pass.line;
  const i64 height = l[1].count, outer = to.dim[0] * l[0].count, threads = args.runtime->threads;
  const auto besides = [](const Line& line) { return line.taps == 3 && line.tapStep == 1 && line.fromStep == 1; };
  const bool squares = !ALONG_ROWS && l[0].taps == 1 && besides(l[1]) && besides(l[2]);
  const bool inThrees = l[0].taps * l[1].taps == 3 && l[2].taps == 3;
  const auto passesAlong = alongOf(l[2], inThrees);
  // As many rows for one thread as for another.
  const i64 together = squares ? SQUARE_ROWS : 1;
  const auto rowsOfBusiest = [&](i64 n) { return ceilDiv(outer * ceilDiv(height, n), threads) * roundUp(n, together); };
  const bool large = to.count() * (i64)sizeof(float) >= LARGE_BYTES;
  i64 rowsEach = large ? LARGE_ROWS : ROWS;
  for (i64 n = rowsEach - 1; n > 0; n--)
    if (rowsOfBusiest(n) < rowsOfBusiest(rowsEach)) rowsEach = n;
  const i64 rowBlocks = ceilDiv(height, rowsEach);
  bool past = STREAMS && large && channels % W == 0 && (u64)y.data % sizeof(vf) == 0;
  for (const i64 stride : y.stride) past = past && stride % W == 0;
  args.parallel(outer * rowBlocks, [&](i64 task, i32 thread) {
    const i64 b = task / rowBlocks / l[0].count, t = task / rowBlocks % l[0].count, first = task % rowBlocks * rowsEach;
    const i64 last = least(height, first + rowsEach), lastTap = (l[1].taps - 1) * l[1].tapStep;
    Row* const rows = args.scratch<Row>(thread, 0, l[0].taps * l[1].taps + SQUARE_ROWS);
    float* const zeros = args.scratch<float>(thread, 1, W);
    store(zeros, vf{});
    const auto rowAt = [&](i64 atT, i64 atH) {
      const bool inside = atT >= 0 && atT < from.dim[1] && atH >= 0 && atH < from.dim[2];
      return inside ? x.data + b * x.stride[0] + atT * x.stride[1] + atH * x.stride[2] : nullptr;
    };
    for (i64 at = first; at < last;) {
      const i64 n = squares && last - first >= SQUARE_ROWS ? SQUARE_ROWS : 1;
      // The last rows are done as a whole block that ends where the task does.
      const i64 h = least(at, last - n);
      at = h + n;
      Columns s;
      s.rowCount = 0;
      if (n > 1)
        for (; s.rowCount < n + 2; s.rowCount++) rows[s.rowCount] = {rowAt(l[0].begin(t), l[1].begin(h) + s.rowCount), taps};
      else
        for (i64 i = 0; i < l[0].taps; i++)
          for (i64 j = 0; j < l[1].taps; j++) {
            const float* const image = rowAt(l[0].begin(t) + i * l[0].tapStep, l[1].begin(h) + j * l[1].tapStep);
            if (image || (passesAlong && inThrees)) rows[s.rowCount++] = {image, taps + (i * l[1].taps + j) * l[2].taps * row};
          }
      if (passesAlong && s.rowCount == 0) rows[s.rowCount++] = {nullptr, taps};
      s.ahead = rowAt(l[0].begin(t) + (l[0].taps - 1) * l[0].tapStep, l[1].begin(at) + lastTap);
      s.aheadStep = l[1].fromStep * x.stride[2];
      s.aheadCount = s.ahead && large ? least(n, ceilDiv(from.dim[2] - l[1].begin(at) - lastTap, l[1].fromStep)) : 0;
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
      const i64 outRow = l[1].toStep * y.stride[2], step = l[2].toStep * y.stride[3];
      if (passesAlong) {
        if (large) {
          for (i64 r = h == first ? 0 : s.rowCount - 1; r < s.rowCount; r++)
            if (rows[r].image) touch(rows[r].image, (s.width - 1) * s.column + channels);
          touch(out, (l[2].count - 1) * step + channels);
        }
        passesAlong(s, l[2].count, channels, bias, out, step);
      } else if (n > 1) resultRows<SQUARE_ROWS, SQUARE_COLUMNS>(s, l[2], channels, bias, out, outRow, step, past);
      else if (l[2].count > 4) resultRows<1, COLUMNS>(s, l[2], channels, bias, out, outRow, step, past);
      else resultRows<1, 4>(s, l[2], channels, bias, out, outRow, step, past);
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
