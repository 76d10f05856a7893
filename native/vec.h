// Vectors of MK_LANES floats by compiler vector types, loads and stores of every float dtype, and the elementary
// functions, accurate to a few units in the last place. NaN in gives NaN out.
#pragma once
#include "kernel.h"

namespace MK_ISA {

constexpr int W = MK_LANES;

typedef float vf __attribute__((vector_size(W * 4)));
typedef i32 vi __attribute__((vector_size(W * 4)));
typedef u32 vu __attribute__((vector_size(W * 4)));
typedef double vd __attribute__((vector_size(W * 8)));
typedef u16 vh __attribute__((vector_size(W * 2)));
typedef float vfUnaligned __attribute__((vector_size(W * 4), aligned(1), may_alias));
typedef u16 vhUnaligned __attribute__((vector_size(W * 2), aligned(1), may_alias));

#if defined(__clang__) || __GNUC__ >= 12
#define MK_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define MK_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (vi){__VA_ARGS__})
#endif

static inline vf splat(float x) { return x - vf{}; }
static inline vi splat(i32 x) { return x - vi{}; }
static inline vf load(const float* p) { return *(const vfUnaligned*)p; }
static inline void store(float* p, vf x) { *(vfUnaligned*)p = x; }
static inline vi bits(vf x) { return (vi)x; }
static inline vf unbits(vi x) { return (vf)x; }
static inline vf choose(vi mask, vf a, vf b) { return mask ? a : b; }
/// Lane i holds i.
static inline vi lanes() {
  vi n = {};
  for (int i = 0; i < W; i++) n[i] = i;
  return n;
}
/// The first n lanes of x, 0 in the rest; n may be more than W.
static inline vf firstLanes(vf x, i64 n) { return choose(lanes() < splat((i32)least<i64>(n, W)), x, vf{}); }
#ifdef __wasm__
// By instructions of a fixed meaning: the compiler makes a relaxed minimum, which may lose NaN, of a comparison.
static inline vf atLeast(vf x, vf bound) { return (vf)__builtin_wasm_pmax_f32x4(x, bound); }
static inline vf atMost(vf x, vf bound) { return (vf)__builtin_wasm_pmin_f32x4(x, bound); }
#elif defined(__AVX__)
// One instruction, which gives its second operand where either is NaN; compilers make a comparison and a blend of the
// expressions below.
static inline vf atLeast(vf x, vf bound) {
  vf r;
  asm("vmaxps %2, %1, %0" : "=v"(r) : "v"(bound), "v"(x));
  return r;
}
static inline vf atMost(vf x, vf bound) {
  vf r;
  asm("vminps %2, %1, %0" : "=v"(r) : "v"(bound), "v"(x));
  return r;
}
#else
static inline vf atLeast(vf x, vf bound) { return x < bound ? bound : x; }
static inline vf atMost(vf x, vf bound) { return x > bound ? bound : x; }
#endif
/// The larger of x and a bound; NaN in x stays.
static inline vf atLeast(vf x, float bound) { return atLeast(x, splat(bound)); }
static inline vf atMost(vf x, float bound) { return atMost(x, splat(bound)); }
static inline vf vabs(vf x) { return unbits(bits(x) & 0x7fffffff); }

/// a * b + c, fused where the instruction set fuses.
static inline vf fma(vf a, vf b, vf c) {
#ifdef MK_RELAXED_SIMD
  return (vf)__builtin_wasm_relaxed_madd_f32x4(a, b, c);
#else
  return a * b + c;
#endif
}

/// Sum of the lanes in a fixed tree order.
static inline float sum(vf x) {
#if MK_LANES == 16
  x = x + MK_SHUFFLE(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  x = x + MK_SHUFFLE(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
  x = x + MK_SHUFFLE(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
#elif MK_LANES == 8
  x = x + MK_SHUFFLE(x, x, 4, 5, 6, 7, 0, 1, 2, 3);
  x = x + MK_SHUFFLE(x, x, 2, 3, 0, 1, 6, 7, 4, 5);
#else
  x = x + MK_SHUFFLE(x, x, 2, 3, 0, 1);
#endif
  return x[0] + x[1];
}
/// Largest lane; NaN if any lane is NaN.
static inline float maximum(vf x) {
  float m = x[0];
  for (int i = 1; i < W; i++) m = (x[i] > m || x[i] != x[i]) ? x[i] : m;
  return m;
}

// ---- storage types: how an element lies in memory, and how it becomes a float ----

struct F32 {
  typedef float T;
  static vf load(const T* p) { return MK_ISA::load(p); }
  static void store(T* p, vf x) { MK_ISA::store(p, x); }
  static float get(T x) { return x; }
  static T put(float x) { return x; }
};

// GCC converts between 16 and 32 bits by halves, where the processor has one instruction.
#if defined(__GNUC__) && !defined(__clang__) && MK_LANES == 8 && defined(__F16C__)
typedef short vshort __attribute__((vector_size(W * 2)));
static inline vu widened(vh x) { return (vu)__builtin_ia32_pmovzxwd256((vshort)x); }
static inline vf fromHalf(vh x) { return (vf)__builtin_ia32_vcvtph2ps256((vshort)x); }
static inline vh toHalf(vf x) { return (vh)__builtin_ia32_vcvtps2ph256(x, 0); }
#define MK_HALF_INSTRUCTIONS
#elif defined(__GNUC__) && !defined(__clang__) && MK_LANES == 16 && defined(__AVX512F__)
typedef short vshort __attribute__((vector_size(W * 2)));
static inline vu widened(vh x) { return (vu)__builtin_ia32_pmovzxwd512_mask((vshort)x, vi{}, 0xffff); }
static inline vf fromHalf(vh x) { return (vf)__builtin_ia32_vcvtph2ps512_mask((vshort)x, vf{}, 0xffff, 4); }
static inline vh toHalf(vf x) { return (vh)__builtin_ia32_vcvtps2ph512_mask(x, 0, vshort{}, 0xffff); }
#define MK_HALF_INSTRUCTIONS
#else
static inline vu widened(vh x) { return __builtin_convertvector(x, vu); }
#endif

struct BF16 {
  typedef u16 T;
  static vf load(const T* p) { return (vf)(widened(*(const vhUnaligned*)p) << 16); }
  /// Rounds to nearest even; NaN stays NaN.
  static vu round(vf x) {
    const vu b = (vu)x;
    const vu rounded = (b + 0x7fff + ((b >> 16) & 1)) >> 16;
    const vu quiet = (b >> 16) | 0x40;
    const vu nan = (vu)(x != x);
    return (nan & quiet) | (~nan & rounded);
  }
  static void store(T* p, vf x) { *(vhUnaligned*)p = __builtin_convertvector(round(x), vh); }
  static float get(T x) { return load1(x); }
  static T put(float x) { return (T)round(splat(x))[0]; }
  static float load1(T x) {
    union { u32 u; float f; } c;
    c.u = (u32)x << 16;
    return c.f;
  }
};

struct F16 {
  typedef u16 T;
  /// Exponent and mantissa are moved up and rescaled by 2^112, which also makes subnormals right; 65536 and above are
  /// infinity and NaN.
  static vf widen(vu h) {
    const vu magnitude = (h & 0x7fff) << 13;
    const vf scaled = (vf)magnitude * 0x1p112f;
    const vu special = (vu)((vi)(scaled >= splat(65536.0f)));
    const vu sign = (h & 0x8000) << 16;
    return (vf)((vu)scaled | (special & 0x7f800000) | sign);
  }
  /// Rounds to nearest even; overflow gives infinity, NaN stays NaN.
  static vu narrow(vf x) {
    const vu b = (vu)x;
    const vu sign = (b >> 16) & 0x8000;
    const vu magnitude = b & 0x7fffffff;
    // Normal results: add the rounding bias to the bits, then rebias the exponent.
    const vu normal = (magnitude + 0xfff + ((magnitude >> 13) & 1) - (112u << 23)) >> 13;
    // Subnormal results: adding 0.5 lets the float adder round at the right bit.
    const vu subnormal = (vu)((vf)magnitude + 0.5f) - 0x3f000000;
    const vu small = (vu)((vi)magnitude < splat((i32)(113u << 23)));
    const vu large = (vu)((vi)magnitude >= splat((i32)0x477ff000));
    const vu nan = (vu)(x != x);
    vu r = (small & subnormal) | (~small & normal);
    r = (large & 0x7c00) | (~large & r);
    r = (nan & 0x7e00) | (~nan & r);
    return r | sign;
  }
#ifdef MK_HALF_INSTRUCTIONS
  static vf load(const T* p) { return fromHalf(*(const vhUnaligned*)p); }
  static void store(T* p, vf x) { *(vhUnaligned*)p = toHalf(x); }
#else
  static vf load(const T* p) { return widen(widened(*(const vhUnaligned*)p)); }
  static void store(T* p, vf x) { *(vhUnaligned*)p = __builtin_convertvector(narrow(x), vh); }
#endif
  static float get(T x) { return widen((vu)splat((i32)x))[0]; }
  static T put(float x) { return (T)narrow(splat(x))[0]; }
};

/// The first `n` < W elements, the rest 0.
template <class S>
static inline vf loadPart(const typename S::T* p, i64 n) {
  typename S::T lane[W] = {};
  for (i64 i = 0; i < n; i++) lane[i] = p[i];
  return S::load(lane);
}
template <class S>
static inline void storePart(typename S::T* p, vf x, i64 n) {
  typename S::T lane[W];
  S::store(lane, x);
  for (i64 i = 0; i < n; i++) p[i] = lane[i];
}
// Where the processor loads and stores the lanes of a mask, floats need no detour.
#if defined(__GNUC__) && !defined(__clang__) && MK_LANES == 16 && defined(__AVX512F__)
template <>
inline vf loadPart<F32>(const float* p, i64 n) {
  return __builtin_ia32_loadups512_mask(p, vf{}, (u16)((1u << n) - 1));
}
template <>
inline void storePart<F32>(float* p, vf x, i64 n) {
  __builtin_ia32_storeups512_mask(p, x, (u16)((1u << n) - 1));
}
#elif defined(__GNUC__) && !defined(__clang__) && MK_LANES == 8 && defined(__AVX2__)
template <>
inline vf loadPart<F32>(const float* p, i64 n) {
  return __builtin_ia32_maskloadps256((const vf*)p, lanes() < splat((i32)n));
}
template <>
inline void storePart<F32>(float* p, vf x, i64 n) {
  __builtin_ia32_maskstoreps256((vf*)p, lanes() < splat((i32)n), x);
}
#endif

template <class S>
static inline vf loadUpTo(const typename S::T* p, i64 n) { return n >= W ? S::load(p) : loadPart<S>(p, n); }
template <class S>
static inline void storeUpTo(typename S::T* p, vf x, i64 n) {
  if (n >= W) S::store(p, x);
  else storePart<S>(p, x, n);
}

/// Calls body with the storage type of a float dtype; false if it is none.
template <class Body>
static inline bool withFloat(i32 dtype, Body&& body) {
  switch (dtype) {
    case FLOAT32: body(F32{}); return true;
    case FLOAT16: body(F16{}); return true;
    case BFLOAT16: body(BF16{}); return true;
    default: return false;
  }
}

/// A vector of up to n elements of a float operand from element `at` on, whatever its storage.
static inline vf loadAny(const View& v, i64 at, i64 n) {
  if (v.dtype == FLOAT32) return loadUpTo<F32>((const float*)v.data + at, n);
  return v.dtype == FLOAT16 ? loadUpTo<F16>((const u16*)v.data + at, n) : loadUpTo<BF16>((const u16*)v.data + at, n);
}
static inline void storeAny(const View& v, i64 at, vf x, i64 n) {
  if (v.dtype == FLOAT32) storeUpTo<F32>((float*)v.data + at, x, n);
  else if (v.dtype == FLOAT16) storeUpTo<F16>((u16*)v.data + at, x, n);
  else storeUpTo<BF16>((u16*)v.data + at, x, n);
}
static inline float elementAt(const View& v, i64 at) {
  if (v.dtype == FLOAT32) return ((const float*)v.data)[at];
  return v.dtype == FLOAT16 ? F16::get(((const u16*)v.data)[at]) : BF16::get(((const u16*)v.data)[at]);
}

// ---- elementary functions ----

/// Any lane set.
static inline bool any(vi mask) {
  i32 r = 0;
  for (int i = 0; i < W; i++) r |= mask[i];
  return r != 0;
}

/// 2^x for x in [-126, 128); about 1 ulp.
static inline vf exp2InRange(vf x) {
  const vf shifted = x + 12582912.0f;  // 1.5 * 2^23: rounds to an integer in the low mantissa bits
  const vf f = x - (shifted - 12582912.0f);
  // Exactly 1 at 0, so that a decay of almost nothing does not drift over many steps; elsewhere within 1e-7.
  vf p = fma(f, splat(1.32647284e-3f), splat(9.67151305e-3f));
  p = fma(p, f, splat(5.55073374e-2f));
  p = fma(p, f, splat(2.40222421e-1f));
  p = fma(p, f, splat(6.93146978e-1f));
  p = fma(p, f, splat(1.0f));
  // Unsigned, since lanes that a kernel masks out afterwards may lie outside the range.
  return (vf)((vu)p + ((vu)shifted << 23));
}
/// 2^x, x limited to that range.
static inline vf exp2Bounded(vf x) { return exp2InRange(atMost(atLeast(x, -126.0f), 127.99f)); }

static inline vf exp(vf x) {
  const vf bounded = atMost(atLeast(x, -104.0f), 89.0f);
  const vf shifted = fma(bounded, splat(1.44269504f), splat(12582912.0f));
  const vf n = shifted - 12582912.0f;
  vf f = fma(n, splat(-0.693359375f), bounded);
  f = fma(n, splat(2.12194440e-4f), f);
  vf p = fma(f, splat(1.9875691500e-4f), splat(1.3981999507e-3f));
  p = fma(p, f, splat(8.3334519073e-3f));
  p = fma(p, f, splat(4.1665795894e-2f));
  p = fma(p, f, splat(1.6666665459e-1f));
  p = fma(p, f, splat(5.0000001201e-1f));
  p = fma(p, f * f, f + 1.0f);
  // Two factors, so that results near the ends of the range neither overflow early nor lose subnormals.
  const vi exponent = bits(shifted) - 0x4b400000;
  const vi half = exponent >> 1;
  const vf r = p * unbits((half + 127) << 23) * unbits((exponent - half + 127) << 23);
  return choose(x != x, x, r);
}

static inline vf log(vf x) {
  const vi tiny = x < splat(1.17549435e-38f);
  const vf scaled = choose(tiny, x * 8388608.0f, x);
  const vi b = bits(scaled) - 0x3f3504f3;  // so that the mantissa lies in [sqrt(1/2), sqrt(2))
  vf e = __builtin_convertvector(b >> 23, vf);
  e = choose(tiny, e - 23.0f, e);
  const vf m = unbits((b & 0x7fffff) + 0x3f3504f3) - 1.0f;
  vf p = fma(m, splat(7.0376836292e-2f), splat(-1.1514610310e-1f));
  p = fma(p, m, splat(1.1676998740e-1f));
  p = fma(p, m, splat(-1.2420140846e-1f));
  p = fma(p, m, splat(1.4249322787e-1f));
  p = fma(p, m, splat(-1.6668057665e-1f));
  p = fma(p, m, splat(2.0000714765e-1f));
  p = fma(p, m, splat(-2.4999993993e-1f));
  p = fma(p, m, splat(3.3333331174e-1f));
  const vf m2 = m * m;
  vf r = p * m * m2;
  r = fma(e, splat(-2.12194440e-4f), r);
  r = fma(m2, splat(-0.5f), r);
  r = r + m;
  r = fma(e, splat(0.693359375f), r);
  r = choose(x == splat(0.0f), splat(-__builtin_inff()), r);
  r = choose(x == splat(__builtin_inff()), x, r);
  return choose((x < splat(0.0f)) | (x != x), splat(__builtin_nanf("")), r);
}

static inline vf log1p(vf x) {
  const vf u = x + 1.0f;
  const vf d = u - 1.0f;
  const vf r = log(u) * (x / d);
  return choose((d == splat(0.0f)) | (u == splat(__builtin_inff())), x, r);
}

static inline vf expm1(vf x) {
  vf p = splat(2.4801587e-5f);
  p = fma(p, x, splat(1.9841270e-4f));
  p = fma(p, x, splat(1.3888889e-3f));
  p = fma(p, x, splat(8.3333333e-3f));
  p = fma(p, x, splat(4.1666668e-2f));
  p = fma(p, x, splat(1.6666667e-1f));
  p = fma(p, x, splat(0.5f));
  const vf near = fma(p, x * x, x);
  return choose(vabs(x) < splat(0.5f), near, exp(x) - 1.0f);
}

// Functions of K vectors at once: each step is done for all of them before the next, so that K chains of dependent
// operations run side by side.
#define MK_EACH _Pragma("GCC unroll 8") for (int j = 0; j < K; j++)

/// e^x for x <= 0; below -87 it is about 1e-38.
template <int K>
static inline void expNegative(vf (&x)[K]) {
  vf shifted[K], f[K], p[K];
  MK_EACH x[j] = atLeast(x[j], -87.0f);
  MK_EACH shifted[j] = fma(x[j], splat(1.44269504f), splat(12582912.0f));
  MK_EACH f[j] = fma(shifted[j] - 12582912.0f, splat(-0.693359375f), x[j]);
  MK_EACH f[j] = fma(shifted[j] - 12582912.0f, splat(2.12194440e-4f), f[j]);
  MK_EACH p[j] = fma(f[j], splat(1.9875691500e-4f), splat(1.3981999507e-3f));
  MK_EACH p[j] = fma(p[j], f[j], splat(8.3334519073e-3f));
  MK_EACH p[j] = fma(p[j], f[j], splat(4.1665795894e-2f));
  MK_EACH p[j] = fma(p[j], f[j], splat(1.6666665459e-1f));
  MK_EACH p[j] = fma(p[j], f[j], splat(5.0000001201e-1f));
  MK_EACH p[j] = fma(p[j], f[j] * f[j], f[j] + 1.0f);
  MK_EACH x[j] = unbits(bits(p[j]) + (bits(shifted[j]) << 23));
}

/// Right in both tails.
template <int K>
static inline void sigmoid(vf (&x)[K]) {
  vf e[K];
  MK_EACH e[j] = -vabs(x[j]);
  expNegative(e);
  MK_EACH {
    const vf r = 1.0f / (1.0f + e[j]);
    x[j] = choose(x[j] < vf{}, e[j] * r, r);
  }
}
static inline vf sigmoid(vf x) {
  vf one[1] = {x};
  sigmoid(one);
  return one[0];
}

static inline vf tanh(vf x) {
  const vf a = vabs(x);
  const vf s = x * x;
  vf p = fma(s, splat(-5.70498872745e-3f), splat(2.06390887954e-2f));
  p = fma(p, s, splat(-5.37397155531e-2f));
  p = fma(p, s, splat(1.33314422036e-1f));
  p = fma(p, s, splat(-3.33332819422e-1f));
  const vf near = fma(p, s * x, x);
  const vf far = 1.0f - 2.0f / (exp(a + a) + 1.0f);
  const vf signedFar = unbits(bits(far) | (bits(x) & (i32)0x80000000));
  return choose(a < splat(0.625f), near, signedFar);
}

/// log(1 + x) for x in [0, 1].
template <int K>
static inline void log1pUnit(vf (&x)[K]) {
  vf lost[K], m[K], p[K];
  vi upper[K];
  // What the sum 1 + x lost, divided by it; a linear reciprocal is enough for a last digit.
  MK_EACH lost[j] = (x[j] - ((x[j] + 1.0f) - 1.0f)) * (1.0f - 0.5f * x[j]);
  MK_EACH upper[j] = (vi)(x[j] > splat(0.41421356f));
  MK_EACH m[j] = choose(upper[j], 0.5f * x[j] - 0.5f, (x[j] + 1.0f) - 1.0f);
  MK_EACH p[j] = fma(m[j], splat(7.0376836292e-2f), splat(-1.1514610310e-1f));
  MK_EACH p[j] = fma(p[j], m[j], splat(1.1676998740e-1f));
  MK_EACH p[j] = fma(p[j], m[j], splat(-1.2420140846e-1f));
  MK_EACH p[j] = fma(p[j], m[j], splat(1.4249322787e-1f));
  MK_EACH p[j] = fma(p[j], m[j], splat(-1.6668057665e-1f));
  MK_EACH p[j] = fma(p[j], m[j], splat(2.0000714765e-1f));
  MK_EACH p[j] = fma(p[j], m[j], splat(-2.4999993993e-1f));
  MK_EACH p[j] = fma(p[j], m[j], splat(3.3333331174e-1f));
  MK_EACH p[j] = fma(p[j] * m[j], m[j] * m[j], fma(m[j] * m[j], splat(-0.5f), m[j]));
  MK_EACH x[j] = p[j] + choose(upper[j], splat(0.69314718f), lost[j]);
}

/// log(1 + e^x); above 20 that is x itself (as PyTorch has it) in this precision.
template <int K>
static inline void softplus(vf (&x)[K]) {
  vf e[K];
  MK_EACH e[j] = -vabs(x[j]);
  expNegative(e);
  log1pUnit(e);
  MK_EACH x[j] = atLeast(x[j], 0.0f) + e[j];
}
static inline vf softplus(vf x) {
  vf one[1] = {x};
  softplus(one);
  return one[0];
}

/// erf for |x| < 1.
static inline vf erfNear(vf x) {
  const vf s = x * x;
  vf p = fma(s, splat(7.853861353153693e-5f), splat(-8.010193625184903e-4f));
  p = fma(p, s, splat(5.188327685732524e-3f));
  p = fma(p, s, splat(-2.685381193529856e-2f));
  p = fma(p, s, splat(1.128358514861418e-1f));
  p = fma(p, s, splat(-3.761262582423300e-1f));
  p = fma(p, s, splat(1.128379165726710f));
  return p * x;
}
/// 1 - erf(a) for a >= 1, without cancellation.
static inline vf erfcFar(vf a) {
  const vf q = 1.0f / atLeast(a, 1.0f);
  const vf y = q * q;
  vf c = fma(y, splat(2.326819970068386e-2f), splat(-1.387039388740657e-1f));
  c = fma(c, y, splat(3.687424674597105e-1f));
  c = fma(c, y, splat(-5.824733027278666e-1f));
  c = fma(c, y, splat(6.210004621745983e-1f));
  c = fma(c, y, splat(-4.944515323274145e-1f));
  c = fma(c, y, splat(3.404879937665872e-1f));
  c = fma(c, y, splat(-2.741127028184656e-1f));
  c = fma(c, y, splat(5.638259427472472e-1f));
  vf r = fma(y, splat(-1.047766399936249e1f), splat(1.297719955372516e1f));
  r = fma(r, y, splat(-7.495518717768503f));
  r = fma(r, y, splat(2.921019019210786f));
  r = fma(r, y, splat(-1.015265279202700f));
  r = fma(r, y, splat(4.218463358204948e-1f));
  r = fma(r, y, splat(-2.820767439740514e-1f));
  r = fma(r, y, splat(5.641895067754075e-1f));
  return exp(-a * a) * q * choose(a < splat(2.0f), c, r);
}
static inline vf withSignOf(vf x, vf magnitude) { return unbits(bits(magnitude) | (bits(x) & (i32)0x80000000)); }

static inline vf erf(vf x) {
  const vf a = vabs(x);
  return choose(a < splat(1.0f), erfNear(x), withSignOf(x, 1.0f - erfcFar(a)));
}

/// sin and cos of f + quadrant * pi / 2, |f| <= pi / 4.
static inline void sincosReduced(vf f, vi quadrant, vf& sine, vf& cosine) {
  const vf s = f * f;
  vf p = fma(s, splat(-1.9515295891e-4f), splat(8.3321608736e-3f));
  p = fma(p, s, splat(-1.6666654611e-1f));
  const vf sn = fma(p, s * f, f);
  vf c = fma(s, splat(2.443315711809948e-5f), splat(-1.388731625493765e-3f));
  c = fma(c, s, splat(4.166664568298827e-2f));
  c = fma(c, s * s, fma(s, splat(-0.5f), splat(1.0f)));
  const vi swap = (quadrant & 1) != 0;
  const vi negSin = (quadrant & 2) << 30;
  const vi negCos = ((quadrant + 1) & 2) << 30;
  sine = unbits(bits(choose(swap, c, sn)) ^ negSin);
  cosine = unbits(bits(choose(swap, sn, c)) ^ negCos);
}

/// sin and cos of x (radians), reduced in double precision; accurate for |x| up to about 1e8.
static inline void sincos(vf x, vf& sine, vf& cosine) {
  const vd wide = __builtin_convertvector(x, vd);
  const vd turns = wide * 0.63661977236758134308;
  const vd rounded = (turns + 6755399441055744.0) - 6755399441055744.0;
  const vf f = __builtin_convertvector(wide - rounded * 1.57079632679489661923, vf);
  const vi quadrant = __builtin_convertvector(rounded - 4.0 * ((rounded * 0.25 + 6755399441055744.0) - 6755399441055744.0), vi) & 3;
  sincosReduced(f, quadrant, sine, cosine);
}

/// x^y with the signs and special cases of C's powf; relative error grows as |y log x| * 6e-8.
static inline vf pow(vf x, vf y) {
  const vf magnitude = vabs(x);
  vf r = exp(y * log(magnitude));
  const vf whole = (y + 12582912.0f) - 12582912.0f;
  const vi odd = (vi)(vabs(y) < splat(4194304.0f)) & (vi)((bits(whole + 12582912.0f) & 1) == 1);
  const vi negative = x < splat(0.0f);
  r = choose(negative & odd, -r, r);
  r = choose(negative & (whole != y), splat(__builtin_nanf("")), r);
  return choose(y == splat(0.0f), splat(1.0f), r);
}

}  // namespace MK_ISA
