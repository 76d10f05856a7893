// The gradient of a depth-wise convolution at its weight, channels last: a lane is a channel. The sums of the taps of a
// row (of all rows, where there are three) stay in registers while the positions of a block pass. Blocks are cut by shape
// alone and gathered in slices; the slices' sums are added in order.
#include "depthwise.h"

namespace MK_ISA {

namespace {

/// Slices of blocks, at most.
constexpr i64 SLICES = 32;
/// Values of one vector of channels that a block reads: they stay in the second-level cache with those of its neighbours.
constexpr i64 BLOCK_POSITIONS = 512;
/// Floats of a cache line.
constexpr i64 LINE = 16;
/// Columns whose gradients are held in registers.
constexpr int R = 8;

struct Problem {
  Line line[3];
  Floats x, g;
  i64 extent[3], height, width, channels;
  const float* zeros;
};

/// One vector of channels of an image and of its gradient, at index 0 of the second axis.
struct Images {
  const float *x, *g;
};

/// acc[i][k] += sum over rows [first, last) and all columns, for H rows of taps from `tapRow` on of which K lie side by side.
template <int H, int K, class Load>
void sumTaps(const Problem& p, const Images& at, i64 first, i64 last, i64 tapRow, vf (&acc)[H][K], Load&& load) {
  const Line &h = p.line[1], &w = p.line[2];
  // The last pass over these lines asks for those that the next channels begin with.
  const bool ahead = tapRow + H == h.taps;
  for (i64 y = first; y < last; y++) {
    const float* row[H];
    bool any = false;
    for (int i = 0; i < H; i++) {
      const i64 from = h.begin(y) + (tapRow + i) * h.tapStep;
      row[i] = from >= 0 && from < p.extent[1] ? at.x + from * p.x.stride[2] : nullptr;
      any = any || row[i];
    }
    if (!any) continue;
    const float* const gRow = at.g + y * p.g.stride[2];
    for (i64 c = 0; c < p.width; c += R) {
      vf g[R];
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) {
        const float* const from = c + r < p.width ? gRow + (c + r) * p.g.stride[3] : p.zeros;
        g[r] = load(from);
        if (ahead) __builtin_prefetch(from + LINE, 0, 2);
      }
      const i64 begin = w.begin(c);
      if (row[H - 1] && ahead)
        for (i64 j = most<i64>(0, begin + K - 1); j < least(p.extent[2], begin + K - 1 + R); j++)
          __builtin_prefetch(row[H - 1] + j * p.x.stride[3] + LINE, 0, 2);
      for (int i = 0; i < H; i++) {
        if (!row[i]) continue;
        if (begin >= 0 && begin + R + K - 2 < p.extent[2]) {
          const float* const x0 = row[i] + begin * p.x.stride[3];
#pragma GCC unroll 32
          for (int j = 0; j < R + K - 1; j++) {
            const vf x = load(x0 + j * p.x.stride[3]);
#pragma GCC unroll 16
            for (int k = 0; k < K; k++)
              if (j - k >= 0 && j - k < R) acc[i][k] = fma(g[j - k], x, acc[i][k]);
          }
        } else {
#pragma GCC unroll 32
          for (int j = 0; j < R + K - 1; j++) {
            const i64 column = begin + j;
            const vf x = load(column >= 0 && column < p.extent[2] ? row[i] + column * p.x.stride[3] : p.zeros);
#pragma GCC unroll 16
            for (int k = 0; k < K; k++)
              if (j - k >= 0 && j - k < R) acc[i][k] = fma(g[j - k], x, acc[i][k]);
          }
        }
      }
    }
  }
}

/// The same for one tap of any step.
template <class Load>
vf sumTap(const Problem& p, const Images& at, i64 first, i64 last, i64 tapRow, i64 tap, Load&& load) {
  const Line &h = p.line[1], &w = p.line[2];
  vf acc[4] = {};
  // Columns whose tap lies inside the image.
  const i64 offset = w.fromStart + tap * w.tapStep, step = w.fromStep;
  const i64 begin = offset >= 0 ? 0 : least(p.width, ceilDiv(-offset, step));
  const i64 end = offset >= p.extent[2] ? begin : most(begin, least(p.width, (p.extent[2] - 1 - offset) / step + 1));
  for (i64 y = first; y < last; y++) {
    const i64 from = h.begin(y) + tapRow * h.tapStep;
    if (from < 0 || from >= p.extent[1]) continue;
    const float* x = at.x + from * p.x.stride[2] + (offset + begin * step) * p.x.stride[3];
    const float* g = at.g + y * p.g.stride[2] + begin * p.g.stride[3];
    i64 c = begin;
    for (; c + 4 <= end; c += 4)
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++, x += step * p.x.stride[3], g += p.g.stride[3]) acc[i] = fma(load(g), load(x), acc[i]);
    for (; c < end; c++, x += step * p.x.stride[3], g += p.g.stride[3]) acc[0] = fma(load(g), load(x), acc[0]);
  }
  return (acc[0] + acc[1]) + (acc[2] + acc[3]);
}

