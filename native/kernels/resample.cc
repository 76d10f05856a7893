// Weighted sums and maxima over windows of one axis, which tables of indices describe, and the gradient of the maxima.
// A lane is an element of the inner axes; a task takes some rows of the result.
#include "../kernels.h"
#include "../vec.h"

namespace MK_ISA {

namespace {

/// Elements that a task reads at least.
constexpr i64 TASK = 16384;

/// An operand's vectors; float32 is known to the compiler, which then needs no choice at every vector.
struct Any {
  View view;
  vf get(i64 at, i64 n) const { return loadAny(view, at, n); }
  void put(i64 at, vf x, i64 n) const { storeAny(view, at, x, n); }
};
struct Plain {
  float* data;
  vf get(i64 at, i64 n) const { return loadUpTo<F32>(data + at, n); }
  void put(i64 at, vf x, i64 n) const { storeUpTo<F32>(data + at, x, n); }
};

/// Calls body with both operands as they are best read and written.
template <class Body>
void withVectors(const View& from, const View& to, Body&& body) {
  if (from.dtype == FLOAT32 && to.dtype == FLOAT32) body(Plain{(float*)from.data}, Plain{(float*)to.data});
  else body(Any{from}, Any{to});
}

/// Calls body(r, i) for every row of the result (R, m, inner) over the threads.
template <class Body>
void forRows(const Args& args, const View& out, i64 taps, Body&& body) {
  const i64 m = out.dim[1], each = most<i64>(1, taps * out.dim[2]);
  args.ranges(out.dim[0] * m, most<i64>(1, TASK / each), [&](i64 begin, i64 end, i32) {
    for (i64 row = begin; row < end; row++) body(row / m, row % m);
  });
}

}  // namespace

void resample(const Args& args) {
  const View &input = args[0], &index = args[1], &weight = args[2], &out = args[3];
  if (input.dtype > BFLOAT16) return args.operandError(0);
  if (index.dtype != INT32) return args.operandError(1);
  if (weight.dtype != FLOAT32) return args.operandError(2);
  if (out.dtype > BFLOAT16) return args.operandError(3);
  const i64 n = input.dim[1], inner = input.dim[2], taps = index.dim[1], step = input.stride[1];
  withVectors(input, out, [&](auto in, auto to) {
    forRows(args, out, taps, [&](i64 r, i64 i) {
      const i32* from = (const i32*)index.data + i * taps;
      const float* by = (const float*)weight.data + i * taps;
      const i64 first = r * input.stride[0], at = r * out.stride[0] + i * out.stride[1];
      i64 c = 0;
      for (; c + 4 * W <= inner; c += 4 * W) {
        vf total[4] = {};
        for (i64 t = 0; t < taps; t++) {
          if (from[t] < 0 || from[t] >= n) continue;
          const vf w = splat(by[t]);
          const i64 x = first + from[t] * step + c;
          for (int j = 0; j < 4; j++) total[j] = fma(w, in.get(x + j * W, W), total[j]);
        }
        for (int j = 0; j < 4; j++) to.put(at + c + j * W, total[j], W);
      }
      for (; c < inner; c += W) {
        vf total = {};
        for (i64 t = 0; t < taps; t++)
          if (from[t] >= 0 && from[t] < n) total = fma(splat(by[t]), in.get(first + from[t] * step + c, inner - c), total);
        to.put(at + c, total, inner - c);
      }
    });
  });
}

void maxPool(const Args& args) {
  const View &input = args[0], &index = args[1], &out = args[2], &winner = args[3];
  if (input.dtype > BFLOAT16) return args.operandError(0);
  if (index.dtype != INT32) return args.operandError(1);
  if (out.dtype > BFLOAT16) return args.operandError(2);
  if (winner && winner.dtype != INT32) return args.operandError(3);
  const i64 n = input.dim[1], m = out.dim[1], inner = input.dim[2], taps = index.dim[1];
  withVectors(input, out, [&](auto in, auto to) {
    forRows(args, out, taps, [&](i64 r, i64 i) {
      const i32* from = (const i32*)index.data + i * taps;
      for (i64 c = 0; c < inner; c += W) {
        const i64 left = inner - c;
        vf best = splat(-__builtin_inff());
        vi first = splat(-1);
        for (i64 t = 0; t < taps; t++) {
          if (from[t] < 0 || from[t] >= n) continue;
          const vf x = in.get(r * input.stride[0] + from[t] * input.stride[1] + c, left);
          const vi beats = (first < vi{}) | (((x > best) | (x != x)) & (best == best));
          best = choose(beats, x, best);
          first = (beats & splat(from[t])) | (~beats & first);
        }
        to.put(r * out.stride[0] + i * out.stride[1] + c, best, left);
        if (winner) storeUpTo<F32>((float*)winner.data + (r * m + i) * inner + c, unbits(first), left);
      }
    });
  });
}

void maxPoolGrad(const Args& args) {
  const View &winner = args[0], &gradOut = args[1], &index = args[2], &gradIn = args[3];
  if (winner.dtype != INT32) return args.operandError(0);
  if (gradOut.dtype > BFLOAT16) return args.operandError(1);
  if (index.dtype != INT32) return args.operandError(2);
  if (gradIn.dtype > BFLOAT16) return args.operandError(3);
  const i64 m = gradOut.dim[1], inner = gradOut.dim[2], taps = index.dim[1];
  withVectors(gradOut, gradIn, [&](auto g, auto to) {
    forRows(args, gradIn, taps, [&](i64 r, i64 j) {
      const i32* from = (const i32*)index.data + j * taps;
      for (i64 c = 0; c < inner; c += W) {
        const i64 left = inner - c;
        vf total = {};
        for (i64 t = 0; t < taps; t++) {
          if (from[t] < 0 || from[t] >= m) continue;
          // Integers in vectors of floats: they are moved and compared as bits.
          const vi won = bits(loadUpTo<F32>((const float*)winner.data + (r * m + from[t]) * inner + c, left)) == splat((i32)j);
          total = total + choose(won, g.get(r * gradOut.stride[0] + from[t] * gradOut.stride[1] + c, left), vf{});
        }
        to.put(r * gradIn.stride[0] + j * gradIn.stride[1] + c, total, left);
      }
    });
  });
}

}  // namespace MK_ISA
