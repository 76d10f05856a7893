// What the selective scan and its gradient share: operands by name, and a chunk of time steps of one vector of channels
// laid out for the inner loops (step sizes, inputs and maps in the order the steps run).
// The directions of a path are scans of their own, over their own channels of the operands.
// Letters: B batch, L length, D channels, N states, G groups, K directions; T steps of a block, W lanes.
#pragma once
#include "../vec.h"

namespace MK_ISA {

constexpr float LOG2E = 1.44269504088896341f;
/// Steps that the inner loops take at a time; their scratch stays in the first-level cache.
constexpr i64 BLOCK = 32;

/// Elements [first, first + count) of one axis.
static inline View narrowed(const View& v, int axis, i64 first, i64 count) {
  View part = v;
  if (v) part.data += first * v.stride[axis] * (v.dtype == FLOAT32 || v.dtype == INT32 ? 4 : 2);
  part.dim[axis] = count;
  return part;
}
/// The channels of direction k where each has `own` of them; all where the directions share them.
static inline View channelsOf(const View& v, int axis, i64 k, i64 own) {
  return v.dim[axis] == own ? v : narrowed(v, axis, k * own, own);
}

/// Operands that both kernels have, in whatever positions.
struct ScanOperands {
  View u, delta, A, B, C, D, z, deltaBias, resets, path;
  bool softplus, reverse, byStep;
  i64 window, directions;
  /// Steps of a direction, channels of one, and positions of the map they run over.
  i64 batch, length, channels, states, positions;

  /// The place of a step in its path.
  i64 placeOf(i64 step) const { return reverse ? length - 1 - step : step; }
  /// Where a step finds u, z and resets, and puts its output.
  i64 position(i64 step) const {
    const i64 i = placeOf(step);
    return path ? ((const i32*)path.data)[i * path.stride[0]] : i;
  }
  /// Where a step finds delta, B and C.
  i64 row(i64 step) const { return byStep ? placeOf(step) : position(step); }
  bool startsAt(i64 b, i64 p) const {
    return resets && ((const u8*)resets.data)[b * resets.stride[0] + p * resets.stride[1]] != 0;
  }

  /// Direction k alone.
  ScanOperands along(i64 k) const {
    ScanOperands o = *this;
    o.directions = 1;
    o.u = channelsOf(u, 2, k, channels);
    o.delta = channelsOf(delta, 2, k, channels);
    o.z = channelsOf(z, 2, k, channels);
    o.A = narrowed(A, 0, k * channels, channels);
    o.D = narrowed(D, 0, k * channels, channels);
    o.deltaBias = narrowed(deltaBias, 0, k * channels, channels);
    o.B = mapAlong(B, k);
    o.C = mapAlong(C, k);
    if (path.rank == 2) {
      o.path = narrowed(path, 0, k, 1);
      o.path.stride[0] = path.stride[1];
    }
    return o;
  }
  /// B, C or their gradient, as direction k sees it.
  View mapAlong(const View& v, i64 k) const {
    if (v.rank == 2) return narrowed(v, 0, k * channels, channels);
    if (v.dim[2] == 1) return v;
    const i64 own = v.dim[2] / directions;
    return narrowed(v, 2, k * own, own);
  }
  /// True if every place of every path is a position; else the kernel's error is set.
  bool pathsInRange(const Args& args) const {
    for (i64 k = 0; path && k < directions; k++) {
      const ScanOperands o = along(k);
      for (i64 t = 0; t < length; t++) {
        const i64 p = o.position(t);
        if (p >= 0 && p < positions) continue;
        args.indexError(p, positions);
        return false;
      }
    }
    return true;
  }
  /// True if every position is visited once, by one of several directions, whose paths are in range.
  bool sharePositionsOut(const Args& args, int slot) const {
    if (directions == 1 || directions * length != positions) return false;
    u8* const visited = args.shared<u8>(slot, positions);
    for (i64 p = 0; p < positions; p++) visited[p] = 0;
    for (i64 k = 0; k < directions; k++) {
      const ScanOperands o = along(k);
      for (i64 t = 0; t < length; t++)
        if (visited[o.position(t)]++) return false;
    }
    return true;
  }
};

/// Both kernels begin with u, delta, A, B, C, D, z and deltaBias; resets and path stand where they say.
static inline ScanOperands scanOperands(const Args& args, int resets, int path) {
  ScanOperands o;
  o.u = args[0];
  o.delta = args[1];
  o.A = args[2];
  o.B = args[3];
  o.C = args[4];
  o.D = args[5];
  o.z = args[6];
  o.deltaBias = args[7];
  o.resets = args[resets];
  o.path = args[path];
  o.softplus = args.number[0] != 0;
  o.reverse = args.number[1] != 0;
  o.window = (i64)args.number[3];
  o.byStep = args.number[4] != 0;
  o.directions = o.path && o.path.rank == 2 ? o.path.dim[0] : 1;
  o.batch = o.u.dim[0];
  o.positions = o.u.dim[1];
  o.length = o.path ? o.path.dim[o.path.rank - 1] : o.positions;
  o.channels = o.A.dim[0] / o.directions;
  o.states = o.A.dim[1];
  return o;
}

/// A float32 operand that directions add to and that lies in another dtype is summed in memory of its own and rounded once.
class Summed {
 public:
  Summed(const Args& args, int slot, const View& v, bool summed) : target(v), view(v) {
    if (!v || !summed || v.dtype == FLOAT32) return;
    view.data = (char*)args.shared<float>(slot, v.count());
    view.dtype = FLOAT32;
    view.stride[2] = 1;
    view.stride[1] = v.dim[2];
    view.stride[0] = v.dim[1] * v.dim[2];
  }
  const View& operator*() const { return view; }
  void round(const Args& args) const {
    if (view.data == target.data) return;
    const i64 rows = target.dim[1], channels = target.dim[2];
    args.ranges(target.dim[0] * rows, 16, [&](i64 begin, i64 end, i32) {
      for (i64 i = begin; i < end; i++)
        for (i64 c = 0; c < channels; c += W)
          storeAny(target, i / rows * target.stride[0] + i % rows * target.stride[1] + c,
                   loadUpTo<F32>((const float*)view.data + i * channels + c, channels - c), channels - c);
    });
  }

