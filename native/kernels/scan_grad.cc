// Every gradient of the selective scan. Chunks are taken from the last to the first; inside one, the states are computed
// again from the state stored before it, then the gradient walks back. A chunk is a round over all channels, so that
// memory does not grow with length, and sums over channels are made in one order for any number of threads.
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
/// Vectors of channels a task at most.
constexpr i64 VECTORS = 8;

struct Gradients {
  View out, finalState, states;
  View u, delta, A, B, C, D, z, deltaBias, initialState;
};

/// Sizes of the work, fixed by shapes alone.
struct Plan {
  i64 chunk, chunks;
  /// Channels a task, tasks a sequence, groups of B and C that one task can touch.
  i64 width, tasks, groupsB, groupsC;
};

/// Arrays of one vector of channels over a chunk, and the accumulators of one group of states.
struct Lanes {
  const float* spectrum;
  const float* start;
  const float* B;
  const float* C;
  const float *dt, *du, *dy;
  float *y, *throughInput, *throughDecay;
  float *h, *e;
  float *accB, *accC;
  float *g, *dA;
  i64 states;
};

/// Recomputes states [n, n + COUNT) over a run of steps, keeping h and e = exp(dt A) for the way back.
template <int COUNT, bool SHARED, bool NEVER_POSITIVE, bool OUTPUT>
void forward(const Lanes& k, i64 n, i64 begin, i64 end, const float* start) {
  vf a[COUNT], h[COUNT];
#pragma GCC unroll 8
  for (int j = 0; j < COUNT; j++) {
    a[j] = load(k.spectrum + (n + j) * W);
    h[j] = load(start + j * W);
  }
  const i64 step = SHARED ? 1 : W;
  for (i64 t = begin; t < end; t++) {
    const vf dt = load(k.dt + t * W);
    const vf du = load(k.du + t * W);
    vf y = OUTPUT ? load(k.y + t * W) : vf{};
#pragma GCC unroll 8
    for (int j = 0; j < COUNT; j++) {
      const i64 at = (t * k.states + n + j) * step;
      const vf e = decay<NEVER_POSITIVE>(dt * a[j]);
      h[j] = fma(e, h[j], du * (SHARED ? splat(k.B[at]) : load(k.B + at)));
      if (OUTPUT) y = fma(h[j], SHARED ? splat(k.C[at]) : load(k.C + at), y);
      store(k.e + (t * GROUP + j) * W, e);
      store(k.h + (t * GROUP + j) * W, h[j]);
    }
    if (OUTPUT) store(k.y + t * W, y);
  }
}

/// One step back for states [n, n + COUNT): `before` holds the states that the step started from.
template <int COUNT, bool SHARED>
inline void stepBack(const Lanes& k, i64 n, i64 t, const float* before, vf (&g)[COUNT], vf (&dA)[COUNT], const vf (&a)[COUNT]) {
  const i64 step = SHARED ? 1 : W;
  const vf dt = load(k.dt + t * W), du = load(k.du + t * W), dy = load(k.dy + t * W);
  vf throughInput = load(k.throughInput + t * W), throughDecay = load(k.throughDecay + t * W);
#pragma GCC unroll 8
  for (int j = 0; j < COUNT; j++) {
    const i64 at = (t * k.states + n + j) * step;
    const i64 local = (t * GROUP + j) * W;
    const vf h = load(k.h + local), e = load(k.e + local);
    g[j] = fma(dy, SHARED ? splat(k.C[at]) : load(k.C + at), g[j]);
    store(k.accC + local, fma(dy, h, load(k.accC + local)));
    store(k.accB + local, fma(g[j], du, load(k.accB + local)));
    throughInput = fma(g[j], SHARED ? splat(k.B[at]) : load(k.B + at), throughInput);
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
    stepBack<COUNT, SHARED>(k, n, t, t > begin ? k.h + (t - 1) * GROUP * W : start, g, dA, a);
  }
#pragma GCC unroll 8
  for (int j = 0; j < COUNT; j++) {
    store(k.g + (n + j) * W, g[j]);
    store(k.dA + (n + j) * W, dA[j]);
  }
}

