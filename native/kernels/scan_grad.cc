// Every gradient of the selective scan. Chunks are taken from the last to the first; inside one, the states are computed
// again from the state stored before it, then the gradient walks back. A chunk is a round over all channels, so that
// memory does not grow with length, and sums over channels are made in one order for any number of threads.
#include "scan_grad.h"

#include "../kernels.h"

namespace MK_ISA {

namespace {

/// Asks for `vectors` of channels from d on of a row that will be read some steps from now: neighbouring rows lie pages apart,
/// where hardware prefetchers do not follow.
inline void prefetchRow(const View& v, i64 b, i64 p, i64 d, i64 vectors) {
  const i64 size = v.dtype == FLOAT32 ? 4 : 2;
  const char* const row = v.data + (b * v.stride[0] + p * v.stride[1] + d) * size;
  for (i64 at = 0; at < vectors * W * size; at += 64) __builtin_prefetch(row + at);
}
/// Rows that are asked for ahead of their use where no task before asked for them.
constexpr i64 AHEAD = 8;

/// Vectors of channels a task at most.
constexpr i64 VECTORS = 64 / W;

struct Gradients {
  View out, finalState, states;
  View u, delta, A, B, C, D, z, deltaBias, initialState;
  /// What is written at a position is added to what is there.
  bool addsU, addsDelta, addsZ, addsB, addsC;

