// Convolution over three axes, channels last, and the gradient at its input, as matrix products whose left operand is
// read where it lies: a row of the register tile is a position, its values along k are runs of the image. A block of
// positions is copied with zeros around it first where padding or storage asks for it. Every element sums over k in the
// same order (blocks of KC, then one step at a time), whatever the threads.
#include "../kernels.h"
#include "convolution_frames.h"
#include "transpose.h"

namespace MK_ISA {

namespace {

/// Most k steps between two additions to the result: a panel of weights (KC x NR) stays in the second-level cache.
constexpr i64 KC = 512;
/// Everything about a pass that its tasks share.
struct Product {
  Pass pass;
  View from, to, bias;
  i64 groups, inner, lanes;
  /// (group, panel, k, NR) floats.
  const float* weight;
  /// k steps in all, and between additions.
  i64 K, depth;
  i64 panels;
};

/// Fills panels with the weight, k being (tap, inner) of a pass; lanes are output channels, or where `byInput` input
/// channels. Squares are transposed in registers.
const float* packWeight(const Args& args, const Geometry& g, Pass* passes, i64 count, const float* weight, bool byInput) {
  const i64 inner = byInput ? g.out : g.in, lanes = byInput ? g.in : g.out, panels = ceilDiv(lanes, NR);
  float* const to = args.shared<float>(1, g.groups * panels * NR * g.taps * inner);
  const Place* const places = placesOf(args, g, passes, count, g.groups * panels, inner * NR, 2);
  // A source is W lines of which each is a lane: all (c, tap) of an output channel, or all taps of an input channel.
  const i64 sources = byInput ? inner : 1, depth = byInput ? g.taps : g.in * g.taps;
  const i64 step = byInput ? g.taps : g.in * g.taps, vectors = panels * NV;
  args.ranges(g.groups * vectors * sources, byInput ? 16 : 1, [&](i64 begin, i64 end, i32) {
    for (i64 i = begin; i < end; i++) {
      const i64 source = i % sources, v = i / sources % vectors, group = i / sources / vectors;
      const i64 panel = group * panels + v / NV, n = most<i64>(0, least<i64>(W, lanes - v * W));
      const float* const first = weight + group * g.out * g.in * g.taps + source * g.in * g.taps + v * W * step;
      i64 tap = 0, c = 0;
      for (i64 at = 0; at < depth; at += W) {
        vf square[W];
        const i64 width = least<i64>(W, depth - at);
        for (int r = 0; r < W; r++) square[r] = r < n ? loadUpTo<F32>(first + r * step + at, width) : vf{};
        transpose(square);
        for (i64 r = 0; r < width; r++) {
          const Place& place = places[tap];
          if (place.start >= 0)
            store(to + place.start + panel * place.step + (byInput ? source : c) * NR + v % NV * W, square[r]);
          if (++tap == g.taps) {
            tap = 0;
            c++;
          }
        }
      }
    }
  });
  return to;
}

/// Panels [first, last) (counted over groups) of a block.
void multiply(const Args& args, const Product& p, const Block& block, i64 first, i64 last, i32 thread) {
  const Frame frame = frameOf(args, p.pass, p.from, block, thread);
  const View& to = p.to;
  const Line *const h = &p.pass.line[1], *const w = &p.pass.line[2];
  const i64 positions = block.images * block.rows * block.columns;
  i64* const at = args.scratch<i64>(thread, 1, 2 * roundUp(positions, MR));
  i64* const target = at + roundUp(positions, MR);
  const bool half = to.dtype != FLOAT32;
  const i64 channels = to.dim[4];
  float* out = half ? args.scratch<float>(thread, 2, positions * channels) : (float*)to.data;
  const i64 t = p.pass.line[0].toStart + block.t * p.pass.line[0].toStep;
  const auto offsetOf = [&](i64 b, i64 y, i64 x) {
    return (block.b + b) * to.stride[0] + t * to.stride[1] + (h->toStart + (block.row + y) * h->toStep) * to.stride[2] +
           (w->toStart + (block.column + x) * w->toStep) * to.stride[3];
  };
  i64 count = 0;
  for (i64 b = 0; b < block.images; b++)
    for (i64 y = 0; y < block.rows; y++)
      for (i64 x = 0; x < block.columns; x++, count++) {
        at[count] = b * frame.stride[0] + y * h->fromStep * frame.stride[2] + x * w->fromStep * frame.stride[3];
        target[count] = half ? count * channels : offsetOf(b, y, x);
      }
  for (; count % MR; count++) {
    at[count] = at[count - 1];
    target[count] = target[count - 1];
  }
  const i64 blocks = p.K == 0 ? 1 : ceilDiv(p.K, p.depth);
  Stretch* const runs = args.scratch<Stretch>(thread, 3, p.pass.taps() + blocks + 1);
  i64* const firstOf = args.scratch<i64>(thread, 4, blocks + 1);
  firstOf[0] = 0;
  firstOf[blocks] = findRuns(p.pass, frame, p.groups, p.inner, p.depth, runs, firstOf);
  for (i64 k = 0; k < blocks; k++)
    for (i64 panel = first; panel < last; panel++) {
      const i64 group = panel / p.panels, lane = panel % p.panels * NR, n = least<i64>(NR, p.lanes - lane);
      const float* const b = p.weight + (panel * p.K + k * p.depth) * NR;
      const float* const data = frame.data + group * p.inner;
      float* const to0 = out + group * p.lanes + lane;
      vf start[NV] = {};
      if (k == 0 && p.bias)
        for (int v = 0; v < NV && v * W < n; v++) start[v] = loadAny(p.bias, group * p.lanes + lane + v * W, n - v * W);
      for (i64 i = 0; i < positions; i += MR) {
        const float* a[MR];
#pragma GCC unroll 16
        for (int r = 0; r < MR; r++) a[r] = data + at[i + r];
        vf acc[MR][NV];
        if (n > W) tile<NV>(a, runs + firstOf[k], runs + firstOf[k + 1], b, acc);
        else tile<1>(a, runs + firstOf[k], runs + firstOf[k + 1], b, acc);
        const i64 rows = least<i64>(MR, positions - i);
        if (n == NR && rows == MR) {
#pragma GCC unroll 16
          for (int r = 0; r < MR; r++) {
            float* const o = to0 + target[i + r];
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) store(o + v * W, acc[r][v] + (k == 0 ? start[v] : load(o + v * W)));
          }
          continue;
        }
        for (i64 r = 0; r < rows; r++) {
          float* const o = to0 + target[i + r];
          for (int v = 0; v < NV && v * W < n; v++)
            storeUpTo<F32>(o + v * W, acc[r][v] + (k == 0 ? start[v] : loadUpTo<F32>(o + v * W, n - v * W)), n - v * W);
        }
      }
    }
  if (!half) return;
  // The channels of these panels, which lie side by side.
  const auto channelOf = [&](i64 panel) { return panel / p.panels * p.lanes + least(p.lanes, panel % p.panels * NR); };
  const i64 from = channelOf(first), n = channelOf(last) - from;
  count = 0;
  for (i64 b = 0; b < block.images; b++)
    for (i64 y = 0; y < block.rows; y++)
      for (i64 x = 0; x < block.columns; x++, count++)
        unstage(to.data + (offsetOf(b, y, x) + from) * 2, to.dtype, 1, n, out + count * channels + from);
}

/// A pass with its blocks, which are tasks from `first` on.
struct Work {
  Product product;
  Blocks blocks;
  i64 first;
};

void run(const Args& args, const Geometry& g, Pass* passes, i64 count, const View& from, const View& to, const View& bias,
         const View& weight, bool byInput) {
  if (to.dim[0] == 0) return;
  const float* const dense = denseWeight(args, weight, 0);
  if (g.in == 1 && g.out == 1) return depthwise(args, g, passes, count, from, to, bias, dense);
  const float* const packed = packWeight(args, g, passes, count, dense, byInput);
  const i64 inner = byInput ? g.out : g.in, lanes = byInput ? g.in : g.out;
  if (count == 1 && g.groups == 1 && suitsWinograd(passes[0], inner, lanes))
    return winograd(args, passes[0], from, to, bias, packed, inner, lanes);
  Work* const work = args.shared<Work>(3, count);
  i64 blocks = 0;
  i64 parts = 0;
  for (i64 i = 0; i < count; i++) {
    if (passes[i].empty()) continue;
    Product& p = work[parts].product;
    p.pass = passes[i];
    p.from = from;
    p.to = to;
    p.bias = bias;
    p.groups = g.groups;
    p.inner = inner;
    p.lanes = lanes;
    p.K = p.pass.taps() * p.inner;
    p.depth = p.K == 0 ? 1 : ceilDiv(p.K, ceilDiv(p.K, KC));
    p.panels = ceilDiv(p.lanes, NR);
    p.weight = packed + p.pass.weights;
    work[parts].blocks = blocksOf(p.pass, to.dim[0], args.runtime->threads);
    work[parts].first = blocks;
    blocks += work[parts++].blocks.count();
  }
  if (blocks == 0) return;
  // Few blocks are cut along the panels, so that all threads have work.
  const i64 panels = g.groups * work[0].product.panels, threads = args.runtime->threads;
  const i64 cuts = threads == 1 ? 1 : least(panels, ceilDiv(4 * threads, blocks)), each = ceilDiv(panels, cuts);
  args.parallel(blocks * cuts, [&](i64 task, i32 thread) {
    const i64 block = task / cuts, first = task % cuts * each;
    i64 i = parts - 1;
    while (work[i].first > block) i--;
    if (first < panels)
      multiply(args, work[i].product, work[i].blocks.at(block - work[i].first), first, least(panels, first + each), thread);
  });
}

}  // namespace

void convolution(const Args& args) {
  const View &input = args[0], &weight = args[1], &bias = args[2], &out = args[3];
  if (!floatsOnly(args)) return;
  const Geometry g = geometryOf(args, weight);
  Pass pass = forwardPass(g, input, out);
  run(args, g, &pass, 1, input, out, bias, weight, false);
}

void convolutionGradInput(const Args& args) {
  const View &gradOut = args[0], &weight = args[1], &bias = args[2], &gradIn = args[3];
  if (!floatsOnly(args)) return;
  const Geometry g = geometryOf(args, weight);
  const i64 count = gradientPasses(g);
  Pass* const passes = args.shared<Pass>(4, count);
  for (i64 i = 0; i < count; i++) passes[i] = gradientPass(g, gradOut, gradIn, i);
  run(args, g, passes, count, gradOut, gradIn, bias, weight, true);
}

}  // namespace MK_ISA
