// Weighted sums and maxima over windows of one axis, which tables of indices describe, and the gradient of the maxima.
// A lane is an element of the inner axes; a task takes some rows of the result.
#include "../kernels.h"
#include "../vec.h"

namespace MK_ISA {

namespace {

/// Elements that a task reads at least.
constexpr i64 TASK = 16384;

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
  const i64 n = input.dim[1], inner = input.dim[2], taps = index.dim[1];
  forRows(args, out, taps, [&](i64 r, i64 i) {
    const i32* from = (const i32*)index.data + i * taps;
    const float* by = (const float*)weight.data + i * taps;
    const i64 first = r * input.stride[0], to = r * out.stride[0] + i * out.stride[1];
    i64 c = 0;
    for (; c + 4 * W <= inner; c += 4 * W) {
      vf total[4] = {};
      for (i64 t = 0; t < taps; t++) {
        if (from[t] < 0 || from[t] >= n) continue;
        const vf w = splat(by[t]);
        const i64 at = first + from[t] * input.stride[1] + c;
        for (int j = 0; j < 4; j++) total[j] = fma(w, loadAny(input, at + j * W, W), total[j]);
      }
      for (int j = 0; j < 4; j++) storeAny(out, to + c + j * W, total[j], W);
    }
    for (; c < inner; c += W) {
      vf total = {};
      for (i64 t = 0; t < taps; t++)
        if (from[t] >= 0 && from[t] < n)
          total = fma(splat(by[t]), loadAny(input, first + from[t] * input.stride[1] + c, inner - c), total);
      storeAny(out, to + c, total, inner - c);
    }
  });
}

void maxPool(const Args& args) {
  const View &input = args[0], &index = args[1], &out = args[2], &winner = args[3];
  if (input.dtype > BFLOAT16) return args.operandError(0);
  if (index.dtype != INT32) return args.operandError(1);
  if (out.dtype > BFLOAT16) return args.operandError(2);
  if (winner && winner.dtype != INT32) return args.operandError(3);
  const i64 n = input.dim[1], m = out.dim[1], inner = input.dim[2], taps = index.dim[1];
  forRows(args, out, taps, [&](i64 r, i64 i) {
    const i32* from = (const i32*)index.data + i * taps;
    for (i64 c = 0; c < inner; c += W) {
      const i64 left = inner - c;
      vf best = splat(-__builtin_inff());
      vi first = splat(-1);
      for (i64 t = 0; t < taps; t++) {
        if (from[t] < 0 || from[t] >= n) continue;
        const vf x = loadAny(input, r * input.stride[0] + from[t] * input.stride[1] + c, left);
        const vi beats = (first < vi{}) | (((x > best) | (x != x)) & (best == best));
        best = choose(beats, x, best);
        first = (beats & splat(from[t])) | (~beats & first);
      }
      storeAny(out, r * out.stride[0] + i * out.stride[1] + c, best, left);
      if (!winner) continue;
      i32* to = (i32*)winner.data + (r * m + i) * inner + c;
      for (i64 l = 0; l < least<i64>(W, left); l++) to[l] = first[l];
    }
  });
}

void maxPoolGrad(const Args& args) {
  const View &winner = args[0], &gradOut = args[1], &index = args[2], &gradIn = args[3];
  if (winner.dtype != INT32) return args.operandError(0);
  if (gradOut.dtype > BFLOAT16) return args.operandError(1);
  if (index.dtype != INT32) return args.operandError(2);
  if (gradIn.dtype > BFLOAT16) return args.operandError(3);
  const i64 m = gradOut.dim[1], inner = gradOut.dim[2], taps = index.dim[1];
  forRows(args, gradIn, taps, [&](i64 r, i64 j) {
    const i32* from = (const i32*)index.data + j * taps;
    for (i64 c = 0; c < inner; c += W) {
      const i64 left = inner - c;
      vf total = {};
      for (i64 t = 0; t < taps; t++) {
        if (from[t] < 0 || from[t] >= m) continue;
        const vi won = bits(loadUpTo<F32>((const float*)winner.data + (r * m + from[t]) * inner + c, left)) == splat((i32)j);
        total = total + choose(won, loadAny(gradOut, r * gradOut.stride[0] + from[t] * gradOut.stride[1] + c, left), vf{});
      }
      storeAny(gradIn, r * gradIn.stride[0] + j * gradIn.stride[1] + c, total, left);
    }
  });
}

}  // namespace MK_ISA