  Gradients along(const ScanOperands& o, i64 k) const {
    Gradients g = *this;
    const i64 own = o.channels;
    g.out = channelsOf(out, 2, k, own);
    g.u = channelsOf(u, 2, k, own);
    g.delta = channelsOf(delta, 2, k, own);
    g.z = channelsOf(z, 2, k, own);
    g.states = narrowed(states, 2, k * own, own);
    g.finalState = narrowed(finalState, 1, k * own, own);
    g.initialState = narrowed(initialState, 1, k * own, own);
    g.A = narrowed(A, 0, k * own, own);
    g.D = narrowed(D, 0, k * own, own);
    g.deltaBias = narrowed(deltaBias, 0, k * own, own);
    g.B = o.mapAlong(B, k);
    g.C = o.mapAlong(C, k);
    return g;
  }
};

/// Sizes of the work, fixed by shapes alone.
struct Plan {
  i64 chunk, chunks;
  /// Channels a task, tasks a sequence, groups of B and C that one task can touch.
  i64 width, tasks, groupsB, groupsC;
};

/// What vectors of channels carry from chunk to chunk: (vectors, N, W) the gradient of the state, and the sums for A;
/// (vectors, W) the sums for D and deltaBias.
struct Carried {
  float *g, *dA, *dD, *dBias;
  Carried from(i64 vector, i64 states) const {
    return {g + vector * states * W, dA + vector * states * W, dD + vector * W, dBias + vector * W};
  }
};
/// Memory of `vectors` vectors of channels at `at`.
Carried carriedAt(float* at, i64 vectors, i64 states) {
  const i64 size = vectors * states * W;
  return {at, at + size, at + 2 * size, at + 2 * size + vectors * W};
}
i64 carriedSize(i64 vectors, i64 states) { return vectors * (2 * states + 2) * W; }

/// Memory of the whole call, in floats. Letters as for one direction: the directions of a sequence lie one after the other,
/// as sequences do.
struct Memory {
  /// Of (B, D/W) vectors.
  Carried carried;
  /// (B, tasks, groups, chunk, N): sums over a task's channels for B and C of one chunk.
  float *partB, *partC;
  /// (B, D, N): sums over time where the maps are fixed.
  float *fixedB, *fixedC;
  i64 blocks;
};

/// Adds the vectors of one state over the steps, `apart` vectors apart, to what their lanes belong to.
void spread(const Map& m, const ScanOperands& o, i64 d, i64 lanes, i64 firstGroup, i64 chunk, i64 steps, i64 n, const float* acc,
            i64 apart, float* part, float* fixed) {
  vf total = {};
  for (i64 t = 0; t < steps; t++) {
    const vf x = load(acc + t * apart * W);
    total = total + x;
    if (!m.fixed)
      for (i64 l = 0; l < lanes; l++)
        part[((m.group(d + l, o.channels) - firstGroup) * chunk + t) * o.states + n] += x[l];
  }
  if (m.fixed)
    for (i64 l = 0; l < lanes; l++) fixed[(d + l) * o.states + n] += total[l];
}

/// Sums over the lanes, (steps, count) of them, to `count` of N columns.
void joinLanes(const float* acc, i64 steps, int count, i64 states, float* to, float* sums) {
  if (count == states) return sumEach(acc, steps * count, to);
  sumEach(acc, steps * count, sums);
  for (i64 t = 0; t < steps; t++)
    for (int j = 0; j < count; j++) to[t * states + j] = sums[t * count + j];
}

void zero(float* p, i64 count) {
  for (i64 i = 0; i < count; i++) p[i] = 0;
}

/// Channels [first, first + count) of sequence b over steps [step0, step0 + steps), and a thread's memory for them.
struct Piece {
  i64 b, first, count, vectors, step0, steps;
  /// The task before asked for what this reads.
  bool asked;
  /// Floats from one series of a vector to the next.
  i64 space;
  /// Of each step: where u, z and the output lie, and where delta lies.
  i64 *position, *rowOf;
  float *series, *bias, *skip, *dD, *dBias, *steepest;
  i64 lanes(i64 v) const { return least<i64>(W, count - v * W); }
  float* of(i64 v, int which) const { return series + (v * SERIES + which) * space; }
  enum { DT, DU, DY, Y, INPUT, DECAY, SLOPE, GATED, SERIES };
};

/// What the inner loops read of the vectors [first, last), COUNT at a time, row by row.
template <bool SOFTPLUS, int COUNT, bool WHOLE>
void readVectors(const ScanOperands& o, const Gradients& to, const Piece& k, i64 first, i64 last) {
  const bool gated = bool(o.z);
  const Line<WHOLE> deltas(o.delta, k.b, k.first, k.count), us(o.u, k.b, k.first, k.count), grads(to.out, k.b, k.first, k.count);
  const Line<WHOLE> zs(gated ? o.z : o.u, k.b, k.first, k.count);
  for (; first < last; first += COUNT) {
    vf bias[COUNT], skip[COUNT], steepest[COUNT];
    for (int i = 0; i < COUNT; i++) {
      bias[i] = load(k.bias + (first + i) * W);
      skip[i] = load(k.skip + (first + i) * W);
      steepest[i] = vf{};
    }
    for (i64 t = 0; t < k.steps; t++) {
      const i64 p = k.position[t], row = k.rowOf[t];
      if (!k.asked && t + AHEAD < k.steps) {
        const i64 later = k.position[t + AHEAD], d = k.first + first * W;
        prefetchRow(o.delta, k.b, k.rowOf[t + AHEAD], d, COUNT);
        prefetchRow(o.u, k.b, later, d, COUNT);
        prefetchRow(to.out, k.b, later, d, COUNT);
        if (gated) prefetchRow(o.z, k.b, later, d, COUNT);
      }
      vf dt[COUNT], slope[COUNT];
      for (int i = 0; i < COUNT; i++) dt[i] = deltas.read(row, (first + i) * W) + bias[i];
      if (SOFTPLUS) softplusWithSlope(dt, slope);
      for (int i = 0; i < COUNT; i++) {
        const i64 lane = (first + i) * W;
        float* const at = k.of(first + i, 0) + t * W;
        const vf u = us.read(p, lane), magnitude = vabs(dt[i]);
        vf dy = grads.read(p, lane);
        if (gated) {
          const vf z = zs.read(p, lane), s = 1.0f / (1.0f + exp2ShortBounded(z * -LOG2E));
          store(at + Piece::GATED * k.space, dy * (s * (1.0f + z * (1.0f - s))));
          dy = dy * (z * s);
        }
        steepest[i] = choose(magnitude > steepest[i], magnitude, steepest[i]);
        store(at + Piece::DT * k.space, dt[i]);
        store(at + Piece::DU * k.space, dt[i] * u);
        store(at + Piece::DY * k.space, dy);
        store(at + Piece::Y * k.space, skip[i] * u);
        store(at + Piece::INPUT * k.space, vf{});
        store(at + Piece::DECAY * k.space, vf{});
        store(at + Piece::SLOPE * k.space, SOFTPLUS ? slope[i] : splat(1.0f));
      }
    }
    for (int i = 0; i < COUNT; i++) store(k.steepest + (first + i) * W, steepest[i]);
  }
}

/// Gradients of what has a row a step, and sums over the steps for D and deltaBias, of the vectors [first, last).
template <int COUNT, bool WHOLE>
void writeVectors(const ScanOperands& o, const Gradients& to, const Piece& k, i64 first, i64 last) {
  const bool gated = bool(o.z), addsU = to.addsU, addsDelta = to.addsDelta, addsZ = to.addsZ;
  const Line<WHOLE> us(o.u, k.b, k.first, k.count), gradU(to.u, k.b, k.first, k.count), gradDelta(to.delta, k.b, k.first, k.count);
  const Line<WHOLE> gradZ(gated ? to.z : to.u, k.b, k.first, k.count);
  for (; first < last; first += COUNT) {
    vf skip[COUNT], dD[COUNT], dBias[COUNT];
    for (int i = 0; i < COUNT; i++) {
      skip[i] = load(k.skip + (first + i) * W);
      dD[i] = load(k.dD + (first + i) * W);
      dBias[i] = load(k.dBias + (first + i) * W);
    }
    for (i64 t = 0; t < k.steps; t++) {
      const i64 p = k.position[t], row = k.rowOf[t];
      for (int i = 0; i < COUNT; i++) {
        const i64 lane = (first + i) * W;
        const float* const at = k.of(first + i, 0) + t * W;
        const vf u = us.read(p, lane), dy = load(at + Piece::DY * k.space), input = load(at + Piece::INPUT * k.space);
        // The spectrum carries log2(e), which is undone here.
        const vf through = load(at + Piece::DECAY * k.space) * 0.69314718055994531f;
        const vf dDelta = fma(u, input, through) * load(at + Piece::SLOPE * k.space);
        const vf dU = fma(load(at + Piece::DT * k.space), input, skip[i] * dy);
        gradU.write(p, lane, addsU ? gradU.read(p, lane) + dU : dU);
        gradDelta.write(row, lane, addsDelta ? gradDelta.read(row, lane) + dDelta : dDelta);
        dD[i] = fma(u, dy, dD[i]);
        dBias[i] = dBias[i] + dDelta;
        if (!gated) continue;
        const vf dZ = load(at + Piece::GATED * k.space) * load(at + Piece::Y * k.space);
        gradZ.write(p, lane, addsZ ? gradZ.read(p, lane) + dZ : dZ);
      }
    }
    for (int i = 0; i < COUNT; i++) {
      store(k.dD + (first + i) * W, dD[i]);
      store(k.dBias + (first + i) * W, dBias[i]);
    }
  }
}

/// Vectors that lie whole in float32 rows go several at a time, as chains of operations that hide each other's latency.
void readPiece(const ScanOperands& o, const Gradients& to, const Piece& k, i64 whole) {
  const i64 four = whole / 4 * 4;
  (o.softplus ? readVectors<true, 4, true> : readVectors<false, 4, true>)(o, to, k, 0, four);
  (o.softplus ? readVectors<true, 1, true> : readVectors<false, 1, true>)(o, to, k, four, whole);
  (o.softplus ? readVectors<true, 1, false> : readVectors<false, 1, false>)(o, to, k, whole, k.vectors);
}
void writePiece(const ScanOperands& o, const Gradients& to, const Piece& k, i64 whole) {
  const i64 four = whole / 4 * 4;
  writeVectors<4, true>(o, to, k, 0, four);
  writeVectors<1, true>(o, to, k, four, whole);
  writeVectors<1, false>(o, to, k, whole, k.vectors);
}

/// Gradients of all states over a piece: (vectors, steps, N) vectors.
void readGradStates(const View& s, const ScanOperands& o, const Piece& k, float* gradStates, i64 chunk) {
  for (i64 v = 0; v < k.vectors; v++)
    for (i64 t = 0; t < k.steps; t++)
      for (i64 n = 0; n < o.states; n++) {
        const float* from = (const float*)s.data + k.b * s.stride[0] + k.position[t] * s.stride[1] + n * s.stride[3];
        vf x = {};
        for (i64 l = 0; l < k.lanes(v); l++) x[l] = from[(k.first + v * W + l) * s.stride[2]];
        store(gradStates + ((v * chunk + t) * o.states + n) * W, x);
      }
}

/// What the walk back starts from, for the channels [d, d + lanes) of sequence b.
void beginWalk(const Gradients& to, const Carried& c, i64 b, i64 d, i64 lanes, i64 states) {
  for (i64 n = 0; n < states; n++) {
    vf g = {};
    if (to.finalState)
      for (i64 l = 0; l < lanes; l++)
        g[l] = ((const float*)to.finalState.data)[b * to.finalState.stride[0] + (d + l) * to.finalState.stride[1] + n * to.finalState.stride[2]];
    store(c.g + n * W, g);
    store(c.dA + n * W, vf{});
  }
  store(c.dD, vf{});
  store(c.dBias, vf{});
}
/// The gradient of the state that they started from.
void endWalk(const Gradients& to, const Carried& c, i64 b, i64 d, i64 lanes, i64 states) {
  const View& s = to.initialState;
  for (i64 n = 0; s && n < states; n++)
    for (i64 l = 0; l < lanes; l++) ((float*)s.data)[b * s.stride[0] + (d + l) * s.stride[1] + n * s.stride[2]] = c.g[n * W + l];
}

/// What a thread probably takes next: the channels of `task` of sequence b over chunk `index` of a direction.
struct Next {
  ScanOperands o;
  View out;
  i64 index, b, task;
};

/// The channels of one task of sequence b over one chunk of a direction; `own` is the place of its sequence in the memory.
void channelsOfChunk(const Args& args, const ScanOperands& o, const Gradients& to, const View& chunkStates, const Spectra& spectra,
                     const Plan& plan, const Memory& m, const Carried& carried, i64 index, i64 b, i64 direction, i64 own, i64 task,
                     const Next& next, i32 thread) {
  const i64 N = o.states, T = plan.chunk;
  Piece k = {};
  k.b = b;
  k.first = task * plan.width;
  k.count = least(o.channels - k.first, plan.width);
  k.vectors = (k.count + W - 1) / W;
  k.step0 = index * T;
  k.steps = least(T, o.length - k.step0);
  k.space = T * W + 128;
  const i64 first = k.first, steps = k.steps;
  const Map mapB = mapOf(o.B), mapC = mapOf(o.C);
  const bool shared = mapB.shared(first, k.count, o.channels) && mapC.shared(first, k.count, o.channels);

  k.series = args.scratch<float>(thread, 0, VECTORS * Piece::SERIES * k.space);
  // Arrays side by side lie a quarter of a page apart beyond whole pages, lest loads wait for stores of the same offset.
  const i64 apart = T * GROUP * W + 256;
  float* groupMemory = args.scratch<float>(thread, 1, 4 * apart + (T + o.window * W) * GROUP);
  const i64 rowSpace = T * N * (shared ? 1 : W);
  float* rowsB = args.scratch<float>(thread, 2, 2 * rowSpace);
  float* rowsC = rowsB + rowSpace;
  float* starts = args.scratch<float>(thread, 3, VECTORS * N * W);
  if (index + 1 == plan.chunks) spectra.prepare(direction, first / W, first / W + k.vectors);
  float* gradStates = to.states ? args.scratch<float>(thread, 4, VECTORS * T * N * W) : nullptr;
  k.bias = args.scratch<float>(thread, 6, 3 * VECTORS * W);
  k.skip = k.bias + VECTORS * W;
  k.steepest = k.skip + VECTORS * W;
  k.dD = carried.dD;
  k.dBias = carried.dBias;
  float *h = groupMemory, *e = h + apart, *accB = e + apart, *accC = accB + apart, *sums = accC + apart, *q = sums + T * GROUP;

  // Runs of steps between new sequences.
  i64* runs = args.scratch<i64>(thread, 5, 5 * T + 2 + LinesAhead::space(T));
  k.position = runs + T + 2;
  k.rowOf = k.position + T;
  i64 *nextPosition = k.rowOf + T, *nextRow = nextPosition + T;
  for (i64 t = 0; t < steps; t++) {
    k.position[t] = o.position(k.step0 + t);
    k.rowOf[t] = o.byStep ? o.placeOf(k.step0 + t) : k.position[t];
  }
  LinesAhead ahead(2 * k.vectors * ((N + GROUP - 1) / GROUP), T, (const char**)(nextRow + T));
  // With fewer states asking would take longer than what it spares.
  const bool asks = k.asked = N >= 8;
  if (asks && to.u) ahead.add(to.u, b, first, k.count, k.position, steps);
  if (asks && to.delta) ahead.add(to.delta, b, first, k.count, k.rowOf, steps);
  if (asks && to.z) ahead.add(to.z, b, first, k.count, k.position, steps);
  if (asks && next.index >= 0) {
    const i64 step = next.index * T, left = least(T, o.length - step), channel = next.task * plan.width;
    const i64 count = least(plan.width, o.channels - channel);
    for (i64 t = 0; t < left; t++) {
      nextPosition[t] = next.o.position(step + t);
      nextRow[t] = o.byStep ? next.o.placeOf(step + t) : nextPosition[t];
    }
    ahead.add(next.o.delta, next.b, channel, count, nextRow, left);
    ahead.add(next.o.u, next.b, channel, count, nextPosition, left);
    ahead.add(next.out, next.b, channel, count, nextPosition, left);
    if (o.z) ahead.add(next.o.z, next.b, channel, count, nextPosition, left);
  }
  i64 runCount = 0;
  runs[0] = 0;
  if (o.resets)
    for (i64 t = 0; t < steps; t++)
      if (o.startsAt(b, k.position[t])) runs[++runCount] = t;
  runs[++runCount] = steps;

  bool limited[VECTORS];
  for (i64 v = 0; v < k.vectors; v++) {
    const i64 d = first + v * W, lanes = k.lanes(v);
    const float* kept = (const float*)chunkStates.data + b * chunkStates.stride[0] + index * chunkStates.stride[1] + d;
    for (i64 n = 0; n < N; n++)
      store(starts + (v * N + n) * W, chunkStates ? loadUpTo<F32>(kept + n * chunkStates.stride[2], lanes) : vf{});
    store(k.bias + v * W, o.deltaBias ? loadAny(o.deltaBias, d, lanes) : vf{});
    store(k.skip + v * W, o.D ? loadAny(o.D, d, lanes) : vf{});
    if (index + 1 == plan.chunks) beginWalk(to, carried.from(v, N), b, d, lanes, N);
  }
  const auto floats = [](const View& v) { return !v || v.dtype == FLOAT32; };
  const bool allFloats = floats(o.u) && floats(o.delta) && floats(o.z) && floats(to.out) && floats(to.u) && floats(to.delta) && floats(to.z);
  const i64 whole = allFloats ? k.count / W : 0;
  readPiece(o, to, k, whole);
  for (i64 v = 0; v < k.vectors; v++) limited[v] = needsLimits(load(k.steepest + v * W), spectra.largest(direction, first / W + v));
  if (gradStates) readGradStates(to.states, o, k, gradStates, T);
  if (shared) {
    sharedRows(mapB, o, b, mapB.group(first, o.channels), k.step0, steps, rowsB);
    sharedRows(mapC, o, b, mapC.group(first, o.channels), k.step0, steps, rowsC);
  }

  const i64 firstGroupB = mapB.fixed ? 0 : mapB.group(first, o.channels);
  const i64 firstGroupC = mapC.fixed ? 0 : mapC.group(first, o.channels);
  float* partB = m.partB + (own * plan.tasks + task) * plan.groupsB * T * N;
  float* partC = m.partC + (own * plan.tasks + task) * plan.groupsC * T * N;
  float* fixedB = m.fixedB + own * o.channels * N;
  float* fixedC = m.fixedC + own * o.channels * N;
  const auto statesOf = [&](i64 v, i64 n, int count, bool alone) {
    const Carried c = carried.from(v, N);
    const Lanes lanes = {spectra.of(direction, first / W + v), starts + v * N * W, rowsB, rowsC,
                         shared ? N : mapB.fixed ? 0 : N * W, shared ? N : mapC.fixed ? 0 : N * W,
                         k.of(v, Piece::DT), k.of(v, Piece::DU), k.of(v, Piece::DY), k.of(v, Piece::Y),
                         k.of(v, Piece::INPUT), k.of(v, Piece::DECAY), h, e, accB, accC, c.g, c.dA, N, o.window, q, &ahead};
    const float* gs = gradStates ? gradStates + v * T * N * W : nullptr;
    if (shared) groupOf<true>(count, lanes, n, limited[v], bool(o.z), alone, runs, runCount, gs);
    else groupOf<false>(count, lanes, n, limited[v], bool(o.z), alone, runs, runCount, gs);
  };
  const auto countAt = [&](i64 n) { return n + GROUP <= N ? GROUP : GROUP > 4 && n + 4 <= N ? 4 : n + 2 <= N ? 2 : 1; };
  if (shared) {
    for (i64 n = 0; n < N; n += countAt(n)) {
      for (i64 v = 0; v < k.vectors; v++) statesOf(v, n, countAt(n), v == 0);
      joinLanes(accB, steps, countAt(n), N, partB + n, sums);
      joinLanes(accC, steps, countAt(n), N, partC + n, sums);
    }
  } else {
    zero(partB, plan.groupsB * T * N);
    zero(partC, plan.groupsC * T * N);
    for (i64 v = 0; v < k.vectors; v++) {
      const i64 d = first + v * W, lanes = k.lanes(v);
      laneRows(mapB, o, b, d, lanes, k.step0, steps, rowsB);
      laneRows(mapC, o, b, d, lanes, k.step0, steps, rowsC);
      for (i64 n = 0; n < N; n += countAt(n)) {
        statesOf(v, n, countAt(n), true);
        for (int j = 0; j < countAt(n); j++) {
          spread(mapB, o, d, lanes, firstGroupB, T, steps, n + j, accB + j * W, countAt(n), partB, fixedB);
          spread(mapC, o, d, lanes, firstGroupC, T, steps, n + j, accC + j * W, countAt(n), partC, fixedC);
        }
      }
    }
  }

  writePiece(o, to, k, whole);
  if (index == 0)
    for (i64 v = 0; v < k.vectors; v++) endWalk(to, carried.from(v, N), b, first + v * W, k.lanes(v), N);
}

/// Sums the tasks' parts of one chunk of direction k into B's or C's gradient, in the order of the tasks.
void joinParts(const Args& args, const ScanOperands& o, i64 k, i64 directions, const Plan& plan, const Map& map, const View& grad,
               const float* part, i64 groupsPerTask, i64 index, bool adds) {
  if (map.fixed) return;
  const i64 T = plan.chunk, N = o.states;
  const i64 step0 = index * T, steps = least(T, o.length - step0);
  args.ranges(o.batch * steps, 16, [&](i64 begin, i64 end, i32) {
    for (i64 i = begin; i < end; i++) {
      const i64 b = i / steps, t = i % steps, p = o.row(step0 + t), own = b * directions + k;
      if (map.groups == 1) {
        float* to = (float*)grad.data + b * grad.stride[0] + p * grad.stride[1];
        const float* from = part + (own * plan.tasks * T + t) * N;
        for (i64 n = 0; n < N; n += W) {
          vf total = adds ? loadUpTo<F32>(to + n, N - n) : vf{};
          for (i64 task = 0; task < plan.tasks; task++) total = total + loadUpTo<F32>(from + task * T * N + n, N - n);
          storeUpTo<F32>(to + n, total, N - n);
        }
        continue;
      }
      for (i64 g = 0; !adds && g < map.groups; g++) {
        float* to = (float*)grad.data + b * grad.stride[0] + p * grad.stride[1] + g * grad.stride[2];
        for (i64 n = 0; n < N; n++) to[n] = 0;
      }
      for (i64 task = 0; task < plan.tasks; task++) {
        const i64 first = task * plan.width, last = least(o.channels, first + plan.width) - 1;
        const i64 g0 = map.group(first, o.channels), g1 = map.group(last, o.channels);
        for (i64 g = g0; g <= g1; g++) {
          const float* from = part + (((own * plan.tasks + task) * groupsPerTask + g - g0) * T + t) * N;
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

}  // namespace

void selectiveScanGrad(const Args& args) {
  const ScanOperands o = scanOperands(args, 8, 9);
  if (!o.pathsInRange(args)) return;
  const View& chunkStates = args[10];
  const i64 B = o.batch, K = o.directions, D = o.channels, N = o.states;
  // What directions share they add up in; not at positions that they share out, of which each is written once.
  const bool once = o.sharePositionsOut(args, 1), meets = K > 1 && !once, rows = o.byStep ? K > 1 : meets;
  const auto sums = [&](const View& v, bool where) { return where && v && v.dim[2] == D; };
  const bool sumsU = sums(args[14], meets), sumsDelta = sums(args[15], rows), sumsZ = sums(args[20], meets);
  const Summed gradU(args, 4, args[14], sumsU), gradDelta(args, 5, args[15], sumsDelta), gradZ(args, 6, args[20], sumsZ);
  const auto oneGroup = [&](const View& v) { return rows && v.rank == 4 && v.dim[2] == 1; };
  const Gradients to = {args[11], args[12], args[13], *gradU, *gradDelta, args[16], args[17], args[18], args[19], *gradZ, args[21], args[22],
                        sumsU, sumsDelta, sumsZ, oneGroup(args[17]), oneGroup(args[18])};
  // Where directions add up, or leave positions out, everything is 0 before.
  const auto clear = [&](const View& v, bool adds, bool byStep) {
    if (!v || v.rank == 2) return;
    const bool gaps = o.length < o.positions && !(once && v.dim[2] == (v.rank == 3 ? D : 1));
    if (!adds && (byStep || !gaps)) return;
    args.parallel(B, [&](i64 b, i32) {
      if (v.rank == 3) return zeroRows(v, b, 0, v.dim[2]);
      for (i64 p = 0; p < v.dim[1]; p++)
        for (i64 i = 0; i < v.dim[2] * N; i++) ((float*)v.data)[b * v.stride[0] + p * v.stride[1] + i / N * v.stride[2] + i % N] = 0;
    });
  };
  clear(to.u, to.addsU, false);
  clear(to.delta, to.addsDelta, o.byStep);
  clear(to.z, to.addsZ, false);
  clear(to.B, to.addsB, o.byStep);
  clear(to.C, to.addsC, o.byStep);

  const ScanOperands one = o.along(0);
  const Map mapB = mapOf(one.B), mapC = mapOf(one.C);
  Plan plan;
  plan.chunk = least((i64)args.number[2], most<i64>(1, o.length));
  plan.chunks = (o.length + plan.chunk - 1) / plan.chunk;
  // A task takes its channels through every direction where these add up, else through one.
  const i64 split = to.addsU || to.addsDelta || to.addsZ ? 1 : K;
  plan.width = withinGroups(one, VECTORS * W);
  while (plan.width > W && B * split * ((D + plan.width - 1) / plan.width) < 8) plan.width = withinGroups(one, plan.width - W);
  plan.tasks = (D + plan.width - 1) / plan.width;
  plan.groupsB = groupsTouched(mapB, D, plan);
  plan.groupsC = groupsTouched(mapC, D, plan);

  Memory m;
  m.blocks = (D + W - 1) / W;
  // Where one chunk is all, a task may take its channels through every sequence, and keep the sums over these alone.
  const bool summing = plan.chunks == 1 && split * plan.tasks >= 2 * args.runtime->threads;
  const i64 sequences = summing ? 1 : B;
  m.carried = carriedAt(args.shared<float>(0, carriedSize(sequences * K * m.blocks, N)), sequences * K * m.blocks, N);
  m.partB = args.shared<float>(2, B * K * plan.tasks * (plan.groupsB + plan.groupsC) * plan.chunk * N);
  m.partC = m.partB + B * K * plan.tasks * plan.groupsB * plan.chunk * N;
  m.fixedB = args.shared<float>(3, 2 * B * K * D * N);
  m.fixedC = m.fixedB + B * K * D * N;
  if (mapB.fixed || mapC.fixed) zero(m.fixedB, 2 * B * K * D * N);
  const Spectra spectra(args, 7, o);

  // Without a step there is no walk.
  for (i64 own = 0; plan.chunks == 0 && own < B * K; own++)
    for (i64 block = 0; block < m.blocks; block++) {
      const Gradients along = to.along(o, own % K);
      const Carried c = m.carried.from(own * m.blocks + block, N);
      const i64 lanes = least<i64>(W, D - block * W);
      beginWalk(along, c, own / K, block * W, lanes, N);
      endWalk(along, c, own / K, block * W, lanes, N);
    }
  const i64 together = summing ? most<i64>(1, B) : 1, tasks = B / together * split * plan.tasks;
  // After direction k of sequence b: the task's next, else the task as many places on as there are threads.
  const auto after = [&](i64 index, i64 i, i64 k, i64 b) {
    if (summing && b + 1 < B) b++;
    else if (split == 1 && k + 1 < K) {
      k++;
      if (summing) b = 0;
    } else {
      index -= (i + args.runtime->threads) / tasks;
      i = (i + args.runtime->threads) % tasks;
      k = i / plan.tasks % split;
      b = summing ? 0 : i / plan.tasks / split;
    }
    return Next{o.along(k), channelsOf(to.out, 2, k, D), index, b, i % plan.tasks};
  };
  for (i64 index = plan.chunks - 1; index >= 0; index--) {
    args.parallel(tasks, [&](i64 i, i32 thread) {
      const i64 task = i % plan.tasks, block = task * plan.width / W;
      const i64 vectors = least(plan.width / W, m.blocks - block);
      for (i64 k = i / plan.tasks % split; k < K; k += split) {
        const ScanOperands along = o.along(k);
        const Gradients gradients = to.along(o, k);
        const View kept = narrowed(chunkStates, 3, k * D, D);
        const auto walk = [&](i64 b, const Carried& c) {
          channelsOfChunk(args, along, gradients, kept, spectra, plan, m, c, index, b, k, b * K + k, task, after(index, i, k, b), thread);
        };
        const i64 b = i / plan.tasks / split;
        if (!summing) {
          walk(b, m.carried.from((b * K + k) * m.blocks + block, N));
          continue;
        }
        const Carried own = carriedAt(args.scratch<float>(thread, 7, carriedSize(VECTORS, N)), VECTORS, N);
        const Carried total = m.carried.from(k * m.blocks + block, N);
        const auto add = [&](float* sum, const float* x, i64 count, bool first) {
          for (i64 j = 0; j < count * W; j += W) store(sum + j, (first ? vf{} : load(sum + j)) + load(x + j));
        };
        for (i64 each = 0; each < B; each++) {
          walk(each, own);
          add(total.dA, own.dA, vectors * N, each == 0);
          add(total.dD, own.dD, vectors, each == 0);
          add(total.dBias, own.dBias, vectors, each == 0);
        }
      }
    });
    for (i64 k = 0; k < K; k++) {
      const ScanOperands along = o.along(k);
      joinParts(args, along, k, K, plan, mapOf(along.B), o.mapAlong(to.B, k), m.partB, plan.groupsB, index, to.addsB);
      joinParts(args, along, k, K, plan, mapOf(along.C), o.mapAlong(to.C, k), m.partC, plan.groupsC, index, to.addsC);
    }
  }
  gradU.round(args);
  gradDelta.round(args);
  gradZ.round(args);

  // Sums over the batch, in its order.
  args.ranges(K * m.blocks, 4, [&](i64 begin, i64 end, i32) {
    for (i64 i = begin; i < end; i++) {
      const i64 k = i / m.blocks, block = i % m.blocks, c = k * D + block * W, lanes = least<i64>(W, D - block * W);
      const auto total = [&](const float* from, i64 perSequence, i64 n) {
        vf x = {};
        for (i64 b = 0; b < sequences; b++) x = x + load(from + (((b * K + k) * m.blocks + block) * perSequence + n) * W);
        return x;
      };
      const auto spreadTo = [&](const View& grad, i64 n, vf x) {
        for (i64 l = 0; l < lanes; l++) storeAny(grad, (c + l) * grad.stride[0] + n * grad.stride[1], splat(x[l]), 1);
      };
      const auto fixedTotal = [&](const float* from, i64 n) {
        vf x = {};
        for (i64 b = 0; b < B; b++)
          for (i64 l = 0; l < lanes; l++) x[l] += from[((b * K + k) * D + block * W + l) * N + n];
        return x;
      };
      for (i64 n = 0; n < N; n++) {
        spreadTo(to.A, n, total(m.carried.dA, N, n));
        if (mapB.fixed) spreadTo(to.B, n, fixedTotal(m.fixedB, n));
        if (mapC.fixed) spreadTo(to.C, n, fixedTotal(m.fixedC, n));
      }
      if (to.D) storeAny(to.D, c, total(m.carried.dD, 1, 0), lanes);
      if (to.deltaBias) storeAny(to.deltaBias, c, total(m.carried.dBias, 1, 0), lanes);
    }
  });
}

}  // namespace MK_ISA
