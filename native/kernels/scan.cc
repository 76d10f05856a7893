// The selective scan. A lane is a channel; for a vector of channels and a block of steps, a few states at a time stay in
// registers while time runs, so that each update costs one exponential and three multiply-adds.
#include "scan.h"

#include "../kernels.h"

namespace MK_ISA {

namespace {

/// States in registers at once: of 16 registers, exponentials of more states than two would push some to memory.
#if MK_LANES == 16 || defined(__aarch64__)
constexpr int GROUP = 8;
#else
constexpr int GROUP = 2;
#endif
/// Channels of a cache line, and the vectors they are: what is read and written at once.
constexpr i64 LINE = 16;
constexpr i64 LINE_VECTORS = LINE / W;
/// Channels a task. The rows of a block that are asked for ahead have to stay in the second-level cache, and memory is read
/// the faster the longer they are.
constexpr i64 TASK = 384;

/// Where results go, and the state from which the scan starts.
struct Outputs {
  View out, finalState, states, chunkStates, initialState;
  /// The output is added to what is there; and the gate, where there is one, is applied to the sum.
  bool adds, gatesSum;

  Outputs along(i64 k, i64 own) const {
    return {channelsOf(out, 2, k, own), narrowed(finalState, 1, k * own, own), narrowed(states, 2, k * own, own),
            narrowed(chunkStates, 3, k * own, own), narrowed(initialState, 1, k * own, own), adds, gatesSum};
  }
};

/// One direction.
struct Direction {
  ScanOperands o;
  Outputs to;
};

/// Channels [first, last) of sequence b in direction k.
struct Strip {
  const Direction* direction;
  i64 k, b, first, last;
};

/// The rows of the next block, of the same strip or of the one after it, asked for a few cache lines at every step of the
/// passes over registers, so that memory works while they compute: neighbouring rows lie pages apart, where hardware
/// prefetchers do not follow, and many at once would wait for each other.
class RowsAhead {
 public:
  /// The strip after has no direction where there is none.
  RowsAhead(const Strip& now, const Strip& after) : now(now), after(after) {}

  /// From here on `passes` calls ask for the rows of the block that begins with `step`, or of the strip after.
  void start(i64 step, i64 passes) {
    const bool stays = step < now.direction->o.length;
    const Strip& of = stays ? now : after;
    next = stays ? step : 0;
    end = 0;
    if (!PREFETCHES || !of.direction) return;
    o = &of.direction->o;
    end = least(o->length, next + BLOCK);
    lines = (of.last - of.first + LINE - 1) / LINE;
    perPass = (BLOCK * lines + passes - 1) / passes;
    line = 0;
    const auto rowsOf = [&](const View& v) {
      const i64 size = v.dtype == FLOAT32 ? 4 : 2;
      return Rows{v.data + (of.b * v.stride[0] + of.first) * size, v.stride[1] * size, LINE * size};
    };
    delta = rowsOf(o->delta);
    u = rowsOf(o->u);
    out = rowsOf(of.direction->to.out);
    if (o->z) z = rowsOf(o->z);
  }

  /// What a pass of `steps` steps asks for.
  Asked during(i64 steps) {
    i64 count = 0;
    for (i64 left = perPass; left > 0 && next < end;) {
      const i64 p = o->position(next), till = least(lines, line + left);
      const char *const deltaAt = delta.at(o->row(next)), *const uAt = u.at(p), *const outAt = out.at(p), *const zAt = z.at(p);
      left -= till - line;
      for (; line < till; line++) {
        lineAt[count++] = deltaAt + line * delta.line;
        lineAt[count++] = uAt + line * u.line;
        lineAt[count++] = outAt + line * out.line;
        if (o->z) lineAt[count++] = zAt + line * z.line;
      }
      if (line < lines) break;
      line = 0;
      next++;
    }
    const i64 each = (count + steps - 1) / steps;
    for (; count < each * steps; count++) lineAt[count] = lineAt[0];
    return {lineAt, each};
  }

