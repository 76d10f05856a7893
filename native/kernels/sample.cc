// Draws of an index from a row of logits: the largest few, the nucleus, and the draw itself.
#include "../kernels.h"
#include "rows.h"

namespace MK_ISA {

namespace {

/// Integers in the order of the floats.
u32 keyOf(float x) {
  u32 bits;
  __builtin_memcpy(&bits, &x, 4);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

/// Zeroes the weights but of the largest logits whose masses reach `wanted`; of equal logits the first are kept.
/// The border is found by its bits, eight at a time.
template <class Mass>
void keepLargest(const float* x, float* w, i64 n, double wanted, Mass&& mass) {
  u32 border = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    double sums[256] = {};
    for (i64 i = 0; i < n; i++) {
      const u32 key = keyOf(x[i]);
      if (w[i] > 0 && (shift == 24 || key >> (shift + 8) == border >> (shift + 8))) sums[(key >> shift) & 255] += mass(w[i]);
    }
    int digit = 255;
    for (; digit > 0 && sums[digit] < wanted; digit--) wanted -= sums[digit];
    border |= (u32)digit << shift;
  }
  for (i64 i = 0; i < n; i++) {
    const u32 key = keyOf(x[i]);
    if (key > border || w[i] == 0) continue;
    if (key == border && wanted > 0) wanted -= mass(w[i]);
    else w[i] = 0;
  }
}

}  // namespace

void sample(const Args& args) {
  const View &logits = args[0], &uniform = args[1], &out = args[2];
  if (uniform.dtype != FLOAT32) return args.operandError(1);
  if (out.dtype != INT32) return args.operandError(2);
  const float coldness = (float)(1 / args.number[0]);
  const double topK = args.number[1], topP = args.number[2];
  const float minP = (float)args.number[3];
  const i64 n = logits.dim[1];
  forRows(args, logits.dim[0], n, [&](i64 r, i32 thread) {
    float* const buffer = args.scratch<float>(thread, 0, 2 * paddedRow(n));
    float* const w = buffer + paddedRow(n);
    const float* const x = stage(rowOf(logits, r), logits.dtype, logits.stride[1], n, buffer);
    const float largest = rowMaximum(x, n);
    map(x, w, n, [&](vf v) { return exp((v - largest) * coldness); });
    if (topK > 0 && topK < (double)n) keepLargest(x, w, n, topK, [](float) { return 1.0; });
    double total = 0;
    for (i64 i = 0; i < n; i++) total += w[i];
    if (topP < 1) keepLargest(x, w, n, topP * total, [](float weight) { return (double)weight; });
    total = 0;
    for (i64 i = 0; i < n; i++) {
      if (w[i] < minP) w[i] = 0;
      total += w[i];
    }
    double left = ((const float*)uniform.data)[r * uniform.stride[0]] * total;
    i32 drawn = 0;
    for (i64 i = 0; i < n; i++) {
      if (w[i] == 0) continue;
      drawn = (i32)i;
      if ((left -= w[i]) <= 0) break;
    }
    ((i32*)out.data)[r * out.stride[0]] = drawn;
  });
}

}  // namespace MK_ISA
