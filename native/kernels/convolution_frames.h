// Blocks of positions of a dense convolution, and where in the image the values lie that they sum over.
#pragma once
#include "convolution.h"
#include "tile.h"

namespace MK_ISA {

/// Positions a task.
constexpr i64 POSITIONS = 16 * MR;

/// Consecutive k steps whose values lie side by side in the image.
struct Stretch {
  i64 offset, length;
};

/// Positions that a task works on: `images` from b on, index t of the first axis, rows and columns.
struct Block {
  i64 b, images, t, row, rows, column, columns;
};

/// The part of an image that a block sees, as dense floats by strides (b, t, h, w).
struct Frame {
  const float* data;
  i64 stride[4];
};

inline Frame frameOf(const Args& args, const Pass& pass, const View& from, const Block& block, i32 thread) {
  const i64 start[3] = {pass.line[0].begin(block.t), pass.line[1].begin(block.row), pass.line[2].begin(block.column)};
  const i64 extent[3] = {pass.line[0].reach(1), pass.line[1].reach(block.rows), pass.line[2].reach(block.columns)};
  if (pass.taps() == 0) return {nullptr, {}};
  bool inside = from.dtype == FLOAT32;
  for (int a = 0; a < 3; a++) inside = inside && start[a] >= 0 && start[a] + extent[a] <= from.dim[1 + a];
  if (inside) {
    const i64 at = block.b * from.stride[0] + start[0] * from.stride[1] + start[1] * from.stride[2] + start[2] * from.stride[3];
    return {(const float*)from.data + at, {from.stride[0], from.stride[1], from.stride[2], from.stride[3]}};
  }
  const i64 channels = from.dim[4], row = extent[2] * channels;
  Frame frame = {nullptr, {extent[0] * extent[1] * row, extent[1] * row, row, channels}};
  float* to = args.scratch<float>(thread, 0, block.images * frame.stride[0]);
  frame.data = to;
  // Columns inside the image.
  const i64 first = least(extent[2], most<i64>(0, -start[2]));
  const i64 last = most(first, least(extent[2], from.dim[3] - start[2]));
  const bool dense = from.stride[3] == channels;
  for (i64 b = block.b; b < block.b + block.images; b++)
    for (i64 t = start[0]; t < start[0] + extent[0]; t++)
      for (i64 h = start[1]; h < start[1] + extent[1]; h++, to += row) {
        const bool there = t >= 0 && t < from.dim[1] && h >= 0 && h < from.dim[2];
        const i64 from0 = there ? first : extent[2], to0 = there ? last : extent[2];
        for (i64 i = 0; i < from0 * channels; i++) to[i] = 0;
        for (i64 i = to0 * channels; i < row; i++) to[i] = 0;
        if (!there) continue;
        const i64 at = b * from.stride[0] + t * from.stride[1] + h * from.stride[2] + (start[2] + first) * from.stride[3];
        withFloat(from.dtype, [&](auto tag) {
          using S = decltype(tag);
          const i64 bytes = sizeof(typename S::T);
          if (dense) loadRun<S>(from.data + at * bytes, 1, (last - first) * channels, to + first * channels);
          else
            for (i64 w = first; w < last; w++)
              loadRun<S>(from.data + (at + (w - first) * from.stride[3]) * bytes, 1, channels, to + w * channels);
        });
      }
  return frame;
}

/// The runs of all k steps in order, cut at multiples of the depth; `firstOf` block i is where its runs begin.
inline i64 findRuns(const Pass& pass, const Frame& frame, i64 groups, i64 inner, i64 depth, Stretch* runs, i64* firstOf) {
  const Line* const l = pass.line;
  const i64 step = l[2].tapStep * frame.stride[3];
  const bool merged = groups == 1 && step == inner;
  const i64 columns = merged ? 1 : l[2].taps, length = merged ? l[2].taps * inner : inner;
  i64 count = 0, k = 0;
  for (i64 t = 0; t < l[0].taps; t++)
    for (i64 h = 0; h < l[1].taps; h++)
      for (i64 w = 0; w < columns; w++) {
        i64 offset = t * l[0].tapStep * frame.stride[1] + h * l[1].tapStep * frame.stride[2] + w * step;
        for (i64 rest = length; rest > 0;) {
          if (k % depth == 0) firstOf[k / depth] = count;
          const i64 n = least(rest, depth - k % depth);
          runs[count++] = {offset, n};
          offset += n;
          k += n;
          rest -= n;
        }
      }
  return count;
}

/// As wide as an address: indices of 64 bits cost WebAssembly a conversion a step.
typedef __PTRDIFF_TYPE__ index;

/// result (MR x N vectors) = rows of the image, from a on, times a panel. Not inlined: the loop needs all registers.
template <int N>
__attribute__((noinline)) void tile(const float* const (&a)[MR], const Stretch* run, const Stretch* last,
                                    const float* b, vf (&result)[MR][NV]) {
  const float* row[MR];
  vf acc[MR][N];
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++) {
    row[i] = a[i];
#pragma GCC unroll 4
    for (int v = 0; v < N; v++) acc[i][v] = vf{};
  }
  for (; run < last; run++) {
    const index end = (index)(run->offset + run->length);
    for (index k = (index)run->offset; k < end; k++, b += NR) {
      vf x[N];
#pragma GCC unroll 4
      for (int v = 0; v < N; v++) x[v] = load(b + v * W);
#pragma GCC unroll 16
      for (int i = 0; i < MR; i++) {
        const vf y = splat(row[i][k]);
#pragma GCC unroll 4
        for (int v = 0; v < N; v++) acc[i][v] = fma(y, x[v], acc[i][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
    for (int v = 0; v < N; v++) result[i][v] = acc[i][v];
}

/// How many rows, or images, of `each` positions a block takes, where there are `outer` times `most` of them: at most
/// about POSITIONS, few of a tile left over, as much for one thread as for another.
inline i64 together(i64 each, i64 most, i64 outer, i64 threads) {
  i64 best = 1, least = 0;
  for (i64 n = 1; n <= most && (n == 1 || n * each <= POSITIONS + POSITIONS / 2); n++) {
    // Tiles that the busiest thread computes; small blocks copy more than they compute with.
    const i64 time = ceilDiv(outer * ceilDiv(most, n), threads) * (roundUp(n * each, MR) * 32 + each);
    if (n > 1 && time > least) continue;
    best = n;
    least = time;
  }
  return best;
}

/// How the positions of a result are cut into blocks.
struct Blocks {
  i64 batch, steps, height, width;
  i64 images, rows, columns;
  i64 count() const { return ceilDiv(batch, images) * steps * ceilDiv(height, rows) * ceilDiv(width, columns); }
  Block at(i64 i) const {
    Block block;
    const i64 columnBlocks = ceilDiv(width, columns), rowBlocks = ceilDiv(height, rows);
    block.column = i % columnBlocks * columns;
    block.columns = least(columns, width - block.column);
    i /= columnBlocks;
    block.row = i % rowBlocks * rows;
    block.rows = least(rows, height - block.row);
    i /= rowBlocks;
    block.t = i % steps;
    block.b = i / steps * images;
    block.images = least(images, batch - block.b);
    return block;
  }
};

/// `threads` that share the blocks; 1 where sums depend on how they are cut.
inline Blocks blocksOf(const Pass& pass, i64 batch, i64 threads) {
  const i64 steps = pass.line[0].count, height = pass.line[1].count, width = pass.line[2].count;
  Blocks blocks = {batch, steps, height, width, 1, 1, width};
  if (width > POSITIONS + POSITIONS / 2) blocks.columns = POSITIONS;
  else blocks.rows = together(width, height, batch * steps, threads);
  if (blocks.rows == height && blocks.columns == width) blocks.images = together(width * height, batch, steps, threads);
  return blocks;
}

/// Convolution by fewer products (winograd.cc), for passes of 3 x 3 taps on maps large enough.
bool suitsWinograd(const Pass& pass, i64 inner, i64 lanes);
/// `weight` is packed: (panel, tap, inner, NR).
void winograd(const Args& args, const Pass& pass, const View& from, const View& to, const View& bias, const float* weight,
              i64 inner, i64 lanes);

}  // namespace MK_ISA
