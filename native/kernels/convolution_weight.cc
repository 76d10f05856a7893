// Gradients of convolution at its weight and bias. A register tile holds MR steps of k (tap, input channel) by a panel of
// output channels and sums over the positions of a block, both sides being read where they lie. Positions are cut into
// slices by shape alone; the sums of the slices are added in order.
#include "../kernels.h"
#include "convolution_frames.h"
#include "transpose.h"

namespace MK_ISA {

namespace {

/// Slices of positions, at most.
constexpr i64 SLICES = 16;

/// M steps of k from x on, times a panel at g, over positions; added to `sums`, whose first `skip` rows are left out.
template <int M>
void tile(const float* x, const i64* at, const float* g, i64 gStep, i64 positions, float* sums, int skip) {
  vf acc[M][NV];
#pragma GCC unroll 16
  for (int i = 0; i < M; i++)
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) acc[i][v] = vf{};
  for (i64 p = 0; p < positions; p++, g += gStep) {
    const float* const from = x + at[p];
    vf y[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) y[v] = load(g + v * W);
#pragma GCC unroll 16
    for (int i = 0; i < M; i++) {
      const vf a = splat(from[i]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) acc[i][v] = fma(a, y[v], acc[i][v]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < M; i++)
    if (i >= skip)
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) store(sums + i * NR + v * W, load(sums + i * NR + v * W) + acc[i][v]);
}

/// All steps of a run.
void runOf(const float* x, i64 length, const i64* at, const float* g, i64 gStep, i64 positions, float* sums) {
  i64 k = 0;
  for (; k + MR <= length; k += MR) tile<MR>(x + k, at, g, gStep, positions, sums + k * NR, 0);
  const i64 rest = length - k;
  if (rest == 0) return;
  if (length >= MR) {
    const i64 back = length - MR;
    return tile<MR>(x + back, at, g, gStep, positions, sums + back * NR, (int)(MR - rest));
  }
  for (; k + 3 <= length; k += 3) tile<3>(x + k, at, g, gStep, positions, sums + k * NR, 0);
  for (; k < length; k++) tile<1>(x + k, at, g, gStep, positions, sums + k * NR, 0);
}

/// Writes sums (group, panel, k, NR) of all slices, in order, as weight (Cout, Cin/groups, taps).
void writeWeight(const Args& args, const Geometry& g, const View& to, const float* sums, i64 slices, i64 slice) {
  const i64 panels = ceilDiv(g.out, NR), K = g.taps * g.in;
  const WeightRows rows(to);
  args.ranges(g.groups * panels * NV, 1, [&](i64 begin, i64 end, i32) {
    for (i64 i = begin; i < end; i++) {
      const i64 group = i / NV / panels, lane = i % (NV * panels) * W;
      const float* const from = sums + i / NV * K * NR + i % NV * W;
      const i64 lanes = least<i64>(W, g.out - lane);
      for (i64 at = 0; at < K && lanes > 0; at += W) {
        vf square[W];
        const i64 n = least<i64>(W, K - at);
        for (i64 r = 0; r < W; r++) {
          square[r] = vf{};
          // Element (c, tap) of the weight.
          const i64 k = (at + r) % g.taps * g.in + (at + r) / g.taps;
          for (i64 s = 0; s < slices && r < n; s++) square[r] += load(from + s * slice + k * NR);
        }
        transpose(square);
        for (i64 r = 0; r < lanes; r++) rows.write(group * g.out + lane + r, at, square[r], n);
      }
    }
  });
}

void gradWeightDense(const Args& args, const Geometry& g, const View& input, const View& gradOut, const View& gradWeight) {
  Pass pass;
  for (int a = 0; a < 3; a++) pass.line[a] = forwardLine(g.axis[a], gradOut.dim[1 + a]);
  const Blocks blocks = blocksOf(pass, gradOut.dim[0], 1);
  const i64 panels = ceilDiv(g.out, NR), all = g.groups * panels, K = g.taps * g.in, slice = all * K * NR;
  // Slices as far as their sums are no larger than what they sum over; beyond that the panels are shared out.
  const i64 slices = most<i64>(1, least(least(SLICES, blocks.count()), (input.count() + gradOut.count()) / most<i64>(1, slice)));
  const i64 each = ceilDiv(blocks.count(), slices), cuts = least(all, ceilDiv(SLICES, slices));
  float* const sums = args.shared<float>(0, slices * slice);
  args.parallel(slices * cuts, [&](i64 task, i32 thread) {
    const i64 s = task / cuts, first = task % cuts * all / cuts, last = (task % cuts + 1) * all / cuts;
    float* const mine = sums + s * slice;
    for (i64 i = first * K * NR; i < last * K * NR; i++) mine[i] = 0;
    for (i64 i = s * each; i < least(blocks.count(), (s + 1) * each); i++) {
      const Block block = blocks.at(i);
      const Frame frame = frameOf(args, pass, input, block, thread);
      const i64 positions = block.images * block.rows * block.columns;
      i64* const at = args.scratch<i64>(thread, 1, positions);
      // The panels' part of gradOut, whole panels side by side.
      const i64 row = (last - first) * NR;
      float* const y = args.scratch<float>(thread, 2, positions * row);
      i64 count = 0;
      for (i64 b = 0; b < block.images; b++)
        for (i64 h = 0; h < block.rows; h++)
          for (i64 w = 0; w < block.columns; w++, count++) {
            at[count] = b * frame.stride[0] + h * pass.line[1].fromStep * frame.stride[2] + w * pass.line[2].fromStep * frame.stride[3];
            const i64 from = (block.b + b) * gradOut.stride[0] + block.t * gradOut.stride[1] +
                             (block.row + h) * gradOut.stride[2] + (block.column + w) * gradOut.stride[3];
            for (i64 panel = first; panel < last; panel++) {
              const i64 lane = panel % panels * NR, n = least<i64>(NR, g.out - lane);
              float* const to = y + count * row + (panel - first) * NR;
              for (i64 v = 0; v < NR; v += W)
                store(to + v, v < n ? loadAny(gradOut, from + panel / panels * g.out + lane + v, n - v) : vf{});
            }
          }
      Stretch* const runs = args.scratch<Stretch>(thread, 3, g.taps + 1);
      i64 start;
      const i64 runCount = findRuns(pass, frame, g.groups, g.in, K, runs, &start);
      for (i64 panel = first; panel < last; panel++) {
        float* to = mine + panel * K * NR;
        for (i64 r = 0; r < runCount; to += runs[r++].length * NR)
          runOf(frame.data + panel / panels * g.in + runs[r].offset, runs[r].length, at, y + (panel - first) * NR, row, positions, to);
      }
    }
  });
  writeWeight(args, g, gradWeight, sums, slices, slice);
}

/// Sums over all positions: of fixed slices, then of these.
void gradBiasOf(const Args& args, const View& gradOut, const View& gradBias) {
  const i64 channels = gradOut.dim[4], row = roundUp(channels, W);
  const i64 rows = gradOut.dim[0] * gradOut.dim[1] * gradOut.dim[2];
  const i64 each = most<i64>(1, ceilDiv(rows, SLICES)), slices = ceilDiv(rows, each);
  float* const sums = args.shared<float>(0, slices * row);
  args.parallel(slices, [&](i64 s, i32) {
    float* const mine = sums + s * row;
    for (i64 c = 0; c < row; c++) mine[c] = 0;
    for (i64 r = s * each; r < least(rows, (s + 1) * each); r++) {
      const i64 at = r / gradOut.dim[2] / gradOut.dim[1] * gradOut.stride[0] +
                     r / gradOut.dim[2] % gradOut.dim[1] * gradOut.stride[1] + r % gradOut.dim[2] * gradOut.stride[2];
      for (i64 c = 0; c < channels; c += W) {
        vf sum = {};
        for (i64 w = 0; w < gradOut.dim[3]; w++) sum += loadAny(gradOut, at + w * gradOut.stride[3] + c, channels - c);
        store(mine + c, load(mine + c) + sum);
      }
    }
  });
  for (i64 c = 0; c < channels; c += W) {
    vf sum = {};
    for (i64 s = 0; s < slices; s++) sum += load(sums + s * row + c);
    storeAny(gradBias, c, sum, channels - c);
  }
}

}  // namespace

void convolutionGradWeight(const Args& args) {
  const View &input = args[0], &gradOut = args[1], &gradWeight = args[2], &gradBias = args[3];
  if (!floatsOnly(args)) return;
  const Geometry g = geometryOf(args, gradWeight);
  if (g.in == 1 && g.out == 1) depthwiseGradWeight(args, g, input, gradOut, gradWeight);
  else gradWeightDense(args, g, input, gradOut, gradWeight);
  if (gradBias) gradBiasOf(args, gradOut, gradBias);
}

}  // namespace MK_ISA