template <int COUNT, bool SHARED>
void group(const Lanes& k, i64 n, bool neverPositive, bool output, const i64* runs, i64 runCount, const float* gradStates) {
  const float zeros[GROUP * W] = {};
  for (i64 r = 0; r < runCount; r++) {
    const float* start = r == 0 ? k.start + n * W : zeros;
    const i64 begin = runs[r], end = runs[r + 1];
    if (begin == end) continue;
    if (output) {
      if (neverPositive) forward<COUNT, SHARED, true, true>(k, n, begin, end, start);
      else forward<COUNT, SHARED, false, true>(k, n, begin, end, start);
    } else {
      if (neverPositive) forward<COUNT, SHARED, true, false>(k, n, begin, end, start);
      else forward<COUNT, SHARED, false, false>(k, n, begin, end, start);
    }
  }
  for (i64 r = runCount - 1; r >= 0; r--) {
    backward<COUNT, SHARED>(k, n, runs[r], runs[r + 1], r == 0 ? k.start + n * W : zeros, gradStates);
    // What came before a new sequence has no part in it.
    if (r > 0)
      for (int j = 0; j < COUNT; j++) store(k.g + (n + j) * W, vf{});
  }
}

template <bool SHARED>
void groupOf(int count, const Lanes& k, i64 n, bool neverPositive, bool output, const i64* runs, i64 runCount,
             const float* gradStates) {
  if (count == GROUP) return group<GROUP, SHARED>(k, n, neverPositive, output, runs, runCount, gradStates);
  if (count == 2) return group<2, SHARED>(k, n, neverPositive, output, runs, runCount, gradStates);
  group<1, SHARED>(k, n, neverPositive, output, runs, runCount, gradStates);
}

/// Memory of the whole call, in floats.
struct Memory {
  /// (B, D/W, N, W): gradient of the state carried between chunks, and the sums for A.
  float *g, *dA;
  /// (B, D): sums for D and deltaBias.
  float *dD, *dBias;
  /// (B, tasks, groups, chunk, N): sums over a task's channels for B and C of one chunk.
  float *partB, *partC;
  /// (B, D, N): sums over time where the maps are fixed.
  float *fixedB, *fixedC;
  i64 blocks;
};

/// Adds a vector of one (step, state) to what its lanes belong to.
void spread(const Map& m, const ScanOperands& o, i64 d, i64 lanes, i64 firstGroup, i64 chunk, i64 t, i64 n, vf x, float* part,
            float* fixed) {
  for (i64 l = 0; l < lanes; l++) {
    if (m.fixed) fixed[(d + l) * o.states + n] += x[l];
    else part[((m.group(d + l, o.channels) - firstGroup) * chunk + t) * o.states + n] += x[l];
  }
}

