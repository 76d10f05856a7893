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

/// The cache lines that a task will write, and those that the next will read, asked for a few at every step of the passes
/// over registers, so that memory works while they compute.
class LinesAhead {
 public:
  /// `memory` has room for what a pass of `mostSteps` asks for: see space().
  LinesAhead(i64 passes, i64 mostSteps, const char** memory) : passes(passes * mostSteps), lineAt(memory) {}
  static i64 space(i64 mostSteps) { return mostSteps * MOST * LINES + LINES; }

  /// Rows of `v`, as many as steps, channels [first, first + count) of sequence b.
  void add(const View& v, i64 b, i64 first, i64 count, const i64* rows, i64 steps) {
    const i64 size = v.dtype == FLOAT32 ? 4 : 2;
    streams[used++] = {v.data + (b * v.stride[0] + first) * size, v.stride[1] * size, rows, steps, (count * size + 63) / 64};
    total += steps * streams[used - 1].lines;
    longest = most(longest, steps);
  }

  /// What a pass of `steps` steps asks for.
  Asked during(i64 steps) {
    const i64 each = (total + passes - 1) / passes;
    if (!PREFETCHES || row == longest || each == 0) return {nullptr, 0};
    i64 count = 0;
    while (count < each * steps && row < longest) {
      const Stream& s = streams[stream];
      const char* const at = row < s.steps ? s.base + s.rows[row] * s.gap : nullptr;
      for (i64 line = 0; at && line < s.lines; line++) lineAt[count++] = at + line * 64;
      if (++stream == used) {
        stream = 0;
        row++;
      }
    }
    if (count == 0) return {nullptr, 0};
    for (; count < each * steps; count++) lineAt[count] = lineAt[0];
    return {lineAt, each};
  }

