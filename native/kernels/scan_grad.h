// The inner loops of the selective scan's gradient: for one vector of channels and a few states, the states of a chunk are
// computed again, then the gradient walks back through them.
#pragma once
#include "scan.h"

namespace MK_ISA {

namespace {

/// States in registers at once.
#if MK_LANES == 16 || defined(__aarch64__)
constexpr int GROUP = 8;
#else
constexpr int GROUP = 4;
#endif

/// Arrays of one vector of channels over a chunk, and the accumulators of one group of states.
struct Lanes {
  const float* spectrum;
  const float* start;
  /// (steps, N) floats or vectors, `stepB` and `stepC` floats from one step to the next.
  const float* B;
  const float* C;
  i64 stepB, stepC;
  const float *dt, *du, *dy;
  float *y, *throughInput, *throughDecay;
  float *h, *e;
  float *accB, *accC;
  float *g, *dA;
  i64 states;
  /// Steps of a window, and (window, GROUP) vectors of memory; 0 or 1 where there are none.
  i64 window;
  float* q;
};

/// Recomputes states [n, n + COUNT) over a run of steps, keeping h and e = exp(dt A) for the way back.
template <int COUNT, bool SHARED, bool LIMITED, bool OUTPUT>
void forward(const Lanes& k, i64 n, i64 begin, i64 end, const float* start) {
  vf a[COUNT], h[COUNT];
#pragma GCC unroll 8
  for (int j = 0; j < COUNT; j++) {
    a[j] = load(k.spectrum + (n + j) * W);
    h[j] = load(start + j * W);
  }
  constexpr i64 gap = SHARED ? 1 : W;
  for (i64 t = begin; t < end; t++) {
    const float* B = k.B + t * k.stepB + n * gap;
    const float* C = k.C + t * k.stepC + n * gap;
    const vf dt = load(k.dt + t * W);
    const vf du = load(k.du + t * W);
    vf y = OUTPUT ? load(k.y + t * W) : vf{};
#pragma GCC unroll 8
    for (int j = 0; j < COUNT; j++) {
      const vf e = decay<LIMITED>(dt * a[j]);
      h[j] = fma(e, h[j], du * (SHARED ? splat(B[j]) : load(B + j * W)));
      if (OUTPUT) y = fma(h[j], SHARED ? splat(C[j]) : load(C + j * W), y);
      store(k.e + (t * COUNT + j) * W, e);
      store(k.h + (t * COUNT + j) * W, h[j]);
    }
    if (OUTPUT) store(k.y + t * W, y);
  }
}

/// One step back for states [n, n + COUNT): `before` holds the states that the step started from.
template <int COUNT, bool SHARED>
inline void stepBack(const Lanes& k, i64 n, i64 t, const float* before, vf (&g)[COUNT], vf (&dA)[COUNT], const vf (&a)[COUNT]) {
  constexpr i64 gap = SHARED ? 1 : W;
  const float* B = k.B + t * k.stepB + n * gap;
  const float* C = k.C + t * k.stepC + n * gap;
  const vf dt = load(k.dt + t * W), du = load(k.du + t * W), dy = load(k.dy + t * W);
  vf throughInput = load(k.throughInput + t * W), throughDecay = load(k.throughDecay + t * W);
#pragma GCC unroll 8
  for (int j = 0; j < COUNT; j++) {
    const i64 local = (t * COUNT + j) * W;
    const vf h = load(k.h + local), e = load(k.e + local);
    g[j] = fma(dy, SHARED ? splat(C[j]) : load(C + j * W), g[j]);
    store(k.accC + local, fma(dy, h, load(k.accC + local)));
    store(k.accB + local, fma(g[j], du, load(k.accB + local)));
    throughInput = fma(g[j], SHARED ? splat(B[j]) : load(B + j * W), throughInput);
    g[j] = g[j] * e;
    const vf q = g[j] * load(before + j * W);
    throughDecay = fma(q, a[j], throughDecay);
    dA[j] = fma(q, dt, dA[j]);
  }
  store(k.throughInput + t * W, throughInput);
  store(k.throughDecay + t * W, throughDecay);
}

/// The way back over a run of steps; `gradStates`, where given, joins the gradient of each state.
template <int COUNT, bool SHARED>
void backward(const Lanes& k, i64 n, i64 begin, i64 end, const float* start, const float* gradStates) {
  vf g[COUNT], dA[COUNT], a[COUNT];
#pragma GCC unroll 8
  for (int j = 0; j < COUNT; j++) {
    g[j] = load(k.g + (n + j) * W);
    dA[j] = load(k.dA + (n + j) * W);
    a[j] = load(k.spectrum + (n + j) * W);
  }
  for (i64 t = end - 1; t >= begin; t--) {
    if (gradStates)
      for (int j = 0; j < COUNT; j++) g[j] = g[j] + load(gradStates + (t * k.states + n + j) * W);
    stepBack<COUNT, SHARED>(k, n, t, t > begin ? k.h + (t - 1) * COUNT * W : start, g, dA, a);
  }
#pragma GCC unroll 8
  for (int j = 0; j < COUNT; j++) {
    store(k.g + (n + j) * W, g[j]);
    store(k.dA + (n + j) * W, dA[j]);
  }
}

/// The way back by windows: the adjoint of the local recurrence first, forwards through a window, then both recurrences back.
template <int COUNT, bool SHARED, bool OUTPUT>
void backwardWindows(const Lanes& k, i64 n, i64 end, const float* start) {
  vf g[COUNT], dA[COUNT], a[COUNT];
#pragma GCC unroll 8
  for (int j = 0; j < COUNT; j++) {
    g[j] = load(k.g + (n + j) * W);
    dA[j] = load(k.dA + (n + j) * W);
    a[j] = load(k.spectrum + (n + j) * W);
  }
  constexpr i64 gap = SHARED ? 1 : W;
  for (i64 last = end - 1; last >= 0;) {
    const i64 first = last / k.window * k.window;
    vf local[COUNT] = {};
    for (i64 t = first; t < last; t++) {
      const float* C = k.C + t * k.stepC + n * gap;
      const vf dy = load(k.dy + t * W);
#pragma GCC unroll 8
      for (int j = 0; j < COUNT; j++) {
        store(k.q + ((t - first) * COUNT + j) * W, local[j]);
        local[j] = load(k.e + (t * COUNT + j) * W) * fma(dy, SHARED ? splat(C[j]) : load(C + j * W), local[j]);
      }
    }
#pragma GCC unroll 8
    for (int j = 0; j < COUNT; j++) store(k.q + ((last - first) * COUNT + j) * W, local[j]);
    // What the local recurrence brings from the step after.
    vf next[COUNT] = {};
    for (i64 t = last; t >= first; t--) {
      const float* B = k.B + t * k.stepB + n * gap;
      const float* C = k.C + t * k.stepC + n * gap;
      const float* before = t > 0 ? k.h + (t - 1) * COUNT * W : start;
      const vf dt = load(k.dt + t * W), du = load(k.du + t * W), dy = load(k.dy + t * W);
      vf throughInput = load(k.throughInput + t * W), throughDecay = load(k.throughDecay + t * W);
      vf y = OUTPUT ? load(k.y + t * W) : vf{};
#pragma GCC unroll 8
      for (int j = 0; j < COUNT; j++) {
        const i64 at = (t * COUNT + j) * W;
        const vf e = load(k.e + at), through = load(k.q + ((t - first) * COUNT + j) * W);
        const vf Bj = SHARED ? splat(B[j]) : load(B + j * W), Cj = SHARED ? splat(C[j]) : load(C + j * W);
        const vf r = e * next[j];
        if (OUTPUT) y = fma(r, Cj, y);
        const vf own = dy * Cj;
        g[j] = g[j] + own;
        const vf driven = g[j] + through;
        store(k.accC + at, fma(dy, load(k.h + at) + r, load(k.accC + at)));
        store(k.accB + at, fma(driven, du, load(k.accB + at)));
        throughInput = fma(driven, Bj, throughInput);
        g[j] = g[j] * e;
        const vf q = fma(g[j], load(before + j * W), (own + through) * r);
        throughDecay = fma(q, a[j], throughDecay);
        dA[j] = fma(q, dt, dA[j]);
        next[j] = fma(du, Bj, r);
      }
      if (OUTPUT) store(k.y + t * W, y);
      store(k.throughInput + t * W, throughInput);
      store(k.throughDecay + t * W, throughDecay);
    }
    last = first - 1;
  }
#pragma GCC unroll 8
  for (int j = 0; j < COUNT; j++) {
    store(k.g + (n + j) * W, g[j]);
    store(k.dA + (n + j) * W, dA[j]);
  }
}

template <int COUNT, bool SHARED>
void group(const Lanes& k, i64 n, bool limited, bool output, const i64* runs, i64 runCount, const float* gradStates) {
  static constexpr float zeros[COUNT * W] = {};
  for (i64 r = 0; r < runCount; r++) {
    const float* start = r == 0 ? k.start + n * W : zeros;
    const i64 begin = runs[r], end = runs[r + 1];
    if (begin == end) continue;
    if (output) {
      if (limited) forward<COUNT, SHARED, true, true>(k, n, begin, end, start);
      else forward<COUNT, SHARED, false, true>(k, n, begin, end, start);
    } else {
      if (limited) forward<COUNT, SHARED, true, false>(k, n, begin, end, start);
      else forward<COUNT, SHARED, false, false>(k, n, begin, end, start);
    }
  }
  if (k.window > 1) {
    // Windows know no new sequences: there is one run.
    if (output) backwardWindows<COUNT, SHARED, true>(k, n, runs[1], k.start + n * W);
    else backwardWindows<COUNT, SHARED, false>(k, n, runs[1], k.start + n * W);
    return;
  }
  for (i64 r = runCount - 1; r >= 0; r--) {
    backward<COUNT, SHARED>(k, n, runs[r], runs[r + 1], r == 0 ? k.start + n * W : zeros, gradStates);
    // What came before a new sequence has no part in it.
    if (r > 0)
      for (int j = 0; j < COUNT; j++) store(k.g + (n + j) * W, vf{});
  }
}

template <bool SHARED>
void groupOf(int count, const Lanes& k, i64 n, bool limited, bool output, const i64* runs, i64 runCount,
             const float* gradStates) {
  if (count == GROUP) return group<GROUP, SHARED>(k, n, limited, output, runs, runCount, gradStates);
  if constexpr (GROUP > 4)
    if (count == 4) return group<4, SHARED>(k, n, limited, output, runs, runCount, gradStates);
  if (count == 2) return group<2, SHARED>(k, n, limited, output, runs, runCount, gradStates);
  group<1, SHARED>(k, n, limited, output, runs, runCount, gradStates);
}

}  // namespace

}  // namespace MK_ISA