/// Channels [first, last) of sequence b over one chunk.
void channelsOfChunk(const Args& args, const ScanOperands& o, const Gradients& to, const View& chunkStates, const Plan& plan,
                     const Memory& m, i64 index, i64 b, i64 task, i32 thread) {
  const i64 N = o.states, T = plan.chunk;
  const i64 first = task * plan.width, last = least(o.channels, first + plan.width);
  const i64 vectors = (last - first + W - 1) / W;
  const i64 step0 = index * T, steps = least(T, o.length - step0);
  const Map mapB = mapOf(o.B), mapC = mapOf(o.C);
  const bool straddles = mapB.fixed || mapC.fixed || mapB.groups > 1 || mapC.groups > 1;

  float* series = args.scratch<float>(thread, 0, VECTORS * 7 * T * W);
  float* groupMemory = args.scratch<float>(thread, 1, 4 * T * GROUP * W);
  float* rows = args.scratch<float>(thread, 2, 2 * T * N * (straddles ? VECTORS * W : 1));
  float* spectrum = args.scratch<float>(thread, 3, VECTORS * 2 * N * W);
  float* gradStates = to.states ? args.scratch<float>(thread, 4, VECTORS * T * N * W) : nullptr;
  float *h = groupMemory, *e = h + T * GROUP * W, *accB = e + T * GROUP * W, *accC = accB + T * GROUP * W;
  const auto seriesOf = [&](i64 v, int which) { return series + (v * 7 + which) * T * W; };
  enum { DT, DU, DY, Y, INPUT, DECAY, SLOPE };

  // Runs of steps between new sequences.
  i64* runs = args.scratch<i64>(thread, 5, T + 2);
  i64 runCount = 0;
  runs[0] = 0;
  for (i64 t = 0; t < steps; t++)
    if (o.startsAt(b, o.position(step0 + t))) runs[++runCount] = t;
  runs[++runCount] = steps;

  bool neverPositive[VECTORS], shared[VECTORS];
  for (i64 v = 0; v < vectors; v++) {
    const i64 d = first + v * W, lanes = least<i64>(W, last - d);
    neverPositive[v] = !loadSpectrum(o.A, d, lanes, N, spectrum + v * 2 * N * W) && o.softplus;
    for (i64 n = 0; n < N; n++)
      store(spectrum + (v * 2 * N + N + n) * W,
            loadUpTo<F32>((const float*)chunkStates.data + b * chunkStates.stride[0] + index * chunkStates.stride[1] +
                              n * chunkStates.stride[2] + d, lanes));
    shared[v] = mapB.shared(d, lanes, o.channels) && mapC.shared(d, lanes, o.channels);
    const vf bias = o.deltaBias ? loadAny(o.deltaBias, d, lanes) : vf{};
    const vf skip = o.D ? loadAny(o.D, d, lanes) : vf{};
    for (i64 t = 0; t < steps; t++) {
      const i64 p = o.position(step0 + t);
      vf dt = channelsAt(o.delta, b, p, d, lanes) + bias;
      vf slope = splat(1.0f);
      if (o.softplus) {
        slope = choose(dt > splat(20.0f), slope, sigmoid(dt));
        dt = softplus(dt);
      }
      const vf u = channelsAt(o.u, b, p, d, lanes);
      vf dy = channelsAt(to.out, b, p, d, lanes);
      if (o.z) {
        const vf z = channelsAt(o.z, b, p, d, lanes);
        dy = dy * (z * sigmoid(z));
      }
      store(seriesOf(v, DT) + t * W, dt);
      store(seriesOf(v, DU) + t * W, dt * u);
      store(seriesOf(v, DY) + t * W, dy);
      store(seriesOf(v, Y) + t * W, skip * u);
      store(seriesOf(v, INPUT) + t * W, vf{});
      store(seriesOf(v, DECAY) + t * W, vf{});
      store(seriesOf(v, SLOPE) + t * W, slope);
      if (gradStates)
        for (i64 n = 0; n < N; n++) {
          vf x = {};
          for (i64 l = 0; l < lanes; l++)
            x[l] = ((const float*)to.states.data)[b * to.states.stride[0] + p * to.states.stride[1] + (d + l) * to.states.stride[2] + n * to.states.stride[3]];
          store(gradStates + ((v * T + t) * N + n) * W, x);
        }
    }
  }

  // Rows of B and C: one copy where every vector shares a group, else one a vector.
  const i64 rowSize = T * N * (straddles ? W : 1);
  if (!straddles) {
    sharedRows(mapB, o, b, 0, step0, steps, rows);
    sharedRows(mapC, o, b, 0, step0, steps, rows + rowSize);
  } else {
    for (i64 v = 0; v < vectors; v++) {
      const i64 d = first + v * W, lanes = least<i64>(W, last - d);
      shared[v] = false;
      laneRows(mapB, o, b, d, lanes, step0, steps, rows + v * 2 * rowSize);
      laneRows(mapC, o, b, d, lanes, step0, steps, rows + (v * 2 + 1) * rowSize);
    }
  }

  const i64 firstGroupB = mapB.fixed ? 0 : mapB.group(first, o.channels);
  const i64 firstGroupC = mapC.fixed ? 0 : mapC.group(first, o.channels);
  float* partB = m.partB + (b * plan.tasks + task) * plan.groupsB * T * N;
  float* partC = m.partC + (b * plan.tasks + task) * plan.groupsC * T * N;
  for (i64 i = 0; i < plan.groupsB * T * N; i++) partB[i] = 0;
  for (i64 i = 0; i < plan.groupsC * T * N; i++) partC[i] = 0;
  float* fixedB = m.fixedB + b * o.channels * N;
  float* fixedC = m.fixedC + b * o.channels * N;

  for (i64 n = 0; n < N;) {
    const int count = n + GROUP <= N ? GROUP : n + 2 <= N ? 2 : 1;
    for (i64 i = 0; i < 2 * T * GROUP * W; i += W) store(accB + i, vf{});
    for (i64 v = 0; v < vectors; v++) {
      const i64 d = first + v * W, lanes = least<i64>(W, last - d);
      const float* rowsOf = straddles ? rows + v * 2 * rowSize : rows;
      float* carried = m.g + ((b * m.blocks + first / W + v) * N) * W;
      float* dA = m.dA + ((b * m.blocks + first / W + v) * N) * W;
      const Lanes k = {spectrum + v * 2 * N * W, spectrum + (v * 2 * N + N) * W, rowsOf, rowsOf + rowSize,
                       seriesOf(v, DT), seriesOf(v, DU), seriesOf(v, DY), seriesOf(v, Y), seriesOf(v, INPUT),
                       seriesOf(v, DECAY), h, e, accB, accC, carried, dA, N};
      const float* gs = gradStates ? gradStates + v * T * N * W : nullptr;
      if (shared[v]) groupOf<true>(count, k, n, neverPositive[v], bool(o.z), runs, runCount, gs);
      else groupOf<false>(count, k, n, neverPositive[v], bool(o.z), runs, runCount, gs);
      if (straddles) {
        for (i64 t = 0; t < steps; t++)
          for (int j = 0; j < count; j++) {
            float* b1 = accB + (t * GROUP + j) * W;
            float* c1 = accC + (t * GROUP + j) * W;
            spread(mapB, o, d, lanes, firstGroupB, T, t, n + j, load(b1), partB, fixedB);
            spread(mapC, o, d, lanes, firstGroupC, T, t, n + j, load(c1), partC, fixedC);
            store(b1, vf{});
            store(c1, vf{});
          }
      }
    }
    if (!straddles)
      for (i64 t = 0; t < steps; t++)
        for (int j = 0; j < count; j++) {
          partB[t * N + n + j] = sum(load(accB + (t * GROUP + j) * W));
          partC[t * N + n + j] = sum(load(accC + (t * GROUP + j) * W));
        }
    n += count;
  }

  for (i64 v = 0; v < vectors; v++) {
    const i64 d = first + v * W, lanes = least<i64>(W, last - d);
    const vf skip = o.D ? loadAny(o.D, d, lanes) : vf{};
    vf dD = loadUpTo<F32>(m.dD + b * o.channels + d, lanes);
    vf dBias = loadUpTo<F32>(m.dBias + b * o.channels + d, lanes);
    for (i64 t = 0; t < steps; t++) {
      const i64 p = o.position(step0 + t);
      const vf u = channelsAt(o.u, b, p, d, lanes);
      const vf dy = load(seriesOf(v, DY) + t * W);
      const vf input = load(seriesOf(v, INPUT) + t * W);
      // The spectrum carries log2(e), which is undone here.
      const vf through = load(seriesOf(v, DECAY) + t * W) * 0.69314718055994531f;
      const vf dDelta = (u * input + through) * load(seriesOf(v, SLOPE) + t * W);
      putChannels(to.u, b, p, d, lanes, load(seriesOf(v, DT) + t * W) * input + skip * dy);
      putChannels(to.delta, b, p, d, lanes, dDelta);
      dD = fma(u, dy, dD);
      dBias = dBias + dDelta;
      if (o.z) {
        const vf z = channelsAt(o.z, b, p, d, lanes);
        const vf s = sigmoid(z);
        putChannels(to.z, b, p, d, lanes, channelsAt(to.out, b, p, d, lanes) * load(seriesOf(v, Y) + t * W) * (s * (1.0f + z * (1.0f - s))));
      }
    }
    storeUpTo<F32>(m.dD + b * o.channels + d, dD, lanes);
    storeUpTo<F32>(m.dBias + b * o.channels + d, dBias, lanes);
  }
}

