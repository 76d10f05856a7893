// Rotary position embedding. Frequencies and angles are doubles, so that far positions turn as exactly as near ones; sine
// and cosine of a position are shared by its heads.
#include "../kernels.h"
#include "../vec.h"

namespace MK_ISA {

namespace {

union DoubleBits {
  double value;
  u64 bits;
};

/// Natural logarithm of a positive normal number.
double logOf(double x) {
  DoubleBits b;
  b.value = x;
  const u64 shifted = b.bits - 0x3fe6a09e667f3bcdull;  // so that the mantissa lies in [sqrt(1/2), sqrt(2))
  const double exponent = (double)((i64)shifted >> 52);
  b.bits = (shifted & 0xfffffffffffffull) + 0x3fe6a09e667f3bcdull;
  const double z = (b.value - 1.0) / (b.value + 1.0), square = z * z;
  double series = 0;
  for (int n = 12; n >= 0; n--) series = series * square + 1.0 / (2 * n + 1);
  return exponent * 0.69314718055994530942 + 2.0 * z * series;
}

/// e^x for |x| < 700.
double expOf(double x) {
  const double n = (x * 1.44269504088896340736 + 6755399441055744.0) - 6755399441055744.0;
  const double f = x - n * 0.69314718055994530942;
  double series = 1;
  for (int k = 14; k > 0; k--) series = 1.0 + series * f / k;
  DoubleBits power;
  power.bits = (u64)((i64)n + 1023) << 52;
  return series * power.value;
}

/// Sine and cosine of position * frequency[i], i < n. All three arrays have room for whole vectors.
void turnsAt(double position, const double* frequency, i64 n, float* sine, float* cosine) {
  for (i64 i = 0; i < n; i += W) {
    vd angle;
    for (int l = 0; l < W; l++) angle[l] = position * frequency[i + l];
    const vd quarters = (angle * 0.63661977236758134308 + 6755399441055744.0) - 6755399441055744.0;
    const vf rest = __builtin_convertvector(angle - quarters * 1.57079632679489661923, vf);
    const vd whole = (quarters * 0.25 + 6755399441055744.0) - 6755399441055744.0;
    vf s, c;
    sincosReduced(rest, __builtin_convertvector(quarters - 4.0 * whole, vi) & 3, s, c);
    store(sine + i, s);
    store(cosine + i, c);
  }
}

}  // namespace

void rotary(const Args& args) {
  const View &input = args[0], &positions = args[1], &out = args[2];
  for (int i = 0; i < 3; i += 2)
    if (args[i].dtype > BFLOAT16) return args.operandError(i);
  const i64 length = input.dim[1], heads = input.dim[2], width = input.dim[3];
  const i64 pairs = (i64)args.number[1] / 2;
  const bool interleaved = args.number[2] != 0;
  const double direction = args.number[3] != 0 ? -1 : 1;
  const i64 space = (pairs + W - 1) / W * W;
  double* const frequency = args.shared<double>(0, space);
  const double rate = logOf(args.number[0]) / (double)most<i64>(1, pairs);
  for (i64 i = 0; i < space; i++) frequency[i] = direction * expOf(-rate * (double)i);
  const i64 firstStep = interleaved ? 2 : 1, partner = interleaved ? 1 : pairs;
  args.ranges(input.dim[0] * length, most<i64>(1, 16384 / most<i64>(1, heads * width)), [&](i64 begin, i64 end, i32 thread) {
    float* const sine = args.scratch<float>(thread, 0, 2 * space);
    float* const cosine = sine + space;
    float* const row = args.scratch<float>(thread, 1, width + W);
    for (i64 at = begin; at < end; at++) {
      const i64 b = at / length, t = at % length;
      const i64 position = positions ? ((const i32*)positions.data)[b * positions.stride[0] + t * positions.stride[1]] : t;
      turnsAt((double)position, frequency, pairs, sine, cosine);
      for (i64 h = 0; h < heads; h++) {
        const i64 from = b * input.stride[0] + t * input.stride[1] + h * input.stride[2];
        const i64 to = b * out.stride[0] + t * out.stride[1] + h * out.stride[2];
        for (i64 p = 0; p < width; p += W) store(row + p, loadAny(input, from + p, width - p));
        for (i64 i = 0; i < pairs; i++) {
          float* const first = row + i * firstStep;
          const float x = first[0], y = first[partner];
          first[0] = x * cosine[i] - y * sine[i];
          first[partner] = x * sine[i] + y * cosine[i];
        }
        for (i64 p = 0; p < width; p += W) storeAny(out, to + p, load(row + p), width - p);
      }
    }
  });
}

}  // namespace MK_ISA
