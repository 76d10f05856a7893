// The gradient of a depth-wise convolution at its weight, channels last: a lane is a channel. The sums of the taps of a
// row (of all rows, where there are three) stay in registers while the positions of a block pass. Blocks are cut by shape
// alone and gathered in slices; the slices' sums are added in order.
#include "depthwise.h"
#include "transpose.h"

namespace MK_ISA {

namespace {

/// Slices of blocks, at most.
constexpr i64 SLICES = 32;
/// Values of one vector of channels that a block reads: they stay in the second-level cache with those of its neighbours.
constexpr i64 BLOCK_POSITIONS = 512;
/// Floats of a cache line.
constexpr i64 LINE = 16;

struct Problem {
  Line line[3];
  Floats x, g;
  i64 extent[3], height, width, channels;
  const float* zeros;
};

/// One vector of channels of images and of their gradients: the first image, at index 0 of its rows, and how many there are.
struct Images {
  const float *x, *g;
  i64 count;
};

/// acc[i][k] += sum over rows [first, last) and all columns, R at a time, of one image, for H rows of taps from `tapRow`
/// on of which K lie side by side.
template <int H, int K, int R, class Load>
inline void sumTaps(const Problem& p, const Images& at, i64 first, i64 last, i64 tapRow, vf (&acc)[H][K], Load&& load) {
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
inline vf sumTap(const Problem& p, const Images& at, i64 first, i64 last, i64 tapRow, i64 tap, Load&& load) {
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

/// The i-th of the images.
inline Images imageOf(const Problem& p, const Images& at, i64 i) { return {at.x + i * p.x.stride[0], at.g + i * p.g.stride[0], 1}; }

/// Adds the sums of H rows of K taps to `to`, a row of `step` floats for each tap.
template <int H, int K, class Load>
void addTaps(const Problem& p, const Images& at, i64 first, i64 last, i64 tapRow, float* to, i64 step, Load&& load) {
  vf acc[H][K] = {};
  for (i64 i = 0; i < at.count; i++) {
    if (p.width > 4) sumTaps<H, K, 8>(p, imageOf(p, at, i), first, last, tapRow, acc, load);
    else sumTaps<H, K, 4>(p, imageOf(p, at, i), first, last, tapRow, acc, load);
  }
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
        vf total = {};
        for (i64 image = 0; image < at.count; image++) total += sumTap(p, imageOf(p, at, image), first, last, i, k, load);
        store(sum, MK_ISA::load(sum) + total);
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
  const i64 rows = least(p.height, most<i64>(1, BLOCK_POSITIONS / most<i64>(1, p.width))), rowBlocks = ceilDiv(p.height, rows);
  const i64 batch = gradOut.dim[0], steps = gradOut.dim[1], together = rows < p.height ? 1 : most<i64>(1, BLOCK_POSITIONS / (p.height * p.width));
  const i64 blocks = ceilDiv(batch, together) * steps * rowBlocks;
  // A row of sums for each tap; vectors never overlap. Slices as far as their sums are no larger than what they sum over;
  // beyond that channels are shared out.
  const i64 row = roundUp(p.channels, W), slice = g.taps * row, vectors = row / W;
  const i64 wanted = most<i64>(1, least(least(SLICES, blocks), (input.count() + gradOut.count()) / slice));
  const i64 each = most<i64>(1, ceilDiv(blocks, wanted)), slices = most<i64>(1, ceilDiv(blocks, each));
  const i64 cuts = least(vectors, ceilDiv(SLICES, slices));
  float* const sums = args.shared<float>(0, slices * slice);
  float* const zeros = args.shared<float>(1, W);
  store(zeros, vf{});
  p.zeros = zeros;
  args.parallel(slices * cuts, [&](i64 task, i32) {
    const i64 s = task / cuts, begin = task % cuts * vectors / cuts * W, end = (task % cuts + 1) * vectors / cuts * W;
    float* const mine = sums + s * slice;
    for (i64 tap = 0; tap < g.taps; tap++)
      for (i64 c = begin; c < end; c += W) store(mine + tap * row + c, vf{});
    for (i64 i = s * each; i < least(blocks, (s + 1) * each); i++) {
      const i64 first = i % rowBlocks * rows, last = least(p.height, first + rows);
      const i64 t = i / rowBlocks % steps, b = i / rowBlocks / steps * together;
      for (i64 tap = 0; tap < p.line[0].taps; tap++) {
        const i64 from = p.line[0].begin(t) + tap * p.line[0].tapStep;
        if (from < 0 || from >= p.extent[0]) continue;
        const float* const x = p.x.data + b * p.x.stride[0] + from * p.x.stride[1];
        const float* const y = p.g.data + b * p.g.stride[0] + t * p.g.stride[1];
        float* const to = mine + tap * p.line[1].taps * p.line[2].taps * row;
        for (i64 c = begin; c < least(end, p.channels); c += W) {
          const Images here = {x + c, y + c, least(together, batch - b)};
          const i64 lanes = p.channels - c;
          if (lanes >= W) addAll(p, here, first, last, to + c, row, [](const float* v) { return load(v); });
          else addAll(p, here, first, last, to + c, row, [&](const float* v) { return loadPart<F32>(v, lanes); });
        }
      }
    }
  });
  const WeightRows weights(gradWeight);
  args.ranges(vectors, 1, [&](i64 begin, i64 end, i32) {
    for (i64 c = begin * W; c < end * W; c += W)
      for (i64 tap = 0; tap < g.taps; tap += W) {
        vf square[W];
        const i64 n = least<i64>(W, g.taps - tap);
        for (i64 r = 0; r < W; r++) {
          square[r] = vf{};
          for (i64 s = 0; s < slices && r < n; s++) square[r] += load(sums + s * slice + (tap + r) * row + c);
        }
        transpose(square);
        for (i64 l = 0; l < least<i64>(W, p.channels - c); l++) weights.write(c + l, tap, square[l], n);
      }
  });
}

}  // namespace MK_ISA
