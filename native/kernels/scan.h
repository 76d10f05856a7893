// What the selective scan and its gradient share: operands by name, and a chunk of time steps of one vector of channels
// laid out for the inner loops (step sizes, inputs and maps in the order the steps run).
// Letters: B batch, L length, D channels, N states, G groups; T steps of a block, W lanes.
#pragma once
#include "../vec.h"

namespace MK_ISA {

constexpr float LOG2E = 1.44269504088896341f;
/// Steps that the inner loops take at a time; their scratch stays in the first-level cache.
constexpr i64 BLOCK = 64;

/// Operands that both kernels have, in whatever positions.
struct ScanOperands {
  View u, delta, A, B, C, D, z, deltaBias, resets, path;
  bool softplus, reverse;
  i64 batch, length, channels, states;

  /// Position of a step in the sequence.
  i64 position(i64 step) const {
    const i64 i = reverse ? length - 1 - step : step;
    return path ? ((const i32*)path.data)[i * path.stride[0]] : i;
  }
  bool startsAt(i64 b, i64 p) const {
    return resets && ((const u8*)resets.data)[b * resets.stride[0] + p * resets.stride[1]] != 0;
  }
};

/// W channels of a (B, L, D) operand at one position.
static inline vf channelsAt(const View& v, i64 b, i64 p, i64 d, i64 lanes) {
  return loadAny(v, b * v.stride[0] + p * v.stride[1] + d, lanes);
}
static inline void putChannels(const View& v, i64 b, i64 p, i64 d, i64 lanes, vf x) {
  storeAny(v, b * v.stride[0] + p * v.stride[1] + d, x, lanes);
}
/// The same at a known row offset; PLAIN is float32 and a whole vector.
template <bool PLAIN>
static inline vf lanesAt(const View& v, i64 at, i64 lanes) {
  return PLAIN ? load((const float*)v.data + at) : loadAny(v, at, lanes);
}
template <bool PLAIN>
static inline void putLanes(const View& v, i64 at, i64 lanes, vf x) {
  if (PLAIN) store((float*)v.data + at, x);
  else storeAny(v, at, x, lanes);
}

/// Column n of rows [d, d + lanes) of a (D, N) operand, as a vector over channels.
static inline vf columnAt(const View& v, i64 d, i64 lanes, i64 n) {
  vf x = {};
  for (i64 l = 0; l < lanes; l++) x[l] = elementAt(v, (d + l) * v.stride[0] + n * v.stride[1]);
  return x;
}

/// B or C for the steps of a block: `values` holds, for each step and state, either one float that all lanes share or a
/// vector (where the map is fixed in time, or the lanes lie in different groups).
struct Map {
  const View* view;
  bool fixed;
  i64 groups;
  i64 group(i64 d, i64 channels) const { return d * groups / channels; }
  /// True if lanes [d, d + lanes) share one row.
  bool shared(i64 d, i64 lanes, i64 channels) const {
    return !fixed && group(d, channels) == group(d + lanes - 1, channels);
  }
  i64 row(i64 b, i64 p, i64 g) const { return b * view->stride[0] + p * view->stride[1] + g * view->stride[2]; }
};

static inline Map mapOf(const View& v) {
  return {&v, v.rank == 2, v.rank == 2 ? 0 : v.dim[2]};
}

/// Fills `to` (steps, N) floats with the shared rows of a block.
static inline void sharedRows(const Map& m, const ScanOperands& o, i64 b, i64 g, i64 step, i64 steps, float* to) {
  const View& v = *m.view;
  for (i64 t = 0; t < steps; t++) {
    const i64 at = m.row(b, o.position(step + t), g);
    float* row = to + t * o.states;
    if (v.dtype == FLOAT32 && v.stride[3] == 1)
      for (i64 n = 0; n < o.states; n++) row[n] = ((const float*)v.data)[at + n];
    else
      for (i64 n = 0; n < o.states; n++) row[n] = elementAt(v, at + n * v.stride[3]);
  }
}
/// Fills `to` (steps, N) vectors with each lane's own row.
static inline void laneRows(const Map& m, const ScanOperands& o, i64 b, i64 d, i64 lanes, i64 step, i64 steps, float* to) {
  for (i64 t = 0; t < steps; t++)
    for (i64 n = 0; n < o.states; n++) {
      vf x = {};
      if (m.fixed) {
        x = columnAt(*m.view, d, lanes, n);
      } else {
        const i64 p = o.position(step + t);
        for (i64 l = 0; l < lanes; l++)
          x[l] = elementAt(*m.view, m.row(b, p, m.group(d + l, o.channels)) + n * m.view->stride[3]);
      }
      store(to + (t * o.states + n) * W, x);
    }
}

/// A (D, N) of one vector of channels, times log2(e), as N vectors. Returns true if some entry is positive.
static inline bool loadSpectrum(const View& A, i64 d, i64 lanes, i64 states, float* to) {
  vi positive = {};
  for (i64 n = 0; n < states; n++) {
    const vf a = columnAt(A, d, lanes, n) * LOG2E;
    positive |= (vi)(a > vf{});
    store(to + n * W, a);
  }
  return any(positive);
}

/// 2^x; where x is never positive the upper limit is left out.
template <bool NEVER_POSITIVE>
static inline vf decay(vf x) {
  return NEVER_POSITIVE ? exp2InRange(atLeast(x, -126.0f)) : exp2Bounded(x);
}

}  // namespace MK_ISA