/// Sums the tasks' parts of one chunk into B's or C's gradient, in the order of the tasks.
void joinParts(const Args& args, const ScanOperands& o, const Plan& plan, const Map& map, const View& grad, const float* part,
               i64 groupsPerTask, i64 index) {
  if (map.fixed) return;
  const i64 T = plan.chunk, N = o.states;
  const i64 step0 = index * T, steps = least(T, o.length - step0);
  args.ranges(o.batch * steps, 16, [&](i64 begin, i64 end, i32) {
    for (i64 i = begin; i < end; i++) {
      const i64 b = i / steps, t = i % steps, p = o.position(step0 + t);
      for (i64 g = 0; g < map.groups; g++) {
        float* to = (float*)grad.data + b * grad.stride[0] + p * grad.stride[1] + g * grad.stride[2];
        for (i64 n = 0; n < N; n++) to[n] = 0;
      }
      for (i64 task = 0; task < plan.tasks; task++) {
        const i64 first = task * plan.width, last = least(o.channels, first + plan.width) - 1;
        const i64 g0 = map.group(first, o.channels), g1 = map.group(last, o.channels);
        for (i64 g = g0; g <= g1; g++) {
          const float* from = part + (((b * plan.tasks + task) * groupsPerTask + g - g0) * T + t) * N;
          float* to = (float*)grad.data + b * grad.stride[0] + p * grad.stride[1] + g * grad.stride[2];
          for (i64 n = 0; n < N; n++) to[n] += from[n];
        }
      }
    }
  });
}