 private:
  struct Stream {
    const char* base;
    i64 gap;
    const i64* rows;
    i64 steps, lines;
  };
  /// Operands, and the most lines of a row.
  static constexpr i64 MOST = 7, LINES = 4;
  Stream streams[MOST];
  i64 passes, used = 0, total = 0, longest = 0, row = 0, stream = 0;
  const char** lineAt;
};

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
  LinesAhead* ahead;
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
  Asked asked = k.ahead->during(end - begin);
  for (i64 t = begin; t < end; t++) {
    for (i64 i = 0; i < asked.each; i++) __builtin_prefetch(*asked.lines++);
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

/// A product added to a sum over vectors of channels; where the vector is the FIRST there is nothing to add to.
template <bool FIRST>
inline vf summed(vf a, vf b, const float* sum) {
  return FIRST ? a * b : fma(a, b, load(sum));
}

/// The way back over a run of steps; `gradStates`, where given, joins the gradient of each state.
template <int COUNT, bool SHARED, bool FIRST>
void backward(const Lanes& k, i64 n, i64 begin, i64 end, const float* start, const float* gradStates) {
  if (begin == end) return;
  vf g[COUNT], dA[COUNT], a[COUNT], h[COUNT];
#pragma GCC unroll 8
  for (int j = 0; j < COUNT; j++) {
    g[j] = load(k.g + (n + j) * W);
    dA[j] = load(k.dA + (n + j) * W);
    a[j] = load(k.spectrum + (n + j) * W);
    h[j] = load(k.h + ((end - 1) * COUNT + j) * W);
  }
  constexpr i64 gap = SHARED ? 1 : W;
  Asked asked = k.ahead->during(end - begin);
  for (i64 t = end - 1; t >= begin; t--) {
    for (i64 i = 0; i < asked.each; i++) __builtin_prefetch(*asked.lines++);
    if (gradStates)
      for (int j = 0; j < COUNT; j++) g[j] = g[j] + load(gradStates + (t * k.states + n + j) * W);
    const float* before = t > begin ? k.h + (t - 1) * COUNT * W : start;
    const float* B = k.B + t * k.stepB + n * gap;
    const float* C = k.C + t * k.stepC + n * gap;
    const vf dt = load(k.dt + t * W), du = load(k.du + t * W), dy = load(k.dy + t * W);
    vf throughInput = load(k.throughInput + t * W), throughDecay = load(k.throughDecay + t * W);
#pragma GCC unroll 8
    for (int j = 0; j < COUNT; j++) {
      const i64 at = (t * COUNT + j) * W;
      g[j] = fma(dy, SHARED ? splat(C[j]) : load(C + j * W), g[j]);
      store(k.accC + at, summed<FIRST>(dy, h[j], k.accC + at));
      store(k.accB + at, summed<FIRST>(g[j], du, k.accB + at));
      throughInput = fma(g[j], SHARED ? splat(B[j]) : load(B + j * W), throughInput);
      g[j] = g[j] * load(k.e + at);
      h[j] = load(before + j * W);
      const vf q = g[j] * h[j];
      throughDecay = fma(q, a[j], throughDecay);
      dA[j] = fma(q, dt, dA[j]);
    }
    store(k.throughInput + t * W, throughInput);
    store(k.throughDecay + t * W, throughDecay);
  }
#pragma GCC unroll 8
  for (int j = 0; j < COUNT; j++) {
    store(k.g + (n + j) * W, g[j]);
    store(k.dA + (n + j) * W, dA[j]);
  }
}

/// The way back by windows: the adjoint of the local recurrence first, forwards through a window, then both recurrences back.
template <int COUNT, bool SHARED, bool OUTPUT, bool FIRST>
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
        store(k.accC + at, summed<FIRST>(dy, load(k.h + at) + r, k.accC + at));
        store(k.accB + at, summed<FIRST>(driven, du, k.accB + at));
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

template <int COUNT, bool SHARED, bool OUTPUT, bool FIRST>
void group(const Lanes& k, i64 n, bool limited, const i64* runs, i64 runCount, const float* gradStates) {
  static constexpr float zeros[COUNT * W] = {};
  for (i64 r = 0; r < runCount; r++) {
    const float* start = r == 0 ? k.start + n * W : zeros;
    if (limited) forward<COUNT, SHARED, true, OUTPUT>(k, n, runs[r], runs[r + 1], start);
    else forward<COUNT, SHARED, false, OUTPUT>(k, n, runs[r], runs[r + 1], start);
  }
  // Windows know no new sequences: there is one run.
  if (k.window > 1) return backwardWindows<COUNT, SHARED, OUTPUT, FIRST>(k, n, runs[1], k.start + n * W);
  for (i64 r = runCount - 1; r >= 0; r--) {
    backward<COUNT, SHARED, FIRST>(k, n, runs[r], runs[r + 1], r == 0 ? k.start + n * W : zeros, gradStates);
    // What came before a new sequence has no part in it.
    if (r > 0)
      for (int j = 0; j < COUNT; j++) store(k.g + (n + j) * W, vf{});
  }
}

template <int COUNT, bool SHARED>
void group(const Lanes& k, i64 n, bool limited, bool output, bool first, const i64* runs, i64 runCount, const float* gradStates) {
  if (output) (first ? group<COUNT, SHARED, true, true> : group<COUNT, SHARED, true, false>)(k, n, limited, runs, runCount, gradStates);
  else (first ? group<COUNT, SHARED, false, true> : group<COUNT, SHARED, false, false>)(k, n, limited, runs, runCount, gradStates);
}

/// States [n, n + count) of one vector of channels over a chunk; what it adds to sums is all there is where it is the `first`.
template <bool SHARED>
void groupOf(int count, const Lanes& k, i64 n, bool limited, bool output, bool first, const i64* runs, i64 runCount,
             const float* gradStates) {
  if (count == GROUP) return group<GROUP, SHARED>(k, n, limited, output, first, runs, runCount, gradStates);
  if constexpr (GROUP > 4)
    if (count == 4) return group<4, SHARED>(k, n, limited, output, first, runs, runCount, gradStates);
  if (count == 2) return group<2, SHARED>(k, n, limited, output, first, runs, runCount, gradStates);
  group<1, SHARED>(k, n, limited, output, first, runs, runCount, gradStates);
}

}  // namespace

}  // namespace MK_ISA