 private:
  View target, view;
};

/// Sets channels [first, last) of sequence b to 0 at every position.
static inline void zeroRows(const View& v, i64 b, i64 first, i64 last) {
  for (i64 p = 0; p < v.dim[1]; p++)
    for (i64 d = first; d < last; d += W) storeAny(v, b * v.stride[0] + p * v.stride[1] + d, vf{}, last - d);
}

/// Some channels of each row of a (B, L, D) operand, of which `count` are there. `WHOLE` ones are float32
/// and as many as vectors hold.
template <bool WHOLE>
class Line {
 public:
  Line(const View& v, i64 b, i64 d, i64 count) : v(v), base(b * v.stride[0] + d), gap(v.stride[1]), count(count) {}
  vf read(i64 p, i64 lane) const {
    const i64 at = base + p * gap + lane;
    return WHOLE ? load((const float*)v.data + at) : loadAny(v, at, count - lane);
  }
  void write(i64 p, i64 lane, vf x) const {
    const i64 at = base + p * gap + lane;
    if (WHOLE) store((float*)v.data + at, x);
    else storeAny(v, at, x, count - lane);
  }

 private:
  const View v;
  const i64 base, gap, count;
};

#ifdef __wasm__
constexpr bool PREFETCHES = false;
#else
constexpr bool PREFETCHES = true;
#endif
/// Cache lines to ask for while a pass runs: `each` at every step.
struct Asked {
  const char* const* lines;
  i64 each;
};

/// Column n of rows [d, d + lanes) of a (D, N) operand, as a vector over channels.
static inline vf columnAt(const View& v, i64 d, i64 lanes, i64 n) {
  vf x = {};
  for (i64 l = 0; l < lanes; l++) x[l] = elementAt(v, (d + l) * v.stride[0] + n * v.stride[1]);
  return x;
}

/// B or C. `fixed` maps are the same at every step, one row a channel; others have a row for each step and group.
struct Map {
  const View* view;
  bool fixed;
  i64 groups;
  i64 group(i64 d, i64 channels) const { return d * groups / channels; }
  /// True if channels [d, d + count) share one row.
  bool shared(i64 d, i64 count, i64 channels) const {
    return !fixed && group(d, channels) == group(d + count - 1, channels);
  }
  i64 row(i64 b, i64 p, i64 g) const { return b * view->stride[0] + p * view->stride[1] + g * view->stride[2]; }
};

static inline Map mapOf(const View& v) {
  return {&v, v.rank == 2, v.rank == 2 ? 0 : v.dim[2]};
}

/// The widest block of channels up to `width`, whole vectors, of which none straddles groups of B or C; `width` itself where
/// there is no such block.
static inline i64 withinGroups(const ScanOperands& o, i64 width) {
  const Map B = mapOf(o.B), C = mapOf(o.C);
  if (B.fixed || C.fixed) return width;
  for (i64 w = width; w >= W; w -= W) {
    const auto fits = [&](const Map& m) { return m.groups == 1 || (o.channels % m.groups == 0 && o.channels / m.groups % w == 0); };
    if (fits(B) && fits(C)) return w;
  }
  return width;
}

/// Fills `to` (steps, N) floats with the shared rows of a block.
static inline void sharedRows(const Map& m, const ScanOperands& o, i64 b, i64 g, i64 step, i64 steps, float* to) {
  const i64 N = o.states, gap = m.view->stride[3];
  for (i64 t = 0; t < steps; t++, to += N) {
    const i64 at = m.row(b, o.row(step + t), g);
    i64 n = 0;
    if (gap == 1)
      for (; n + W <= N; n += W) store(to + n, loadAny(*m.view, at + n, W));
    for (; n < N; n++) to[n] = elementAt(*m.view, at + n * gap);
  }
}
/// Fills `to` with each lane's own row: (steps, N) vectors, of a fixed map only the first step's.
static inline void laneRows(const Map& m, const ScanOperands& o, i64 b, i64 d, i64 lanes, i64 step, i64 steps, float* to) {
  if (m.fixed) {
    for (i64 n = 0; n < o.states; n++) store(to + n * W, columnAt(*m.view, d, lanes, n));
    return;
  }
  for (i64 t = 0; t < steps; t++) {
    const i64 p = o.row(step + t);
    for (i64 n = 0; n < o.states; n++) {
      vf x = {};
      for (i64 l = 0; l < lanes; l++)
        x[l] = elementAt(*m.view, m.row(b, p, m.group(d + l, o.channels)) + n * m.view->stride[3]);
      store(to + (t * o.states + n) * W, x);
    }
  }
}

/// A (D, N) of one vector of channels, times log2(e), as N vectors. Returns the largest magnitude of each lane.
static inline vf loadSpectrum(const View& A, i64 d, i64 lanes, i64 states, float* to) {
  vf largest = {};
  for (i64 n = 0; n < states; n++) {
    const vf x = columnAt(A, d, lanes, n) * LOG2E;
    // The exponential below keeps a NaN only where it has no payload.
    const vf a = choose(x != x, splat(__builtin_nanf("")), x);
    largest = choose(vabs(a) > largest, vabs(a), largest);
    store(to + n * W, a);
  }
  return largest;
}

/// The spectra of all channels, of which every sequence of a batch makes use: for each direction and vector of channels N
/// vectors, and one of their largest magnitudes. Tasks of a single sequence fill in their own.
class Spectra {
 public:
  Spectra(const Args& args, int slot, const ScanOperands& o)
      : A(o.A), own(o.channels), blocks((o.channels + W - 1) / W), states(o.states), perTask(o.batch == 1) {
    data = args.shared<float>(slot, o.directions * blocks * (states + 1) * W);
    if (perTask) return;
    args.ranges(o.directions * blocks, 8, [&](i64 begin, i64 end, i32) {
      for (i64 i = begin; i < end; i++) fill(i / blocks, i % blocks);
    });
  }
  const float* of(i64 k, i64 block) const { return data + (k * blocks + block) * (states + 1) * W; }
  vf largest(i64 k, i64 block) const { return load(of(k, block) + states * W); }
  /// Called by a task for the vectors [first, last) of direction k before it uses them.
  void prepare(i64 k, i64 first, i64 last) const {
    for (i64 block = first; perTask && block < last; block++) fill(k, block);
  }