 private:
  const Strip &now, &after;
  const ScanOperands* o;
  i64 next, end, lines, line, perPass = 0;
  /// Channels of an operand's rows: where those of position 0 begin, bytes from one to the next, and bytes of LINE channels.
  struct Rows {
    const char* base;
    i64 gap, line;
    const char* at(i64 p) const { return base + p * gap; }
  };
  Rows delta, u, out, z = {};
  /// All rows of a block, and what fills up the last step.
  const char* lineAt[4 * BLOCK * (TASK / LINE) + BLOCK];
};

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
  /// Steps of a window of the locally bidirectional scan, and (window, GROUP) vectors of memory; 0 or 1 scans forward only.
  i64 window;
  float* decays;
};

/// Advances states [n, n + COUNT) over steps [begin, end).
template <int COUNT, bool SHARED, bool LIMITED>
void advance(const BlockData& k, i64 n, i64 begin, i64 end, Asked asked) {
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
    for (i64 i = 0; i < asked.each; i++) __builtin_prefetch(*asked.lines++);
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

/// The same by windows: after each, its steps once more from the last to the first, with the decays that it left.
template <int COUNT, bool SHARED, bool LIMITED>
void advanceWindows(const BlockData& k, i64 n, i64 begin, i64 end, Asked asked) {
  vf a[COUNT], h[COUNT];
#pragma GCC unroll 8
  for (int j = 0; j < COUNT; j++) {
    a[j] = load(k.spectrum + (n + j) * W);
    h[j] = load(k.h + (n + j) * W);
  }
  constexpr i64 gap = SHARED ? 1 : W;
  for (i64 first = begin; first < end; first += k.window) {
    const i64 last = least(first + k.window, end) - 1;
    const float* B = k.B + first * k.stepB + n * gap;
    const float* C = k.C + first * k.stepC + n * gap;
    float* decays = k.decays;
    vf g[COUNT];
    for (i64 t = first; t <= last; t++, B += k.stepB, C += k.stepC, decays += COUNT * W) {
      for (i64 i = 0; i < asked.each; i++) __builtin_prefetch(*asked.lines++);
      const vf dt = load(k.dt + t * W);
      const vf du = load(k.du + t * W);
      vf y = load(k.y + t * W);
#pragma GCC unroll 8
      for (int j = 0; j < COUNT; j++) {
        const vf e = decay<LIMITED>(dt * a[j]);
        g[j] = du * (SHARED ? splat(B[j]) : load(B + j * W));
        store(decays + j * W, e);
        h[j] = fma(e, h[j], g[j]);
        y = fma(h[j], SHARED ? splat(C[j]) : load(C + j * W), y);
      }
      store(k.y + t * W, y);
    }
    B -= k.stepB;
    C -= k.stepC;
    decays -= COUNT * W;
    for (i64 t = last - 1; t >= first; t--) {
      B -= k.stepB;
      C -= k.stepC;
      decays -= COUNT * W;
      const vf du = load(k.du + t * W);
      vf y = load(k.y + t * W);
#pragma GCC unroll 8
      for (int j = 0; j < COUNT; j++) {
        const vf r = load(decays + j * W) * g[j];
        y = fma(r, SHARED ? splat(C[j]) : load(C + j * W), y);
        g[j] = fma(du, SHARED ? splat(B[j]) : load(B + j * W), r);
      }
      store(k.y + t * W, y);
    }
  }
#pragma GCC unroll 8
  for (int j = 0; j < COUNT; j++) store(k.h + (n + j) * W, h[j]);
}

template <int COUNT, bool SHARED, bool LIMITED>
inline void advanceSome(const BlockData& k, i64 n, i64 begin, i64 end, Asked asked = {}) {
  if (k.window > 1) advanceWindows<COUNT, SHARED, LIMITED>(k, n, begin, end, asked);
  else advance<COUNT, SHARED, LIMITED>(k, n, begin, end, asked);
}

template <bool SHARED, bool LIMITED>
void advanceAll(const BlockData& k, RowsAhead& ahead, i64 begin, i64 end) {
  i64 n = 0;
  // Of fewer states than a group the first pass asks.
  Asked first = k.states < GROUP ? ahead.during(end - begin) : Asked{};
  for (; n + GROUP <= k.states; n += GROUP) advanceSome<GROUP, SHARED, LIMITED>(k, n, begin, end, ahead.during(end - begin));
  if constexpr (GROUP > 4)
    for (; n + 4 <= k.states; n += 4, first = {}) advanceSome<4, SHARED, LIMITED>(k, n, begin, end, first);
  for (; n + 2 <= k.states; n += 2, first = {}) advanceSome<2, SHARED, LIMITED>(k, n, begin, end, first);
  for (; n < k.states; n++, first = {}) advanceSome<1, SHARED, LIMITED>(k, n, begin, end, first);
}

void advanceBlock(const BlockData& k, RowsAhead& ahead, bool shared, bool limited, i64 begin, i64 end) {
  if (shared) {
    if (limited) advanceAll<true, true>(k, ahead, begin, end);
    else advanceAll<true, false>(k, ahead, begin, end);
  } else {
    if (limited) advanceAll<false, true>(k, ahead, begin, end);
    else advanceAll<false, false>(k, ahead, begin, end);
  }
}

/// Channels [first, last) of sequence b, and a thread's memory for them.
struct Channels {
  i64 b, first, last;
  /// (vectors, N) vectors: the states.
  float* h;
  i64 vectors() const { return (last - first + W - 1) / W; }
  i64 lanes(i64 v) const { return least<i64>(W, last - first - v * W); }
};

Channels startChannels(const Args& args, const ScanOperands& o, const View& initialState, i64 b, i64 first, i64 last, i32 thread) {
  const i64 N = o.states;
  Channels c = {};
  c.b = b;
  c.first = first;
  c.last = last;
  const i64 most = (last - first + W - 1) / W;
  c.h = args.scratch<float>(thread, 0, most * N * W);
  for (i64 v = 0; v < c.vectors(); v++) {
    const i64 d = first + v * W, lanes = c.lanes(v);
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

/// A block of steps of one cache line of channels: step sizes, from DU on inputs, from Y on outputs, (LINE_VECTORS, BLOCK)
/// vectors each.
constexpr i64 DU = LINE_VECTORS * BLOCK * W, Y = 2 * DU;
struct Series {
  alignas(64) float dt[3 * DU];
  alignas(64) float decays[BLOCK * GROUP * W];
  /// Largest |dt| of each vector.
  vf steepest[LINE_VECTORS];
  /// Of each step: where u, z and the output lie, and where delta lies.
  i64 position[BLOCK], row[BLOCK];
};

/// Step sizes, inputs and what D gives of the outputs, for `count` channels from d on.
template <bool SOFTPLUS, bool WHOLE>
void readLine(const ScanOperands& o, i64 b, i64 d, i64 count, i64 steps, Series& s) {
  const Line<WHOLE> deltas(o.delta, b, d, count), us(o.u, b, d, count);
  constexpr int VECTORS = WHOLE ? LINE_VECTORS : 1;
  // Chains that hide each other's latency, as registers allow.
  constexpr int STEPS = W == 16 ? 4 : 2;
  for (i64 first = 0; first * W < count; first += VECTORS) {
    vf bias[VECTORS], skip[VECTORS], steepest[VECTORS];
    for (int v = 0; v < VECTORS; v++) {
      const i64 lane = (first + v) * W;
      bias[v] = o.deltaBias ? loadAny(o.deltaBias, d + lane, count - lane) : vf{};
      skip[v] = o.D ? loadAny(o.D, d + lane, count - lane) : vf{};
      steepest[v] = vf{};
    }
    // Several steps at once; at the end the last is computed more than once.
    for (i64 t = 0; t < steps; t += STEPS) {
      i64 at[STEPS];
      for (int i = 0; i < STEPS; i++) at[i] = least(t + i, steps - 1);
      vf dt[STEPS * VECTORS], small[STEPS * VECTORS];
      for (int i = 0; i < STEPS; i++)
        for (int v = 0; v < VECTORS; v++) dt[i * VECTORS + v] = deltas.read(s.row[at[i]], (first + v) * W) + bias[v];
      if (SOFTPLUS) softplusEach(dt, small);
      for (int i = 0; i < STEPS; i++)
        for (int v = 0; v < VECTORS; v++) {
          const vf x = dt[i * VECTORS + v], u = us.read(s.position[at[i]], (first + v) * W), magnitude = vabs(x);
          steepest[v] = choose(magnitude > steepest[v], magnitude, steepest[v]);
          float* const to = s.dt + ((first + v) * BLOCK + at[i]) * W;
          store(to, x);
          store(to + DU, x * u);
          store(to + Y, skip[v] * u);
        }
    }
    for (int v = 0; v < VECTORS; v++) s.steepest[first + v] = steepest[v];
  }
}

/// Outputs through the gate.
enum Gate { UNGATED, GATED, SUM_GATED };
template <Gate GATE, bool WHOLE, bool ADDS>
void writeLine(const ScanOperands& o, const Outputs& to, i64 b, i64 d, i64 count, i64 steps, const Series& s) {
  const Line<WHOLE> outs(to.out, b, d, count), zs(GATE != UNGATED ? o.z : to.out, b, d, count);
  for (i64 t = 0; t < steps; t++) {
    const i64 p = s.position[t];
    for (i64 v = 0; WHOLE ? v < LINE_VECTORS : v * W < count; v++) {
      vf y = load(s.dt + Y + (v * BLOCK + t) * W);
      if (GATE == GATED) y = y * gate(zs.read(p, v * W));
      if (ADDS) y = outs.read(p, v * W) + y;
      if (GATE == SUM_GATED) y = y * gate(zs.read(p, v * W));
      outs.write(p, v * W, y);
    }
  }
}

template <bool WHOLE>
void writeLine(const ScanOperands& o, const Outputs& to, i64 b, i64 d, i64 count, i64 steps, const Series& s) {
  if (to.gatesSum) writeLine<SUM_GATED, WHOLE, true>(o, to, b, d, count, steps, s);
  else if (to.adds) (o.z ? writeLine<GATED, WHOLE, true> : writeLine<UNGATED, WHOLE, true>)(o, to, b, d, count, steps, s);
  else (o.z ? writeLine<GATED, WHOLE, false> : writeLine<UNGATED, WHOLE, false>)(o, to, b, d, count, steps, s);
}

/// All steps of a strip; `after` is what the thread probably takes next.
void scanStrip(const Args& args, const Strip& strip, const Strip& after, const Spectra& spectra, i64 chunk, i32 thread) {
  const ScanOperands& o = strip.direction->o;
  const Outputs& to = strip.direction->to;
  const i64 N = o.states, k = strip.k, b = strip.b, first = strip.first, last = strip.last;
  spectra.prepare(k, first / W, (last + W - 1) / W);
  const Channels c = startChannels(args, o, to.initialState, b, first, last, thread);
  const Map mapB = mapOf(o.B), mapC = mapOf(o.C);
  const bool shared = mapB.shared(first, last - first, o.channels) && mapC.shared(first, last - first, o.channels);
  float* rowsB = args.scratch<float>(thread, 1, 2 * BLOCK * N * (shared ? 1 : W));
  float* rowsC = rowsB + BLOCK * N * (shared ? 1 : W);
  const bool inPlace = shared && (!o.path || o.byStep) && o.B.dtype == FLOAT32 && o.C.dtype == FLOAT32 && o.B.stride[3] == 1 && o.C.stride[3] == 1;
  const i64 forward = o.reverse ? -1 : 1;
  const i64 stepB = inPlace ? forward * o.B.stride[1] : shared ? N : mapB.fixed ? 0 : N * W;
  const i64 stepC = inPlace ? forward * o.C.stride[1] : shared ? N : mapC.fixed ? 0 : N * W;
  const bool floats = o.u.dtype == FLOAT32 && o.delta.dtype == FLOAT32 && to.out.dtype == FLOAT32 && (!o.z || o.z.dtype == FLOAT32);
  RowsAhead ahead(strip, after);
  Series series;
  // Whole windows.
  const i64 wholeWindows = o.window > 1 ? BLOCK / o.window * o.window : BLOCK;
  for (i64 step = 0; step < o.length;) {
    i64 steps = least(wholeWindows, o.length - step);
    if (to.chunkStates) steps = least(steps, chunk - step % chunk);
    for (i64 t = 0; t < steps; t++) {
      series.position[t] = o.position(step + t);
      series.row[t] = o.byStep ? o.placeOf(step + t) : series.position[t];
    }
    const float *B = rowsB, *C = rowsC;
    if (inPlace) {
      B = (const float*)o.B.data + mapB.row(b, o.row(step), mapB.group(first, o.channels));
      C = (const float*)o.C.data + mapC.row(b, o.row(step), mapC.group(first, o.channels));
    } else if (shared) {
      sharedRows(mapB, o, b, mapB.group(first, o.channels), step, steps, rowsB);
      sharedRows(mapC, o, b, mapC.group(first, o.channels), step, steps, rowsC);
    }
    ahead.start(step + steps, c.vectors() * most<i64>(1, N / GROUP));
    for (i64 line = 0; line < c.vectors(); line += LINE_VECTORS) {
      const i64 channel = first + line * W, count = least(LINE, last - channel), vectors = (count + W - 1) / W;
      const bool whole = floats && count == LINE;
      float* kept = nullptr;
      if (to.chunkStates && step % chunk == 0) {
        const View& s = to.chunkStates;
        kept = (float*)s.data + b * s.stride[0] + step / chunk * s.stride[1] + channel;
        for (i64 n = 0; n < N; n++) __builtin_prefetch(kept + n * s.stride[2]);
      }
      if (whole) (o.softplus ? readLine<true, true> : readLine<false, true>)(o, b, channel, LINE, steps, series);
      else (o.softplus ? readLine<true, false> : readLine<false, false>)(o, b, channel, count, steps, series);
      for (i64 i = 0; i < vectors; i++) {
        const i64 v = line + i, d = first + v * W, lanes = c.lanes(v);
        if (!shared) {
          laneRows(mapB, o, b, d, lanes, step, steps, rowsB);
          laneRows(mapC, o, b, d, lanes, step, steps, rowsC);
        }
        float* hv = c.h + v * N * W;
        if (kept)
          for (i64 n = 0; n < N; n++) storeUpTo<F32>(kept + n * to.chunkStates.stride[2] + i * W, load(hv + n * W), lanes);
        const i64 at = i * BLOCK * W;
        const BlockData data = {spectra.of(k, first / W + v), hv, B, C, stepB, stepC, series.dt + at, series.dt + DU + at, series.dt + Y + at, N, o.window, series.decays};
        const bool limited = needsLimits(series.steepest[i], spectra.largest(k, first / W + v));
        for (i64 t = 0; t < steps;) {
          // A run of steps without a new sequence in its middle; one step at a time where every state is wanted.
          i64 end = to.states ? t + 1 : steps;
          if (o.resets) {
            if (o.startsAt(b, o.position(step + t)))
              for (i64 n = 0; n < N; n++) store(hv + n * W, vf{});
            for (i64 i = t + 1; i < end; i++)
              if (o.startsAt(b, o.position(step + i))) end = i;
          }
          advanceBlock(data, ahead, shared, limited, t, end);
          if (to.states) {
            const View& s = to.states;
            float* at = (float*)s.data + b * s.stride[0] + o.position(step + t) * s.stride[1];
            for (i64 l = 0; l < lanes; l++)
              for (i64 n = 0; n < N; n++) at[(d + l) * s.stride[2] + n * s.stride[3]] = hv[n * W + l];
          }
          t = end;
        }
      }
      if (whole) writeLine<true>(o, to, b, channel, LINE, steps, series);
      else writeLine<false>(o, to, b, channel, count, steps, series);
    }
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
void oneStep(const Args& args, const ScanOperands& o, const Outputs& to) {
  const View& initialState = to.initialState;
  const i64 N = o.states, D = o.channels;
  const Map mapB = mapOf(o.B), mapC = mapOf(o.C);
  args.ranges(o.batch * ((D + W - 1) / W), 32, [&](i64 begin, i64 end, i32) {
    for (i64 i = begin; i < end; i++) {
      const i64 blocks = (D + W - 1) / W;
      const i64 b = i / blocks, d0 = i % blocks * W, lanes = least<i64>(W, D - d0);
      const i64 p = o.position(0), row = o.row(0);
      vf dt = loadAny(o.delta, b * o.delta.stride[0] + row * o.delta.stride[1] + d0, lanes) + (o.deltaBias ? loadAny(o.deltaBias, d0, lanes) : vf{});
      if (o.softplus) dt = softplus(dt);
      const vf u = loadAny(o.u, b * o.u.stride[0] + p * o.u.stride[1] + d0, lanes);
      vf y = o.D ? loadAny(o.D, d0, lanes) * u : vf{};
      const bool fresh = o.startsAt(b, p);
      for (i64 l = 0; l < lanes; l++) {
        const i64 d = d0 + l;
        const float* before = initialState && !fresh ? (const float*)initialState.data + b * initialState.stride[0] + d * initialState.stride[1] : nullptr;
        float* after = to.finalState ? (float*)to.finalState.data + b * to.finalState.stride[0] + d * to.finalState.stride[1] : nullptr;
        const float* a = (const float*)o.A.data + d * o.A.stride[0];
        const float* B = (const float*)o.B.data + (mapB.fixed ? d * o.B.stride[0] : mapB.row(b, row, mapB.group(d, D)));
        const float* C = (const float*)o.C.data + (mapC.fixed ? d * o.C.stride[0] : mapC.row(b, row, mapC.group(d, D)));
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
  const ScanOperands o = scanOperands(args, 9, 10);
  if (!o.pathsInRange(args)) return;
  const bool merged = args[11].dim[2] != o.channels * o.directions;
  const Summed out(args, 0, args[11], merged);
  const Outputs to = {*out, args[12], args[13], args[14], args[8], false, false};
  const i64 chunk = (i64)args.number[2];
  const bool plain = o.A.dtype == FLOAT32 && o.A.stride[1] == 1 && o.B.dtype == FLOAT32 && o.C.dtype == FLOAT32 &&
                     o.B.stride[o.B.rank - 1] == 1 && o.C.stride[o.C.rank - 1] == 1;
  if (o.positions == 1 && o.directions == 1 && plain && !to.states && !to.chunkStates) return oneStep(args, o, to);
  // One gate for the sum of all directions is applied with the last, where each of them comes to every position.
  const bool gatesSum = merged && o.directions > 1 && o.z && o.z.dim[2] == o.channels && o.length == o.positions;
  // Directions that share the positions out meet nowhere.
  const bool meets = merged && !o.sharePositionsOut(args, 2), gaps = o.length < o.positions;
  Direction* const directions = args.shared<Direction>(3, o.directions);
  for (i64 k = 0; k < o.directions; k++) {
    directions[k] = {o.along(k), to.along(k, o.channels)};
    directions[k].to.adds = meets && (k > 0 || gaps);
    directions[k].to.gatesSum = gatesSum && k + 1 == o.directions;
    if (gatesSum && k + 1 < o.directions) directions[k].o.z = View{};
  }
  // A task takes a block of channels through every direction where these add up, else through one.
  const i64 split = meets ? 1 : o.directions;
  // Few channels are spread over more, smaller tasks.
  const ScanOperands& one = directions[0].o;
  i64 width = withinGroups(one, TASK);
  while (width > W && o.batch * split * ((o.channels + width - 1) / width) < 2 * args.runtime->threads)
    width = withinGroups(one, width - W);
  const i64 blocks = (o.channels + width - 1) / width, tasks = o.batch * split * blocks;
  const Spectra spectra(args, 1, o);
  const auto strip = [&](i64 task, i64 k) {
    const i64 first = task % blocks * width;
    return Strip{task < tasks ? directions + k : nullptr, k, task / blocks / split, first, least(o.channels, first + width)};
  };
  const auto firstDirection = [&](i64 task) { return task / blocks % split; };
  args.parallel(tasks, [&](i64 task, i32 thread) {
    for (i64 k = firstDirection(task); k < o.directions; k += split) {
      const Strip now = strip(task, k);
      const i64 later = task + args.runtime->threads;
      const Strip after = k + split < o.directions ? strip(task, k + split) : strip(later, firstDirection(later));
      if (gaps && (meets ? k == 0 : !merged)) zeroRows(now.direction->to.out, now.b, now.first, now.last);
      scanStrip(args, now, after, spectra, chunk, thread);
    }
  });
  out.round(args);
}

}  // namespace MK_ISA
