// What the forms of convolution share: geometry, and passes, to which forward and gradient reduce alike.
// Letters: B batch, T, H, W axes, C channels; n output channel, c input channel of a group, k tap.
#pragma once
#include "../vec.h"
#include "strided.h"

namespace MK_ISA {

/// Numbers of one axis of a convolution.
struct Axis {
  i64 stride, dilation, padding, taps;
};

struct Geometry {
  Axis axis[3];
  /// `in` and `out` are channels of a group.
  i64 groups, taps, in, out;
};

/// Weight (Cout, Cin/groups, KT, KH, KW); numbers as in src/backend/kernels.ts.
static inline Geometry geometryOf(const Args& args, const View& weight) {
  Geometry g;
  g.taps = 1;
  for (int a = 0; a < 3; a++) {
    g.axis[a] = {(i64)args.number[a], (i64)args.number[3 + a], (i64)args.number[6 + a], weight.dim[2 + a]};
    g.taps *= weight.dim[2 + a];
  }
  g.groups = (i64)args.number[9];
  g.in = weight.dim[1];
  g.out = weight.dim[0] / g.groups;
  return g;
}

/// One axis of a pass: position j of `count` is written at toStart + j toStep and sums over taps i the values at
/// j fromStep + fromStart + i tapStep, times the weight of tap firstTap + i tapSkip.
struct Line {
  i64 count, toStart, toStep, fromStart, fromStep, taps, tapStep, firstTap, tapSkip;
  /// Where the values of position j begin and end.
  i64 begin(i64 j) const { return j * fromStep + fromStart; }
  i64 reach(i64 positions) const { return (positions - 1) * fromStep + (taps - 1) * tapStep + 1; }
};

/// A part of a result whose positions have the same taps: all of a forward; in a gradient the inputs that lie alike
/// between the strides.
struct Pass {
  Line line[3];
  /// Where its weights begin among the packed ones.
  i64 weights;
  bool empty() const { return line[0].count == 0 || line[1].count == 0 || line[2].count == 0; }
  i64 taps() const { return line[0].taps * line[1].taps * line[2].taps; }
};

/// Leaves out taps that see nothing of an axis of `extent`.
static inline Line trimmed(Line line, i64 extent) {
  const auto first = [&](i64 tap) { return line.fromStart + tap * line.tapStep; };
  while (line.taps > 0 && first(0) + (line.count - 1) * line.fromStep < 0) {
    line.fromStart += line.tapStep;
    line.firstTap += line.tapSkip;
    line.taps--;
  }
  while (line.taps > 0 && first(line.taps - 1) >= extent) line.taps--;
  return line;
}

static inline Line forwardLine(const Axis& a, i64 extent) {
  return {extent, 0, 1, -a.padding, a.stride, a.taps, a.dilation, 0, 1};
}

/// Inputs `phase`, phase + stride, ... of an axis: output (i + padding - k dilation) / stride where that is whole. Taps
/// run from the last to the first, so that values are read upwards.
static inline Line gradientLine(const Axis& a, i64 extent, i64 phase) {
  Line line = {(extent - phase + a.stride - 1) / a.stride, phase, a.stride, 0, 1, 0, 1, 0, 0};
  for (i64 k = a.taps - 1; k >= 0; k--) {
    const i64 at = phase + a.padding - k * a.dilation;
    if (at % a.stride != 0) continue;
    if (line.taps == 0) {
      line.firstTap = k;
      line.fromStart = at / a.stride;
    } else if (line.taps == 1) {
      line.tapSkip = k - line.firstTap;
      line.tapStep = at / a.stride - line.fromStart;
    }
    line.taps++;
  }
  return line;
}

/// All of a forward.
static inline Pass forwardPass(const Geometry& g, const View& input, const View& out) {
  Pass pass;
  for (int a = 0; a < 3; a++) pass.line[a] = trimmed(forwardLine(g.axis[a], out.dim[1 + a]), input.dim[1 + a]);
  return pass;
}

/// The passes of a gradient at the input: one for each place between the strides that an input has.
static inline i64 gradientPasses(const Geometry& g) { return g.axis[0].stride * g.axis[1].stride * g.axis[2].stride; }
static inline Pass gradientPass(const Geometry& g, const View& gradOut, const View& gradIn, i64 i) {
  Pass pass;
  for (int a = 2; a >= 0; a--) {
    pass.line[a] = trimmed(gradientLine(g.axis[a], gradIn.dim[1 + a], i % g.axis[a].stride), gradOut.dim[1 + a]);
    i /= g.axis[a].stride;
  }
  return pass;
}

/// Where the weights of a tap begin among the packed ones of all passes, and how far its panels lie apart; a tap that no
/// pass has begins at -1.
struct Place {
  i64 start, step;
};

/// Gives every pass a place for its weights (for each panel, for each tap, `unit` floats) and finds that of each tap.
static inline Place* placesOf(const Args& args, const Geometry& g, Pass* passes, i64 count, i64 panels, i64 unit, int slot) {
  Place* const places = args.shared<Place>(slot, g.taps);
  for (i64 k = 0; k < g.taps; k++) places[k] = {-1, 0};
  i64 at = 0;
  for (i64 p = 0; p < count; p++) {
    const Line* const l = passes[p].line;
    const i64 taps = passes[p].taps();
    passes[p].weights = at;
    for (i64 i = 0; i < taps; i++) {
      const i64 t = l[0].firstTap + i / l[2].taps / l[1].taps * l[0].tapSkip;
      const i64 h = l[1].firstTap + i / l[2].taps % l[1].taps * l[1].tapSkip;
      const i64 w = l[2].firstTap + i % l[2].taps * l[2].tapSkip;
      places[(t * g.axis[1].taps + h) * g.axis[2].taps + w] = {at + i * unit, taps * unit};
    }
    at += panels * taps * unit;
  }
  return places;
}

/// Are all operands floats? Reports the first that is none.
static inline bool floatsOnly(const Args& args) {
  for (int i = 0; i < 4; i++)
    if (args[i] && !isFloat(args[i].dtype)) {
      args.operandError(i);
      return false;
    }
  return true;
}

static inline i64 roundUp(i64 n, i64 step) { return (n + step - 1) / step * step; }
static inline i64 ceilDiv(i64 n, i64 d) { return (n + d - 1) / d; }

/// A weight as dense floats: where it lies, or in a shared slot.
static inline const float* denseWeight(const Args& args, const View& w, int slot) {
  bool dense = w.dtype == FLOAT32;
  i64 step = 1;
  for (int a = 4; a >= 0; a--) {
    dense = dense && (w.dim[a] == 1 || w.stride[a] == step);
    step *= w.dim[a];
  }
  if (dense) return (const float*)w.data;
  float* const to = args.shared<float>(slot, step);
  const i64 run = w.dim[4], rows = step / run;
  args.ranges(rows, 256, [&](i64 begin, i64 end, i32) {
    for (i64 r = begin; r < end; r++) {
      i64 at = 0, rest = r;
      for (int a = 3; a >= 0; a--) {
        at += rest % w.dim[a] * w.stride[a];
        rest /= w.dim[a];
      }
      for (i64 i = 0; i < run; i++) to[r * run + i] = elementAt(w, at + i * w.stride[4]);
    }
  });
  return to;
}

/// Writes rows of a weight's gradient: n elements of output channel `channel` from element `at` (input channel, tap) on.
struct WeightRows {
  const View& to;
  i64 taps, K;
  bool dense;
  explicit WeightRows(const View& view) : to(view), taps(view.dim[2] * view.dim[3] * view.dim[4]), K(view.dim[1] * taps) {
    dense = true;
    i64 step = 1;
    for (int a = 4; a >= 0; a--) {
      dense = dense && (to.dim[a] == 1 || to.stride[a] == step);
      step *= to.dim[a];
    }
  }
  void write(i64 channel, i64 at, vf x, i64 n) const {
    if (dense) return storeAny(to, channel * K + at, x, n);
    for (i64 j = 0; j < n; j++) {
      const i64 tap = (at + j) % taps, w = tap % to.dim[4], h = tap / to.dim[4] % to.dim[3], t = tap / to.dim[4] / to.dim[3];
      const i64 place = channel * to.stride[0] + (at + j) / taps * to.stride[1] + t * to.stride[2] + h * to.stride[3] + w * to.stride[4];
      storeAny(to, place, splat(x[j]), 1);
    }
  }
};

/// Depth-wise forms (one channel a group on both sides).
void depthwise(const Args& args, const Geometry& g, Pass* passes, i64 count, const View& from, const View& to,
               const View& bias, const float* weight);
void depthwiseGradWeight(const Args& args, const Geometry& g, const View& input, const View& gradOut,
                         const View& gradWeight);

}  // namespace MK_ISA
