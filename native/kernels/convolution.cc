// Convolution over three axes, channels last, and its gradients. A lane is an output channel of the sum at hand.
// Letters: n output channel, c input channel of a group, k tap.
#include "../kernels.h"
#include "../vec.h"

namespace MK_ISA {

namespace {

struct Axis {
  i64 stride, dilation, padding, taps;
};

struct Geometry {
  Axis axis[3];
  i64 groups, taps, in, out;
};

/// Weight (Cout, Cin/groups, KT, KH, KW); `in` and `out` are channels of a group.
Geometry geometryOf(const Args& args, const View& weight) {
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

struct Position {
  i64 at[3];
};

Position unravel(i64 i, i64 n1, i64 n2) { return {{i / n2 / n1, i / n2 % n1, i % n2}}; }

i64 offsetOf(const View& v, i64 b, const Position& p) {
  return b * v.stride[0] + p.at[0] * v.stride[1] + p.at[1] * v.stride[2] + p.at[2] * v.stride[3];
}

/// The input position that tap k of output o sees; false if it lies outside.
bool seen(const Geometry& g, const View& input, const Position& o, const Position& k, Position& i) {
  for (int a = 0; a < 3; a++) {
    i.at[a] = o.at[a] * g.axis[a].stride - g.axis[a].padding + k.at[a] * g.axis[a].dilation;
    if (i.at[a] < 0 || i.at[a] >= input.dim[1 + a]) return false;
  }
  return true;
}

/// The output position whose tap k sees input i; false if there is none.
bool seenFrom(const Geometry& g, const View& out, const Position& i, const Position& k, Position& o) {
  for (int a = 0; a < 3; a++) {
    const i64 shifted = i.at[a] + g.axis[a].padding - k.at[a] * g.axis[a].dilation;
    if (shifted < 0 || shifted % g.axis[a].stride != 0) return false;
    o.at[a] = shifted / g.axis[a].stride;
    if (o.at[a] >= out.dim[1 + a]) return false;
  }
  return true;
}

i64 roundUp(i64 n) { return (n + W - 1) / W * W; }

/// The weight as floats (group, tap, inner, lanes): lanes are output channels, or input channels where `byInput`.
float* packed(const Args& args, const Geometry& g, const View& weight, bool byInput) {
  const i64 inner = byInput ? g.out : g.in, lanes = byInput ? g.in : g.out, row = roundUp(lanes);
  float* const to = args.shared<float>(0, g.groups * g.taps * inner * row);
  args.ranges(g.groups * g.taps, 1, [&](i64 begin, i64 end, i32) {
    for (i64 i = begin; i < end; i++) {
      const i64 group = i / g.taps;
      const Position k = unravel(i % g.taps, g.axis[1].taps, g.axis[2].taps);
      const i64 tap = k.at[0] * weight.stride[2] + k.at[1] * weight.stride[3] + k.at[2] * weight.stride[4];
      for (i64 x = 0; x < inner; x++)
        for (i64 y = 0; y < row; y++) {
          const i64 n = byInput ? x : y, c = byInput ? y : x;
          to[(i * inner + x) * row + y] =
              y < lanes ? elementAt(weight, (group * g.out + n) * weight.stride[0] + c * weight.stride[1] + tap) : 0;
        }
    }
  });
  return to;
}

/// to[b, p, channels] = bias + sum over the taps that `meet` finds of from[b, q, :] times the packed weight.
template <class Meet>
void gather(const Args& args, const Geometry& g, const View& from, const View& to, const View& bias, const float* weight,
            i64 inner, i64 lanes, Meet&& meet) {
  const i64 n1 = to.dim[2], n2 = to.dim[3], positions = to.dim[1] * n1 * n2, row = roundUp(lanes);
  args.ranges(to.dim[0] * positions, 16, [&](i64 begin, i64 end, i32) {
    for (i64 i = begin; i < end; i++) {
      const i64 b = i / positions;
      const Position p = unravel(i % positions, n1, n2);
      for (i64 group = 0; group < g.groups; group++)
        for (i64 y = 0; y < lanes; y += W) {
          const i64 n = least<i64>(W, lanes - y), channel = group * lanes + y;
          vf sum = bias ? loadAny(bias, channel, n) : vf{};
          for (i64 k = 0; k < g.taps; k++) {
            Position q;
            if (!meet(p, unravel(k, g.axis[1].taps, g.axis[2].taps), q)) continue;
            const i64 at = offsetOf(from, b, q) + group * inner;
            const float* const w = weight + (group * g.taps + k) * inner * row + y;
            for (i64 x = 0; x < inner; x++) sum = fma(splat(elementAt(from, at + x)), load(w + x * row), sum);
          }
          storeAny(to, offsetOf(to, b, p) + channel, sum, n);
        }
    }
  });
}

}  // namespace

void convolution(const Args& args) {
  const View &input = args[0], &weight = args[1], &bias = args[2], &out = args[3];
  for (int i = 0; i < 4; i++)
    if (args[i] && args[i].dtype > BFLOAT16) return args.operandError(i);
  const Geometry g = geometryOf(args, weight);
  gather(args, g, input, out, bias, packed(args, g, weight, false), g.in, g.out,
         [&](const Position& o, const Position& k, Position& i) { return seen(g, input, o, k, i); });
}

void convolutionGradInput(const Args& args) {
  const View &gradOut = args[0], &weight = args[1], &bias = args[2], &gradIn = args[3];
  for (int i = 0; i < 4; i++)
    if (args[i] && args[i].dtype > BFLOAT16) return args.operandError(i);
  const Geometry g = geometryOf(args, weight);
  gather(args, g, gradOut, gradIn, bias, packed(args, g, weight, true), g.out, g.in,
         [&](const Position& i, const Position& k, Position& o) { return seenFrom(g, gradOut, i, k, o); });
}

void convolutionGradWeight(const Args& args) {
  const View &input = args[0], &gradOut = args[1], &gradWeight = args[2], &gradBias = args[3];
  for (int i = 0; i < 4; i++)
    if (args[i] && args[i].dtype > BFLOAT16) return args.operandError(i);
  const Geometry g = geometryOf(args, gradWeight);
  const i64 n1 = gradOut.dim[2], n2 = gradOut.dim[3], positions = gradOut.dim[1] * n1 * n2;
  args.ranges(g.groups * g.taps * g.in, 1, [&](i64 begin, i64 end, i32) {
    for (i64 i = begin; i < end; i++) {
      const i64 c = i % g.in, group = i / g.in / g.taps;
      const Position k = unravel(i / g.in % g.taps, g.axis[1].taps, g.axis[2].taps);
      for (i64 y = 0; y < g.out; y += W) {
        const i64 n = least<i64>(W, g.out - y), first = group * g.out + y;
        vf sum = {};
        for (i64 b = 0; b < gradOut.dim[0]; b++) {
          vf part = {};
          for (i64 p = 0; p < positions; p++) {
            const Position o = unravel(p, n1, n2);
            Position q;
            if (!seen(g, input, o, k, q)) continue;
            const vf x = splat(elementAt(input, offsetOf(input, b, q) + group * g.in + c));
            part = fma(x, loadAny(gradOut, offsetOf(gradOut, b, o) + first, n), part);
          }
          sum = sum + part;
        }
        for (i64 l = 0; l < n; l++)
          storeAny(gradWeight,
                   (first + l) * gradWeight.stride[0] + c * gradWeight.stride[1] + k.at[0] * gradWeight.stride[2] +
                       k.at[1] * gradWeight.stride[3] + k.at[2] * gradWeight.stride[4],
                   splat(sum[l]), 1);
      }
    }
  });
  if (!gradBias) return;
  args.ranges(gradBias.dim[0], W, [&](i64 begin, i64 end, i32) {
    vf sum = {};
    for (i64 b = 0; b < gradOut.dim[0]; b++) {
      vf part = {};
      for (i64 p = 0; p < positions; p++)
        part = part + loadAny(gradOut, offsetOf(gradOut, b, unravel(p, n1, n2)) + begin, end - begin);
      sum = sum + part;
    }
    storeAny(gradBias, begin, sum, end - begin);
  });
}

}  // namespace MK_ISA
