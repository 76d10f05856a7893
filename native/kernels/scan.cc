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
/// Vectors of channels a task: 128 channels, since every row of a block lies on pages of its own, and memory is read the
/// faster the longer the pieces are.
constexpr i64 VECTORS = 128 / W;
/// Rows that are asked for ahead of their use.
constexpr i64 AHEAD = 8;
/// Floats from one vector's series of a block to the next, apart from a power of two.
constexpr i64 SERIES = BLOCK * W + 16;

struct BlockData {
  /// (N) vectors: A log2(e), and the states.
  const float* spectrum;
  float* h;
  /// (steps, N) floats or vectors, `stepB` and `stepC` floats from one step to the next.
  const float* B;
  const float* C;
  i64 stepB, stepC;
  /// (steps) vectors: step size, step size times input, output so far.
  const float* dt;
  const float* du;
  float* y;
  i64 states;
};

/// Advances states [n, n + COUNT) over steps [begin, end).
template <int COUNT, bool SHARED, bool LIMITED>
void advance(const BlockData& k, i64 n, i64 begin, i64 end) {
  vf a[COUNT], h[COUNT];
#pragma GCC unroll 8
  for (int j = 0; j < COUNT; j++) {
    a[j] = load(k.spectrum + (n + j) * W);
    h[j] = load(k.h + (n + j) * W);
  }
  constexpr i64 gap = SHARED ? 1 : W;
  const float* B = k.B + begin * k.stepB + n * gap;
  const float* C = k.C + begin * k.stepC + n * gap;
  for (i64 t = begin; t < end; t++, B += k.stepB, C += k.stepC) {
    const vf dt = load(k.dt + t * W);
    const vf du = load(k.du + t * W);
    vf y = load(k.y + t * W);
#pragma GCC unroll 8
    for (int j = 0; j < COUNT; j++) {
      const vf e = decay<LIMITED>(dt * a[j]);
      const vf x = du * (SHARED ? splat(B[j]) : load(B + j * W));
      h[j] = fma(e, h[j], x);
      y = fma(h[j], SHARED ? splat(C[j]) : load(C + j * W), y);
    }
    store(k.y + t * W, y);
  }
#pragma GCC unroll 8
  for (int j = 0; j < COUNT; j++) store(k.h + (n + j) * W, h[j]);
}

template <bool SHARED, bool LIMITED>
void advanceAll(const BlockData& k, i64 begin, i64 end) {
  i64 n = 0;
  for (; n + GROUP <= k.states; n += GROUP) advance<GROUP, SHARED, LIMITED>(k, n, begin, end);
  for (; n + 2 <= k.states; n += 2) advance<2, SHARED, LIMITED>(k, n, begin, end);
  for (; n < k.states; n++) advance<1, SHARED, LIMITED>(k, n, begin, end);
}

void advanceBlock(const BlockData& k, bool shared, bool limited, i64 begin, i64 end) {
  if (shared) {
    if (limited) advanceAll<true, true>(k, begin, end);
    else advanceAll<true, false>(k, begin, end);
  } else {
    if (limited) advanceAll<false, true>(k, begin, end);
    else advanceAll<false, false>(k, begin, end);
  }
}

struct Outputs {
  View out, finalState, states, chunkStates;
};

/// Channels [first, last) of sequence b, and a thread's memory for them.
struct Channels {
  i64 b, first, last, vectors;
  /// (vectors, N) vectors: A log2(e), and the states.
  float *spectrum, *h;
  /// (vectors) vectors: deltaBias, D, largest |A log2(e)|, largest |dt| of the block.
  float *bias, *skip, *largest, *steepest;
  /// (vectors) series of a block.
  float *dt, *du, *y;
  /// Two rows.
  float* rows;
  i64 lanes(i64 v) const { return least<i64>(W, last - first - v * W); }
};