 private:
  const View A;
  const i64 own, blocks, states;
  const bool perTask;
  float* data;
  void fill(i64 k, i64 block) const {
    float* to = data + (k * blocks + block) * (states + 1) * W;
    store(to + states * W, loadSpectrum(A, k * own + block * W, least<i64>(W, own - block * W), states, to));
  }
};

#if MK_LANES == 16 && defined(__AVX512DQ__)
/// The bits of 2^(i/32), less the i that the shifted exponent brings along.
alignas(64) static constexpr u32 powers[32] = {
    0x3f800000, 0x3f7ecd87, 0x3f7daac3, 0x3f7c980f, 0x3f7b95c2, 0x3f7aa43a, 0x3f79c3d3, 0x3f78f4f0, 0x3f7837f0, 0x3f778d3a, 0x3f76f532,
    0x3f767043, 0x3f75fed7, 0x3f75a15b, 0x3f75583f, 0x3f7523f6, 0x3f7504f3, 0x3f74fbaf, 0x3f7508a4, 0x3f752c4d, 0x3f75672a, 0x3f75b9be,
    0x3f76248c, 0x3f76a81e, 0x3f7744fd, 0x3f77fbb8, 0x3f78ccdf, 0x3f79b907, 0x3f7ac0c7, 0x3f7be4ba, 0x3f7d257d, 0x3f7e83b3};
/// 2^x for x in [-126, 128): exactly 1 at 0, elsewhere within 2e-7. Two registers hold the powers of 2^(1/32), so that what
/// is left of x is small and two terms of its series do, where exp2InRange takes five.
static inline vf exp2Short(vf x) {
  // Keeps a product rounded: fused into the sum below, its multiple of 1/32 could be another than that of the reduction.
  asm("" : "+v"(x));
  const vf shifted = x + 393216.0f;  // 1.5 * 2^18: rounds to multiples of 1/32
  vf f, power = shifted;
  asm("vreduceps $0x50, %1, %0" : "=v"(f) : "v"(x));  // x less its nearest multiple of 1/32
  asm("vpermi2ps %2, %1, %0" : "+v"(power) : "v"(load((const float*)powers)), "v"(load((const float*)powers + 16)));
  const vf p = fma(fma(f, splat(2.40230744e-1f), splat(6.93157381e-1f)), f, splat(1.0f));
  return (vf)((vu)power + ((vu)shifted << 18)) * p;
}
#else
static inline vf exp2Short(vf x) { return exp2InRange(x); }
#endif
/// 2^x, x limited to its range.
static inline vf exp2ShortBounded(vf x) { return exp2Short(atMost(atLeast(x, -126.0f), 127.99f)); }

/// 2^x; without limits where x is known to lie in [-126, 126].
template <bool LIMITED>
static inline vf decay(vf x) {
  return LIMITED ? exp2ShortBounded(x) : exp2Short(x);
}
/// True if dt a needs limits for some |dt| up to `steepest` and |a| up to `largest`.
static inline bool needsLimits(vf steepest, vf largest) { return any(~(vi)(steepest * largest <= splat(126.0f))); }

/// log(1 + e^x) for less than the general function: to float precision where the result is more than 1e-37. `small` becomes
/// e^-|x|. Several vectors at once, since their chains of additions hide each other.
template <int K>
static inline void softplusEach(vf (&x)[K], vf (&small)[K]) {
  // log(1 + e) / e on [0, 1], within 3e-8.
  constexpr float coefficients[] = {-2.950517883e-2f, 7.822585215e-2f,  -1.366323702e-1f, 1.910600239e-1f,
                                    -2.484298098e-1f, 3.331909663e-1f, -4.999949313e-1f, 9.999999699e-1f};
  vf p[K];
  for (int i = 0; i < K; i++) {
    small[i] = exp2Short(atLeast(vabs(x[i]) * -LOG2E, -126.0f));
    p[i] = splat(5.232679477e-3f);
  }
#pragma GCC unroll 8
  for (int k = 0; k < 8; k++)
    for (int i = 0; i < K; i++) p[i] = fma(p[i], small[i], splat(coefficients[k]));
  for (int i = 0; i < K; i++) x[i] = fma(p[i], small[i], atLeast(x[i], 0.0f));
}
/// The same with its derivative.
template <int K>
static inline void softplusWithSlope(vf (&x)[K], vf (&slope)[K]) {
  vi below[K];
  for (int i = 0; i < K; i++) below[i] = (vi)(x[i] < vf{});
  softplusEach(x, slope);
  for (int i = 0; i < K; i++) slope[i] = choose(below[i], slope[i], splat(1.0f)) / (1.0f + slope[i]);
}
/// z sigmoid(z).
static inline vf gate(vf z) { return z / (1.0f + exp2ShortBounded(z * -LOG2E)); }

/// Neighbouring lanes of a, then of b, added in pairs.
static inline vf addPairs(vf a, vf b) {
#ifdef __clang__
#if MK_LANES == 4
  return __builtin_shufflevector(a, b, 0, 2, 4, 6) + __builtin_shufflevector(a, b, 1, 3, 5, 7);
#elif MK_LANES == 8
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14) + __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
#else
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30) +
         __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
#endif
#else
  vi even;
  for (int i = 0; i < W; i++) even[i] = 2 * i;
  return __builtin_shuffle(a, b, even) + __builtin_shuffle(a, b, even + 1);
#endif
}

/// to[i] = sum of the lanes of vector i of `from`, in a fixed order.
static inline void sumEach(const float* from, i64 count, float* to) {
  i64 i = 0;
  for (; i + W <= count; i += W) {
    vf x[W];
#pragma GCC unroll 16
    for (int j = 0; j < W; j++) x[j] = load(from + (i + j) * W);
#pragma GCC unroll 4
    for (int width = W; width > 1; width /= 2)
#pragma GCC unroll 8
      for (int j = 0; j < width / 2; j++) x[j] = addPairs(x[2 * j], x[2 * j + 1]);
    store(to + i, x[0]);
  }
  for (; i < count; i++) to[i] = sum(load(from + i * W));
}

}  // namespace MK_ISA