/// Groups that a task's channels can lie in at most.
i64 groupsTouched(const Map& m, i64 channels, const Plan& plan) {
  i64 most_ = 1;
  if (!m.fixed)
    for (i64 first = 0; first < channels; first += plan.width)
      most_ = most(most_, m.group(least(channels, first + plan.width) - 1, channels) - m.group(first, channels) + 1);
  return most_;
}

void zero(float* p, i64 count) {
  for (i64 i = 0; i < count; i++) p[i] = 0;
}

}  // namespace

void selectiveScanGrad(const Args& args) {
  ScanOperands o;
  o.u = args[0];
  o.delta = args[1];
  o.A = args[2];
  o.B = args[3];
  o.C = args[4];
  o.D = args[5];
  o.z = args[6];
  o.deltaBias = args[7];
  o.resets = args[8];
  o.path = args[9];
  const View& chunkStates = args[10];
  const Gradients to = {args[11], args[12], args[13], args[14], args[15], args[16], args[17], args[18], args[19], args[20], args[21], args[22]};
  o.softplus = args.number[0] != 0;
  o.reverse = args.number[1] != 0;
  o.batch = o.u.dim[0];
  o.length = o.u.dim[1];
  o.channels = o.u.dim[2];
  o.states = o.A.dim[1];
  const i64 B = o.batch, D = o.channels, N = o.states;
  const Map mapB = mapOf(o.B), mapC = mapOf(o.C);

  Plan plan;
  plan.chunk = least((i64)args.number[2], most<i64>(1, o.length));
  plan.chunks = (o.length + plan.chunk - 1) / plan.chunk;
  plan.width = VECTORS * W;
  while (plan.width > W && B * ((D + plan.width - 1) / plan.width) < 8) plan.width -= W;
  plan.tasks = (D + plan.width - 1) / plan.width;
  plan.groupsB = groupsTouched(mapB, D, plan);
  plan.groupsC = groupsTouched(mapC, D, plan);

  Memory m;
  m.blocks = (D + W - 1) / W;
  m.g = args.shared<float>(0, 2 * B * m.blocks * N * W);
  m.dA = m.g + B * m.blocks * N * W;
  m.dD = args.shared<float>(1, 2 * B * D);
  m.dBias = m.dD + B * D;
  m.partB = args.shared<float>(2, B * plan.tasks * (plan.groupsB + plan.groupsC) * plan.chunk * N);
  m.partC = m.partB + B * plan.tasks * plan.groupsB * plan.chunk * N;
  m.fixedB = args.shared<float>(3, 2 * B * D * N);
  m.fixedC = m.fixedB + B * D * N;
  zero(m.dA, B * m.blocks * N * W);
  zero(m.dD, 2 * B * D);
  if (mapB.fixed || mapC.fixed) zero(m.fixedB, 2 * B * D * N);
  for (i64 b = 0; b < B; b++)
    for (i64 d = 0; d < m.blocks * W; d++)
      for (i64 n = 0; n < N; n++)
        m.g[((b * m.blocks + d / W) * N + n) * W + d % W] =
            to.finalState && d < D ? ((const float*)to.finalState.data)[b * to.finalState.stride[0] + d * to.finalState.stride[1] + n * to.finalState.stride[2]] : 0;

  for (i64 index = plan.chunks - 1; index >= 0; index--) {
    args.parallel(B * plan.tasks, [&](i64 i, i32 thread) {
      channelsOfChunk(args, o, to, chunkStates, plan, m, index, i / plan.tasks, i % plan.tasks, thread);
    });
    joinParts(args, o, plan, mapB, to.B, m.partB, plan.groupsB, index);
    joinParts(args, o, plan, mapC, to.C, m.partC, plan.groupsC, index);
  }

  // Sums over the batch, in its order.
  const auto laneOf = [&](const float* from, i64 b, i64 d, i64 n) { return from[((b * m.blocks + d / W) * N + n) * W + d % W]; };
  const auto sumOver = [&](const View& grad, i64 at, const auto& value) {
    float total = 0;
    for (i64 b = 0; b < B; b++) total += value(b);
    withFloat(grad.dtype, [&](auto tag) {
      using S = decltype(tag);
      ((typename S::T*)grad.data)[at] = S::put(total);
    });
  };
  for (i64 d = 0; d < D; d++) {
    for (i64 n = 0; n < N; n++) {
      sumOver(to.A, d * to.A.stride[0] + n * to.A.stride[1], [&](i64 b) { return laneOf(m.dA, b, d, n); });
      if (mapB.fixed) sumOver(to.B, d * to.B.stride[0] + n * to.B.stride[1], [&](i64 b) { return m.fixedB[(b * D + d) * N + n]; });
      if (mapC.fixed) sumOver(to.C, d * to.C.stride[0] + n * to.C.stride[1], [&](i64 b) { return m.fixedC[(b * D + d) * N + n]; });
      if (to.initialState)
        for (i64 b = 0; b < B; b++)
          ((float*)to.initialState.data)[b * to.initialState.stride[0] + d * to.initialState.stride[1] + n * to.initialState.stride[2]] = laneOf(m.g, b, d, n);
    }
    if (to.D) sumOver(to.D, d, [&](i64 b) { return m.dD[b * D + d]; });
    if (to.deltaBias) sumOver(to.deltaBias, d, [&](i64 b) { return m.dBias[b * D + d]; });
  }
}

}  // namespace MK_ISA
