// The selective scan. A lane is a channel; for a vector of channels and a block of steps, a few states at a time stay in
// registers while time runs, so that each update costs one exponential and three multiply-adds.
#include "scan.h"

#include "../kernels.h"

namespace MK_ISA {

namespace {

/// States in registers at once.
#if MK_LANES == 16 || defined(__aarch64__)
constexpr int GROUP = 8;
#else
constexpr int GROUP = 4;
#endif
/// Vectors of channels a task, which share the rows of B and C in the cache.
constexpr i64 VECTORS = 8;

struct BlockData {
  /// (N) vectors: A log2(e), and the states.
  const float* spectrum;
  float* h;
  /// (steps, N) floats or vectors.
  const float* B;
  const float* C;
  /// (steps) vectors: step size, step size times input, output so far.
  const float* dt;
  const float* du;
  float* y;
  i64 states;
};

/// Advances states [n, n + COUNT) over steps [begin, end).
template <int COUNT, bool SHARED, bool NEVER_POSITIVE>
void advance(const BlockData& k, i64 n, i64 begin, i64 end) {
  vf a[COUNT], h[COUNT];
#pragma GCC unroll 8
  for (int j = 0; j < COUNT; j++) {
    a[j] = load(k.spectrum + (n + j) * W);
    h[j] = load(k.h + (n + j) * W);
  }
  const i64 step = SHARED ? 1 : W;
  const float* B = k.B + n * step;
  const float* C = k.C + n * step;
  for (i64 t = begin; t < end; t++) {
    const vf dt = load(k.dt + t * W);
    const vf du = load(k.du + t * W);
    vf y = load(k.y + t * W);
#pragma GCC unroll 8
    for (int j = 0; j < COUNT; j++) {
      const float* b = B + (t * k.states + j) * step;
      const float* c = C + (t * k.states + j) * step;
      const vf e = decay<NEVER_POSITIVE>(dt * a[j]);
      const vf x = du * (SHARED ? splat(*b) : load(b));
      h[j] = fma(e, h[j], x);
      y = fma(h[j], SHARED ? splat(*c) : load(c), y);
    }
    store(k.y + t * W, y);
  }
#pragma GCC unroll 8
  for (int j = 0; j < COUNT; j++) store(k.h + (n + j) * W, h[j]);
}

template <bool SHARED, bool NEVER_POSITIVE>
void advanceAll(const BlockData& k, i64 begin, i64 end) {
  i64 n = 0;
  for (; n + GROUP <= k.states; n += GROUP) advance<GROUP, SHARED, NEVER_POSITIVE>(k, n, begin, end);
  for (; n + 2 <= k.states; n += 2) advance<2, SHARED, NEVER_POSITIVE>(k, n, begin, end);
  for (; n < k.states; n++) advance<1, SHARED, NEVER_POSITIVE>(k, n, begin, end);
}

void advanceBlock(const BlockData& k, bool shared, bool neverPositive, i64 begin, i64 end) {
  if (shared) {
    if (neverPositive) advanceAll<true, true>(k, begin, end);
    else advanceAll<true, false>(k, begin, end);
  } else {
    if (neverPositive) advanceAll<false, true>(k, begin, end);
    else advanceAll<false, false>(k, begin, end);
  }
}

struct Outputs {
  View out, finalState, states, chunkStates;
};

float* lanesOf(const Args& args, i32 thread, int slot, i64 vectors) {
  return args.scratch<float>(thread, slot, vectors * W);
}

/// What the recurrence takes from and leaves in scratch: for each vector of channels, a vector a step.
struct Series {
  float *dt, *du, *y;
  i64 at(i64 v, i64 t) const { return (v * BLOCK + t) * W; }
};

/// Calls body(first, K) with K of `count` vectors at once, so that chains of dependent operations overlap.
template <class Body>
inline void severalVectors(i64 count, Body&& body) {
  i64 v = 0;
  for (; v + 4 <= count; v += 4) body(v, [] { return 4; });
  for (; v < count; v++) body(v, [] { return 1; });
}

/// Step sizes, their products with the input, and what the skip connection adds, for vectors [from, to) of a block. A
/// row of channels is read whole before the next step: rows lie far apart, often in the same few cache sets.
template <bool PLAIN>
void prepare(const ScanOperands& o, i64 b, i64 first, i64 from, i64 to, i64 lanes, const i64* positions, i64 steps,
             const Series& s) {
  vf bias[VECTORS] = {}, skip[VECTORS] = {};
  for (i64 v = from; v < to; v++) {
    if (o.deltaBias) bias[v] = loadAny(o.deltaBias, first + v * W, lanes);
    if (o.D) skip[v] = loadAny(o.D, first + v * W, lanes);
  }
  for (i64 t = 0; t < steps; t++) {
    const i64 delta = b * o.delta.stride[0] + positions[t] * o.delta.stride[1] + first;
    const i64 input = b * o.u.stride[0] + positions[t] * o.u.stride[1] + first;
    severalVectors(to - from, [&](i64 i, auto count) {
      constexpr int K = count();
      const i64 v = from + i;
      vf dt[K];
      MK_EACH dt[j] = lanesAt<PLAIN>(o.delta, delta + (v + j) * W, lanes) + bias[v + j];
      if (o.softplus) softplus(dt);
      MK_EACH {
        const vf u = lanesAt<PLAIN>(o.u, input + (v + j) * W, lanes);
        store(s.dt + s.at(v + j, t), dt[j]);
        store(s.du + s.at(v + j, t), dt[j] * u);
        store(s.y + s.at(v + j, t), skip[v + j] * u);
      }
    });
  }
}

/// Gates the output and writes it.
template <bool PLAIN>
void finish(const ScanOperands& o, const View& out, i64 b, i64 first, i64 from, i64 to, i64 lanes, const i64* positions,
            i64 steps, const Series& s) {
  for (i64 t = 0; t < steps; t++) {
    const i64 gate = o.z ? b * o.z.stride[0] + positions[t] * o.z.stride[1] + first : 0;
    const i64 target = b * out.stride[0] + positions[t] * out.stride[1] + first;
    severalVectors(to - from, [&](i64 i, auto count) {
      constexpr int K = count();
      const i64 v = from + i;
      vf x[K];
      MK_EACH x[j] = load(s.y + s.at(v + j, t));
      if (o.z) {
        vf z[K], g[K];
        MK_EACH g[j] = z[j] = lanesAt<PLAIN>(o.z, gate + (v + j) * W, lanes);
        sigmoid(g);
        MK_EACH x[j] = x[j] * (z[j] * g[j]);
      }
      MK_EACH putLanes<PLAIN>(out, target + (v + j) * W, lanes, x[j]);
    });
  }
}

/// Channels [first, last) of sequence b, all steps.
void scanChannels(const Args& args, const ScanOperands& o, const Outputs& to, const View& initialState, i64 chunk, i64 b,
                  i64 first, i64 last, i32 thread) {
  const i64 N = o.states;
  const i64 vectors = (last - first + W - 1) / W;
  float* spectrum = lanesOf(args, thread, 0, VECTORS * N);
  float* h = lanesOf(args, thread, 1, VECTORS * N);
  float* block = lanesOf(args, thread, 2, 3 * VECTORS * BLOCK);
  float* rows = lanesOf(args, thread, 3, 2 * BLOCK * N);
  const Series series = {block, block + VECTORS * BLOCK * W, block + 2 * VECTORS * BLOCK * W};
  float *rowsB = rows, *rowsC = rows + BLOCK * N * W;
  const Map mapB = mapOf(o.B), mapC = mapOf(o.C);
  const bool plain = o.u.dtype == FLOAT32 && o.delta.dtype == FLOAT32 && to.out.dtype == FLOAT32 && (!o.z || o.z.dtype == FLOAT32);
  // Vectors that need neither conversion nor masks.
  const i64 whole = plain ? (last - first) / W : 0;
  i64 positions[BLOCK];
  bool neverPositive[VECTORS];
  for (i64 v = 0; v < vectors; v++) {
    const i64 d = first + v * W, lanes = least<i64>(W, last - d);
    neverPositive[v] = !loadSpectrum(o.A, d, lanes, N, spectrum + v * N * W) && o.softplus;
    for (i64 n = 0; n < N; n++) {
      vf x = {};
      if (initialState)
        for (i64 l = 0; l < lanes; l++)
          x[l] = ((const float*)initialState.data)[b * initialState.stride[0] + (d + l) * initialState.stride[1] + n];
      store(h + (v * N + n) * W, x);
    }
  }
  for (i64 step = 0; step < o.length;) {
    i64 steps = least(BLOCK, o.length - step);
    if (to.chunkStates) steps = least(steps, chunk - step % chunk);
    for (i64 t = 0; t < steps; t++) positions[t] = o.position(step + t);
    if (whole > 0) prepare<true>(o, b, first, 0, whole, W, positions, steps, series);
    for (i64 v = whole; v < vectors; v++)
      prepare<false>(o, b, first, v, v + 1, least<i64>(W, last - first - v * W), positions, steps, series);
    i64 heldGroupB = -1, heldGroupC = -1;
    for (i64 v = 0; v < vectors; v++) {
      const i64 d = first + v * W, lanes = least<i64>(W, last - d);
      // Rows of the maps stay from one vector to the next where they share a group.
      const bool shared = mapB.shared(d, lanes, o.channels) && mapC.shared(d, lanes, o.channels);
      if (shared) {
        const i64 gB = mapB.group(d, o.channels), gC = mapC.group(d, o.channels);
        if (gB != heldGroupB) sharedRows(mapB, o, b, gB, step, steps, rowsB);
        if (gC != heldGroupC) sharedRows(mapC, o, b, gC, step, steps, rowsC);
        heldGroupB = gB;
        heldGroupC = gC;
      } else {
        laneRows(mapB, o, b, d, lanes, step, steps, rowsB);
        laneRows(mapC, o, b, d, lanes, step, steps, rowsC);
        heldGroupB = heldGroupC = -1;
      }
      float* hv = h + v * N * W;
      if (to.chunkStates && step % chunk == 0) {
        const View& s = to.chunkStates;
        for (i64 n = 0; n < N; n++)
          storeUpTo<F32>((float*)s.data + b * s.stride[0] + step / chunk * s.stride[1] + n * s.stride[2] + d, load(hv + n * W), lanes);
      }
      const i64 at = series.at(v, 0);
      const BlockData data = {spectrum + v * N * W, hv, rowsB, rowsC, series.dt + at, series.du + at, series.y + at, N};
      for (i64 t = 0; t < steps;) {
        // A run of steps without a new sequence in its middle; one step at a time where every state is wanted.
        i64 end = t + 1;
        if (o.startsAt(b, o.position(step + t)))
          for (i64 n = 0; n < N; n++) store(hv + n * W, vf{});
        if (!to.states)
          while (end < steps && !o.startsAt(b, o.position(step + end))) end++;
        advanceBlock(data, shared, neverPositive[v], t, end);
        if (to.states) {
          const View& s = to.states;
          float* at = (float*)s.data + b * s.stride[0] + o.position(step + t) * s.stride[1];
          for (i64 l = 0; l < lanes; l++)
            for (i64 n = 0; n < N; n++) at[(d + l) * s.stride[2] + n * s.stride[3]] = hv[n * W + l];
        }
        t = end;
      }
    }
    if (whole > 0) finish<true>(o, to.out, b, first, 0, whole, W, positions, steps, series);
    for (i64 v = whole; v < vectors; v++)
      finish<false>(o, to.out, b, first, v, v + 1, least<i64>(W, last - first - v * W), positions, steps, series);
    step += steps;
  }
  if (to.finalState)
    for (i64 d = first; d < last; d++)
      for (i64 n = 0; n < N; n++) {
        const i64 v = (d - first) / W, l = (d - first) % W;
        ((float*)to.finalState.data)[b * to.finalState.stride[0] + d * to.finalState.stride[1] + n] = h[(v * N + n) * W + l];
      }
}

/// One step (decoding): the states of a channel are the lanes, since they lie side by side in (B, D, N).
void oneStep(const Args& args, const ScanOperands& o, const Outputs& to, const View& initialState) {
  const i64 N = o.states, D = o.channels;
  const Map mapB = mapOf(o.B), mapC = mapOf(o.C);
  args.ranges(o.batch * ((D + W - 1) / W), 32, [&](i64 begin, i64 end, i32) {
    for (i64 i = begin; i < end; i++) {
      const i64 blocks = (D + W - 1) / W;
      const i64 b = i / blocks, d0 = i % blocks * W, lanes = least<i64>(W, D - d0);
      const i64 p = o.position(0);
      vf dt = channelsAt(o.delta, b, p, d0, lanes) + (o.deltaBias ? loadAny(o.deltaBias, d0, lanes) : vf{});
      if (o.softplus) dt = softplus(dt);
      const vf u = channelsAt(o.u, b, p, d0, lanes);
      vf y = o.D ? loadAny(o.D, d0, lanes) * u : vf{};
      const bool fresh = o.startsAt(b, p);
      for (i64 l = 0; l < lanes; l++) {
        const i64 d = d0 + l;
        const float* before = initialState && !fresh ? (const float*)initialState.data + b * initialState.stride[0] + d * initialState.stride[1] : nullptr;
        float* after = to.finalState ? (float*)to.finalState.data + b * to.finalState.stride[0] + d * to.finalState.stride[1] : nullptr;
        const float* a = (const float*)o.A.data + d * o.A.stride[0];
        const float* B = (const float*)o.B.data + (mapB.fixed ? d * o.B.stride[0] : mapB.row(b, p, mapB.group(d, D)));
        const float* C = (const float*)o.C.data + (mapC.fixed ? d * o.C.stride[0] : mapC.row(b, p, mapC.group(d, D)));
        const float step = dt[l], input = dt[l] * u[l];
        vf total = {};
        for (i64 n = 0; n < N; n += W) {
          const i64 left = N - n;
          const vf e = exp2Bounded(loadUpTo<F32>(a + n, left) * (step * LOG2E));
          vf h = input * loadUpTo<F32>(B + n, left);
          if (before) h = fma(e, loadUpTo<F32>(before + n, left), h);
          if (after) storeUpTo<F32>(after + n, h, left);
          total = fma(h, loadUpTo<F32>(C + n, left), total);
        }
        y[l] += sum(total);
      }
      if (o.z) {
        const vf z = channelsAt(o.z, b, p, d0, lanes);
        y = y * (z * sigmoid(z));
      }
      putChannels(to.out, b, p, d0, lanes, y);
    }
  });
}

}  // namespace

void selectiveScan(const Args& args) {
  ScanOperands o;
  o.u = args[0];
  o.delta = args[1];
  o.A = args[2];
  o.B = args[3];
  o.C = args[4];
  o.D = args[5];
  o.z = args[6];
  o.deltaBias = args[7];
  const View& initialState = args[8];
  o.resets = args[9];
  o.path = args[10];
  const Outputs to = {args[11], args[12], args[13], args[14]};
  o.softplus = args.number[0] != 0;
  o.reverse = args.number[1] != 0;
  const i64 chunk = (i64)args.number[2];
  o.batch = o.u.dim[0];
  o.length = o.u.dim[1];
  o.channels = o.u.dim[2];
  o.states = o.A.dim[1];
  const bool plain = o.A.dtype == FLOAT32 && o.A.stride[1] == 1 && o.B.dtype == FLOAT32 && o.C.dtype == FLOAT32 &&
                     o.B.stride[o.B.rank - 1] == 1 && o.C.stride[o.C.rank - 1] == 1;
  if (o.length == 1 && plain && !to.states && !to.chunkStates) return oneStep(args, o, to, initialState);
  const i64 perTask = VECTORS * W;
  // Few channels are spread over more, smaller tasks.
  i64 width = perTask;
  while (width > W && o.batch * ((o.channels + width - 1) / width) < 4 * args.runtime->threads) width -= W;
  const i64 tasks = (o.channels + width - 1) / width;
  args.parallel(o.batch * tasks, [&](i64 task, i32 thread) {
    const i64 b = task / tasks, first = task % tasks * width;
    scanChannels(args, o, to, initialState, chunk, b, first, least(o.channels, first + width), thread);
  });
}

}  // namespace MK_ISA