Channels channelsOf(const Args& args, const ScanOperands& o, const View& initialState, i64 b, i64 first, i64 last, i32 thread) {
  const i64 N = o.states;
  Channels c = {};
  c.b = b;
  c.first = first;
  c.last = last;
  c.vectors = (last - first + W - 1) / W;
  c.spectrum = args.scratch<float>(thread, 0, 2 * VECTORS * N * W);
  c.h = c.spectrum + VECTORS * N * W;
  c.bias = args.scratch<float>(thread, 1, 6 * VECTORS * W);
  c.skip = c.bias + VECTORS * W;
  c.largest = c.skip + VECTORS * W;
  c.steepest = c.largest + VECTORS * W;
  c.rows = c.steepest + VECTORS * W;
  c.dt = args.scratch<float>(thread, 2, 3 * VECTORS * SERIES);
  c.du = c.dt + VECTORS * SERIES;
  c.y = c.du + VECTORS * SERIES;
  for (i64 v = 0; v < c.vectors; v++) {
    const i64 d = first + v * W, lanes = c.lanes(v);
    store(c.largest + v * W, loadSpectrum(o.A, d, lanes, N, c.spectrum + v * N * W));
    store(c.bias + v * W, o.deltaBias ? loadAny(o.deltaBias, d, lanes) : vf{});
    store(c.skip + v * W, o.D ? loadAny(o.D, d, lanes) : vf{});
    for (i64 n = 0; n < N; n++) {
      vf x = {};
      if (initialState)
        for (i64 l = 0; l < lanes; l++)
          x[l] = ((const float*)initialState.data)[b * initialState.stride[0] + (d + l) * initialState.stride[1] + n];
      store(c.h + (v * N + n) * W, x);
    }
  }
  return c;
}

/// Step sizes, inputs and what D gives of the outputs, row by row.
template <bool SOFTPLUS>
void readBlock(const ScanOperands& o, const Channels& c, i64 step, i64 steps) {
  const i64 count = c.last - c.first;
  const Channels k = c;
  for (i64 v = 0; v < k.vectors; v++) store(k.steepest + v * W, vf{});
  for (i64 t = 0; t < steps; t++) {
    const i64 p = o.position(step + t);
    if (step + t + AHEAD < o.length) {
      const i64 later = o.position(step + t + AHEAD);
      prefetchRow(o.delta, c.b, later, c.first, c.last);
      prefetchRow(o.u, c.b, later, c.first, c.last);
    }
    const float* delta = readRow(o.delta, c.b, p, c.first, count, k.rows);
    const float* us = readRow(o.u, c.b, p, c.first, count, k.rows + VECTORS * W);
    for (i64 v = 0; v < k.vectors; v++) {
      const i64 at = v * SERIES + t * W;
      const vf raw = load(delta + v * W) + load(k.bias + v * W), u = load(us + v * W);
      const vf dt = SOFTPLUS ? softplusWithSlope(raw).value : raw;
      const vf steepest = load(k.steepest + v * W), magnitude = vabs(dt);
      store(k.steepest + v * W, choose(magnitude > steepest, magnitude, steepest));
      store(k.dt + at, dt);
      store(k.du + at, dt * u);
      store(k.y + at, load(k.skip + v * W) * u);
    }
  }
}

/// Outputs through the gate, row by row.
void writeBlock(const ScanOperands& o, const View& out, const Channels& c, i64 step, i64 steps) {
  const i64 count = c.last - c.first;
  const Channels k = c;
  for (i64 t = 0; t < steps; t++) {
    const i64 p = o.position(step + t);
    float* to = rowToWrite(out, c.b, p, c.first, count, k.rows);
    if (o.z) {
      if (t + AHEAD < steps) prefetchRow(o.z, c.b, o.position(step + t + AHEAD), c.first, c.last);
      const float* z = readRow(o.z, c.b, p, c.first, count, k.rows + VECTORS * W);
      for (i64 v = 0; v < k.vectors; v++) store(to + v * W, load(k.y + v * SERIES + t * W) * gate(load(z + v * W)));
    } else {
      for (i64 v = 0; v < k.vectors; v++) store(to + v * W, load(k.y + v * SERIES + t * W));
    }
    writeRow(out, c.b, p, c.first, count, to);
  }
}

