// Counter-based random numbers (Philox4x32-10 of Salmon et al., 2011) and dropout. Every element's number depends on its
// position alone. Nothing here may fuse a multiply with an add: uniforms are bit-equal on all backends.
#if defined(__clang__)
#pragma clang fp contract(off)
#else
#pragma GCC optimize("fp-contract=off")
#endif
#include "../kernels.h"
#include "functions.h"
#include "strided.h"

namespace MK_ISA {

namespace {

typedef u64 vlong __attribute__((vector_size(W * 8)));

struct Generator {
  u32 key[2];
  u64 stream;
  u64 offset;
};

Generator generatorOf(const View& step, double seed, double stream, double offset) {
  const u64 bits = (u64)seed;
  const i64 added = step ? *(const i32*)step.data : 0;
  return {{(u32)bits, (u32)(bits >> 32)}, (u64)((i64)stream + added), (u64)offset};
}

void multiply(vu a, u32 b, vu& high, vu& low) {
  const vlong product = __builtin_convertvector(a, vlong) * (u64)b;
  high = __builtin_convertvector(product >> 32, vu);
  low = a * b;
}

/// Words of elements [first, first + 4 W), word j of element block i in word[j][i]. `first` is a multiple of 4.
void draw(const Generator& g, i64 first, vu (&word)[4]) {
  vu low, high;
  for (int i = 0; i < W; i++) {
    const u64 counter = g.offset + (u64)(first / 4 + i);
    low[i] = (u32)counter;
    high[i] = (u32)(counter >> 32);
  }
  word[0] = low;
  word[1] = high;
  word[2] = (u32)g.stream - vu{};
  word[3] = (u32)(g.stream >> 32) - vu{};
  u32 k0 = g.key[0], k1 = g.key[1];
  for (int round = 0; round < 10; round++) {
    vu high0, low0, high1, low1;
    multiply(word[0], 0xd2511f53u, high0, low0);
    multiply(word[2], 0xcd9e8d57u, high1, low1);
    word[0] = high1 ^ word[1] ^ k0;
    word[1] = low1;
    word[2] = high0 ^ word[3] ^ k1;
    word[3] = low0;
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
}

/// Calls element(i, word) for i in [0, n), the numbers of elements first + i; values come four blocks a vector.
template <class T, class Make>
void fillFrom(const Generator& g, i64 first, i64 n, T* out, Make&& make) {
  for (i64 at = first / 4 * 4; at < first + n; at += 4 * W) {
    vu word[4];
    draw(g, at, word);
    T value[4][W];
    make(word, value);
    const i64 begin = most<i64>(at, first), end = least(at + 4 * W, first + n);
    for (i64 i = begin; i < end; i++) out[i - first] = value[(i - at) % 4][(i - at) / 4];
  }
}

/// Multiples of 2^-24 in [0, 1).
vf fraction(vu word) { return __builtin_convertvector((vi)(word >> 8), vf) * 0x1p-24f; }

void uniforms(const Generator& g, i64 first, i64 n, float* out) {
  fillFrom(g, first, n, out, [](const vu(&word)[4], float(&value)[4][W]) {
    for (int j = 0; j < 4; j++) store(value[j], fraction(word[j]));
  });
}

/// Box-Muller pairs of words (0, 1) and (2, 3).
void normals(const Generator& g, i64 first, i64 n, float* out) {
  fillFrom(g, first, n, out, [](const vu(&word)[4], float(&value)[4][W]) {
    for (int j = 0; j < 4; j += 2) {
      const vf radius = sqrt(-2.0f * log(fraction(word[j]) + 0x1p-24f));
      // The angle in quarter turns: its whole and its fractional part are exact.
      const vf turns = fraction(word[j + 1]) * 4.0f;
      const vi quadrant = __builtin_convertvector(turns + 0.5f, vi);
      const vf rest = (turns - __builtin_convertvector(quadrant, vf)) * 1.57079632679489662f;
      vf sine, cosine;
      sincosReduced(rest, quadrant & 3, sine, cosine);
      store(value[j], radius * cosine);
      store(value[j + 1], radius * sine);
    }
  });
}

void integers(const Generator& g, i64 first, i64 n, i64 low, u64 extent, i32* out) {
  fillFrom(g, first, n, out, [&](const vu(&word)[4], i32(&value)[4][W]) {
    for (int j = 0; j < 4; j++)
      for (int i = 0; i < W; i++) value[j][i] = (i32)(low + (i64)((word[j][i] * extent) >> 32));
  });
}

}  // namespace

void random(const Args& args) {
  const View &step = args[0], &out = args[1];
  enum { UNIFORM, NORMAL, INTEGER };
  const int distribution = (int)args.number[0];
  const double alpha = args.number[1], beta = args.number[2];
  const Generator g = generatorOf(step, args.number[3], args.number[4], args.number[5]);
  if (distribution == INTEGER && out.dtype != INT32) return args.operandError(1);
  args.ranges(out.count(), TASK_ELEMENTS, [&](i64 begin, i64 end, i32) {
    if (distribution == INTEGER)
      return integers(g, begin, end - begin, (i64)alpha, (u64)(beta - alpha), (i32*)out.data + begin);
    float buffer[BLOCK];
    for (i64 first = begin; first < end; first += BLOCK) {
      const i64 n = least(BLOCK, end - first);
      char* const to = out.data + first * elementBytes(out.dtype);
      float* const x = target(to, out.dtype, 1, buffer);
      if (distribution == UNIFORM) uniforms(g, first, n, x);
      else normals(g, first, n, x);
      const float shift = (float)alpha;
      const float scale = distribution == UNIFORM ? (float)beta - shift : (float)beta;
      map(x, x, n, [&](vf u) { return shift + scale * u; });
      unstage(to, out.dtype, 1, n, x);
    }
  });
}

void dropout(const Args& args) {
  const View &input = args[0], &step = args[1], &out = args[2];
  const float p = (float)args.number[0];
  const float scale = (float)(1.0 / (1.0 - args.number[0]));
  const Generator g = generatorOf(step, args.number[1], args.number[2], args.number[3]);
  Strided<2>({&input, &out}).forRuns(args, [&](const Run<2>& run, i32) {
    float buffers[3][BLOCK];
    for (i64 i = 0; i < run.count; i += BLOCK) {
      const i64 n = least(BLOCK, run.count - i);
      char* const to = run.at(1, i);
      const float* const x = stage(run.at(0, i), run.dtype[0], run.stride[0], n, buffers[0]);
      float* const y = target(to, run.dtype[1], run.stride[1], buffers[1]);
      uniforms(g, run.first + i, n, buffers[2]);
      zip(x, buffers[2], y, n, [&](vf x, vf u) { return choose(u >= splat(p), x * scale, zero()); });
      unstage(to, run.dtype[1], run.stride[1], n, y);
    }
  });
}

}  // namespace MK_ISA