/// Adds the sums of H rows of K taps to `to`, a row of `step` floats for each tap.
template <int H, int K, class Load>
void addTaps(const Problem& p, const Images& at, i64 first, i64 last, i64 tapRow, float* to, i64 step, Load&& load) {
  vf acc[H][K] = {};
  sumTaps<H, K>(p, at, first, last, tapRow, acc, load);
  for (int i = 0; i < H; i++)
    for (int k = 0; k < K; k++) {
      float* const sum = to + ((tapRow + i) * K + k) * step;
      store(sum, MK_ISA::load(sum) + acc[i][k]);
    }
}

template <class Load>
void addAll(const Problem& p, const Images& at, i64 first, i64 last, float* to, i64 step, Load&& load) {
  const Line &h = p.line[1], &w = p.line[2];
  const bool besides = w.tapStep == 1 && w.fromStep == 1;
  if (besides && w.taps == 3 && h.taps == 3) return addTaps<3, 3>(p, at, first, last, 0, to, step, load);
  for (i64 i = 0; i < h.taps; i++) {
    if (besides && w.taps == 3) addTaps<1, 3>(p, at, first, last, i, to, step, load);
    else if (besides && w.taps == 5) addTaps<1, 5>(p, at, first, last, i, to, step, load);
    else if (besides && w.taps == 7) addTaps<1, 7>(p, at, first, last, i, to, step, load);
    else
      for (i64 k = 0; k < w.taps; k++) {
        float* const sum = to + (i * w.taps + k) * step;
        store(sum, MK_ISA::load(sum) + sumTap(p, at, first, last, i, k, load));
      }
  }
}

}  // namespace

void depthwiseGradWeight(const Args& args, const Geometry& g, const View& input, const View& gradOut,
                         const View& gradWeight) {
  Problem p;
  for (int a = 0; a < 3; a++) {
    p.line[a] = forwardLine(g.axis[a], gradOut.dim[1 + a]);
    p.extent[a] = input.dim[1 + a];
  }
  p.x = floatsOf(args, input, 2, true);
  p.g = floatsOf(args, gradOut, 3, true);
  p.height = gradOut.dim[2];
  p.width = gradOut.dim[3];
  p.channels = gradOut.dim[4];
  const i64 rows = least(p.height, most<i64>(1, BLOCK_POSITIONS / most<i64>(1, p.width)));
  const i64 rowBlocks = ceilDiv(p.height, rows), steps = gradOut.dim[1], blocks = gradOut.dim[0] * steps * rowBlocks;
  const i64 each = ceilDiv(blocks, SLICES), slices = ceilDiv(blocks, each);
  // A row of sums for each tap; vectors never overlap.
  const i64 row = roundUp(p.channels, W), slice = g.taps * row;
  float* const sums = args.shared<float>(0, slices * slice);
  float* const zeros = args.shared<float>(1, W);
  store(zeros, vf{});
  p.zeros = zeros;
  args.parallel(slices, [&](i64 s, i32) {
    float* const mine = sums + s * slice;
    for (i64 i = 0; i < slice; i++) mine[i] = 0;
    for (i64 i = s * each; i < least(blocks, (s + 1) * each); i++) {
      const i64 first = i % rowBlocks * rows, t = i / rowBlocks % steps, b = i / rowBlocks / steps;
      for (i64 tap = 0; tap < p.line[0].taps; tap++) {
        const i64 from = p.line[0].begin(t) + tap * p.line[0].tapStep;
        if (from < 0 || from >= p.extent[0]) continue;
        const Images at = {p.x.data + b * p.x.stride[0] + from * p.x.stride[1], p.g.data + b * p.g.stride[0] + t * p.g.stride[1]};
        float* const to = mine + tap * p.line[1].taps * p.line[2].taps * row;
        const i64 last = least(p.height, first + rows);
        for (i64 c = 0; c < p.channels; c += W) {
          const Images here = {at.x + c, at.g + c};
          const i64 lanes = p.channels - c;
          if (lanes >= W) addAll(p, here, first, last, to + c, row, [](const float* v) { return load(v); });
          else addAll(p, here, first, last, to + c, row, [&](const float* v) { return loadPart<F32>(v, lanes); });
        }
      }
    }
  });
  args.ranges(p.channels, 4 * W, [&](i64 begin, i64 end, i32) {
    for (i64 c = begin; c < end; c += W)
      for (i64 tap = 0; tap < g.taps; tap++) {
        vf total = {};
        for (i64 s = 0; s < slices; s++) total += load(sums + s * slice + tap * row + c);
        const i64 w = tap % g.axis[2].taps, h = tap / g.axis[2].taps % g.axis[1].taps, t = tap / g.axis[2].taps / g.axis[1].taps;
        const i64 at = t * gradWeight.stride[2] + h * gradWeight.stride[3] + w * gradWeight.stride[4];
        for (i64 l = 0; l < least<i64>(W, end - c); l++) storeAny(gradWeight, (c + l) * gradWeight.stride[0] + at, splat(total[l]), 1);
      }
  });
}

}  // namespace MK_ISA