/// All steps of channels [first, last) of sequence b.
void scanChannels(const Args& args, const ScanOperands& o, const Outputs& to, const View& initialState, i64 chunk, i64 b,
                  i64 first, i64 last, i32 thread) {
  const i64 N = o.states;
  const Channels c = channelsOf(args, o, initialState, b, first, last, thread);
  const Map mapB = mapOf(o.B), mapC = mapOf(o.C);
  const bool shared = mapB.shared(first, last - first, o.channels) && mapC.shared(first, last - first, o.channels);
  float* rowsB = args.scratch<float>(thread, 3, 2 * BLOCK * N * (shared ? 1 : W));
  float* rowsC = rowsB + BLOCK * N * (shared ? 1 : W);
  const i64 stepB = shared ? N : mapB.fixed ? 0 : N * W;
  const i64 stepC = shared ? N : mapC.fixed ? 0 : N * W;
  for (i64 step = 0; step < o.length;) {
    i64 steps = least(BLOCK, o.length - step);
    if (to.chunkStates) steps = least(steps, chunk - step % chunk);
    if (o.softplus) readBlock<true>(o, c, step, steps);
    else readBlock<false>(o, c, step, steps);
    if (shared) {
      sharedRows(mapB, o, b, mapB.group(first, o.channels), step, steps, rowsB);
      sharedRows(mapC, o, b, mapC.group(first, o.channels), step, steps, rowsC);
    }
    for (i64 v = 0; v < c.vectors; v++) {
      const i64 d = first + v * W, lanes = c.lanes(v);
      if (!shared) {
        laneRows(mapB, o, b, d, lanes, step, steps, rowsB);
        laneRows(mapC, o, b, d, lanes, step, steps, rowsC);
      }
      float* hv = c.h + v * N * W;
      if (to.chunkStates && step % chunk == 0) {
        const View& s = to.chunkStates;
        for (i64 n = 0; n < N; n++)
          storeUpTo<F32>((float*)s.data + b * s.stride[0] + step / chunk * s.stride[1] + n * s.stride[2] + d, load(hv + n * W), lanes);
      }
      const BlockData data = {c.spectrum + v * N * W, hv, rowsB, rowsC, stepB, stepC,
                              c.dt + v * SERIES, c.du + v * SERIES, c.y + v * SERIES, N};
      const bool limited = needsLimits(load(c.steepest + v * W), load(c.largest + v * W));
      for (i64 t = 0; t < steps;) {
        // A run of steps without a new sequence in its middle; one step at a time where every state is wanted.
        i64 end = to.states ? t + 1 : steps;
        if (o.resets) {
          if (o.startsAt(b, o.position(step + t)))
            for (i64 n = 0; n < N; n++) store(hv + n * W, vf{});
          for (i64 i = t + 1; i < end; i++)
            if (o.startsAt(b, o.position(step + i))) end = i;
        }
        advanceBlock(data, shared, limited, t, end);
        if (to.states) {
          const View& s = to.states;
          float* at = (float*)s.data + b * s.stride[0] + o.position(step + t) * s.stride[1];
          for (i64 l = 0; l < lanes; l++)
            for (i64 n = 0; n < N; n++) at[(d + l) * s.stride[2] + n * s.stride[3]] = hv[n * W + l];
        }
        t = end;
      }
    }
    writeBlock(o, to.out, c, step, steps);
    step += steps;
  }
  if (to.finalState)
    for (i64 d = first; d < last; d++)
      for (i64 n = 0; n < N; n++) {
        const i64 v = (d - first) / W, l = (d - first) % W;
        ((float*)to.finalState.data)[b * to.finalState.stride[0] + d * to.finalState.stride[1] + n] = c.h[(v * N + n) * W + l];
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
      vf dt = loadAny(o.delta, b * o.delta.stride[0] + p * o.delta.stride[1] + d0, lanes) + (o.deltaBias ? loadAny(o.deltaBias, d0, lanes) : vf{});
      if (o.softplus) dt = softplus(dt);
      const vf u = loadAny(o.u, b * o.u.stride[0] + p * o.u.stride[1] + d0, lanes);
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
        y = y * gate(loadAny(o.z, b * o.z.stride[0] + p * o.z.stride[1] + d0, lanes));
      }
      storeAny(to.out, b * to.out.stride[0] + p * to.out.stride[1] + d0, y, lanes);
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
  // Few channels are spread over more, smaller tasks.
  i64 width = withinGroups(o, VECTORS * W);
  while (width > W && o.batch * ((o.channels + width - 1) / width) < 2 * args.runtime->threads) width = withinGroups(o, width - W);
  const i64 tasks = (o.channels + width - 1) / width;
  args.parallel(o.batch * tasks, [&](i64 task, i32 thread) {
    const i64 b = task / tasks, first = task % tasks * width;
    scanChannels(args, o, to, initialState, chunk, b, first, least(o.channels, first + width), thread);
  });
}

}  // namespace MK_ISA
