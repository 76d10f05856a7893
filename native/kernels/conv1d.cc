// The causal depth-wise convolution over time, with carried state, and its gradient. A lane is a channel; weights are
// turned to (K, D) once. Sums over time and batch are made by fixed blocks, then over the blocks in order.
// Letters: B batch, L length, D channels, K width.
#include "../kernels.h"
#include "../vec.h"

namespace MK_ISA {

namespace {

/// Steps a task.
constexpr i64 STEPS = 128;
/// Vectors of channels a task.
constexpr i64 VECTORS = 16;

struct Convolution {
  View input, weight, bias, initialState, resets;
  i64 batch, length, channels, width;
  bool silu;
  /// (K, D rounded up) floats.
  float* taps;
  i64 row;

  bool startsAt(i64 b, i64 t) const {
    return resets && ((const u8*)resets.data)[b * resets.stride[0] + t * resets.stride[1]] != 0;
  }
  /// Steps back from t that belong to the same sequence, up to K - 1; beyond the first input the state counts.
  i64 reach(i64 b, i64 t) const {
    i64 back = 0;
    while (back < width - 1 && !(t - back >= 0 && startsAt(b, t - back))) back++;
    return back;
  }
  /// Input at step t of channels d..., where t < 0 lies in the initial state.
  vf at(i64 b, i64 t, i64 d, i64 lanes) const {
    if (t >= 0) return loadAny(input, b * input.stride[0] + t * input.stride[1] + d, lanes);
    if (!initialState) return vf{};
    return loadAny(initialState, b * initialState.stride[0] + (width + t) * initialState.stride[1] + d, lanes);
  }
  vf before(i64 b, i64 t, i64 d, i64 lanes, vf start) const {
    vf y = start;
    const i64 back = reach(b, t);
    for (i64 k = back; k >= 0; k--) y = fma(load(taps + (width - 1 - k) * row + d), at(b, t - k, d, lanes), y);
    return y;
  }
};

/// An operand with time from its end, where steps run so.
View inOrder(const Args& args, const View& v) {
  if (args.number[1] == 0 || !v) return v;
  const i64 size = v.dtype == FLOAT32 ? 4 : v.dtype == UINT8 || v.dtype == BOOL ? 1 : 2;
  View turned = v;
  turned.data += most<i64>(0, v.dim[1] - 1) * v.stride[1] * size;
  turned.stride[1] = -v.stride[1];
  return turned;
}

Convolution read(const Args& args) {
  Convolution c;
  c.input = inOrder(args, args[0]);
  c.weight = args[1];
  c.bias = args[2];
  c.initialState = args[3];
  c.resets = inOrder(args, args[4]);
  c.batch = c.input.dim[0];
  c.length = c.input.dim[1];
  c.channels = c.input.dim[2];
  c.width = c.weight.dim[2];
  c.silu = args.number[0] != 0;
  c.row = (c.channels + W - 1) / W * W;
  c.taps = args.shared<float>(0, c.width * c.row);
  for (i64 k = 0; k < c.width; k++)
    for (i64 d = 0; d < c.row; d++)
      c.taps[k * c.row + d] = d < c.channels ? elementAt(c.weight, d * c.weight.stride[0] + k * c.weight.stride[2]) : 0;
  return c;
}

vf biasAt(const Convolution& c, i64 d, i64 lanes) { return c.bias ? loadAny(c.bias, d, lanes) : vf{}; }

/// The last K inputs, oldest first, zeros where the sequence is shorter. In place of the initial state it is safe: a
/// vector of channels is read whole before it is written.
void writeState(const Args& args, const Convolution& c, const View& to) {
  args.ranges(c.batch * (c.row / W), 64, [&](i64 begin, i64 end, i32 thread) {
    float* kept = args.scratch<float>(thread, 0, c.width * W);
    for (i64 i = begin; i < end; i++) {
      const i64 b = i / (c.row / W), d = i % (c.row / W) * W, lanes = least<i64>(W, c.channels - d);
      bool ended = false;
      for (i64 k = 0; k < c.width; k++) {
        const i64 t = c.length - 1 - k;
        store(kept + k * W, ended || t < -c.width ? vf{} : c.at(b, t, d, lanes));
        if (t >= 0 && c.startsAt(b, t)) ended = true;
      }
      for (i64 k = 0; k < c.width; k++)
        storeAny(to, b * to.stride[0] + (c.width - 1 - k) * to.stride[1] + d, load(kept + k * W), lanes);
    }
  });
}

/// Pieces of (batch, steps, channels) that tasks take.
struct Tiles {
  i64 batch, timeTiles, channelTiles;
  i64 count() const { return batch * timeTiles * channelTiles; }
};
Tiles tilesOf(const Convolution& c) {
  return {c.batch, (c.length + STEPS - 1) / STEPS, (c.channels + VECTORS * W - 1) / (VECTORS * W)};
}

/// The common case: four taps, whole history in the input, no new sequence inside the steps.
void fourTaps(const Convolution& c, const View& out, i64 b, i64 begin, i64 end, i64 d, i64 lanes) {
  const vf w0 = load(c.taps + d), w1 = load(c.taps + c.row + d), w2 = load(c.taps + 2 * c.row + d), w3 = load(c.taps + 3 * c.row + d);
  const vf bias = biasAt(c, d, lanes);
  vf x0 = c.at(b, begin - 3, d, lanes), x1 = c.at(b, begin - 2, d, lanes), x2 = c.at(b, begin - 1, d, lanes);
  for (i64 t = begin; t < end; t++) {
    const vf x3 = c.at(b, t, d, lanes);
    vf y = fma(w0, x0, bias);
    y = fma(w1, x1, y);
    y = fma(w2, x2, y);
    y = fma(w3, x3, y);
    if (c.silu) y = y * sigmoid(y);
    storeAny(out, b * out.stride[0] + t * out.stride[1] + d, y, lanes);
    x0 = x1;
    x1 = x2;
    x2 = x3;
  }
}

/// The common case again: the gradient before the activation into `pre` (where there is one), and the sums over these
/// steps for taps and bias into `part`.
void fourTapsGrad(const Convolution& c, const View& gradOut, const View& pre, i64 b, i64 begin, i64 end, i64 d, i64 lanes,
                  float* part) {
  vf w[4], acc[4] = {}, total = {};
  for (int k = 0; k < 4; k++) w[k] = load(c.taps + k * c.row + d);
  const vf bias = biasAt(c, d, lanes);
  vf x[4] = {c.at(b, begin - 3, d, lanes), c.at(b, begin - 2, d, lanes), c.at(b, begin - 1, d, lanes), {}};
  for (i64 t = begin; t < end; t++) {
    x[3] = c.at(b, t, d, lanes);
    vf g = loadAny(gradOut, b * gradOut.stride[0] + t * gradOut.stride[1] + d, lanes);
    if (c.silu) {
      const vf y = fma(w[3], x[3], fma(w[2], x[2], fma(w[1], x[1], fma(w[0], x[0], bias))));
      const vf s = sigmoid(y);
      g = g * (s * (1.0f + y * (1.0f - s)));
      storeAny(pre, b * pre.stride[0] + t * pre.stride[1] + d, g, lanes);
    }
    total = total + g;
    for (int k = 0; k < 4; k++) acc[k] = fma(g, x[k], acc[k]);
    for (int k = 0; k < 3; k++) x[k] = x[k + 1];
  }
  for (int k = 0; k < 4; k++) store(part + k * c.row + d, acc[k]);
  store(part + 4 * c.row + d, total);
}

}  // namespace

void causalConv1d(const Args& args) {
  for (int i = 0; i < 4; i++)
    if (args[i] && args[i].dtype > BFLOAT16) return args.operandError(i);
  const Convolution c = read(args);
  const View out = inOrder(args, args[5]);
  const View& finalState = args[6];
  const Tiles tiles = tilesOf(c);
  args.parallel(tiles.count(), [&](i64 i, i32) {
    const i64 first = i % tiles.channelTiles * VECTORS * W;
    const i64 begin = i / tiles.channelTiles % tiles.timeTiles * STEPS;
    const i64 b = i / tiles.channelTiles / tiles.timeTiles;
    const i64 end = least(c.length, begin + STEPS), last = least(c.channels, first + VECTORS * W);
    for (i64 d = first; d < last; d += W) {
      const i64 lanes = least<i64>(W, last - d);
      if (c.width == 4 && !c.resets) {
        fourTaps(c, out, b, begin, end, d, lanes);
        continue;
      }
      const vf bias = biasAt(c, d, lanes);
      for (i64 t = begin; t < end; t++) {
        vf y = c.before(b, t, d, lanes, bias);
        if (c.silu) y = y * sigmoid(y);
        storeAny(out, b * out.stride[0] + t * out.stride[1] + d, y, lanes);
      }
    }
  });
  if (finalState) writeState(args, c, finalState);
}

void causalConv1dGrad(const Args& args) {
  for (int i = 0; i < 4; i++)
    if (args[i] && args[i].dtype > BFLOAT16) return args.operandError(i);
  const Convolution c = read(args);
  const View gradOut = inOrder(args, args[5]);
  const View& gradFinalState = args[6];
  const View gradIn = inOrder(args, args[7]);
  const View& gradWeight = args[8];
  const View& gradBias = args[9];
  const View& gradInitialState = args[10];
  const i64 K = c.width, L = c.length;

  // Gradient before the activation, (B, L, D) float32.
  const View* through = &gradOut;
  View pre = gradOut;
  if (c.silu) {
    pre.data = (char*)args.shared<float>(1, c.batch * L * c.row);
    pre.dtype = FLOAT32;
    pre.stride[0] = L * c.row;
    pre.stride[1] = c.row;
    pre.stride[2] = 1;
    through = &pre;
  }
  // Sums for weights and bias: one row of (K + 1, D) for each tile of time.
  const Tiles tiles = tilesOf(c);
  const i64 partRow = (K + 1) * c.row;
  float* parts = args.shared<float>(2, c.batch * tiles.timeTiles * partRow);
  args.parallel(tiles.count(), [&](i64 i, i32 thread) {
    const i64 first = i % tiles.channelTiles * VECTORS * W;
    const i64 timeTile = i / tiles.channelTiles % tiles.timeTiles, b = i / tiles.channelTiles / tiles.timeTiles;
    const i64 begin = timeTile * STEPS, end = least(L, begin + STEPS), last = least(c.channels, first + VECTORS * W);
    float* part = parts + (b * tiles.timeTiles + timeTile) * partRow;
    float* acc = args.scratch<float>(thread, 0, (K + 1) * W);
    for (i64 d = first; d < last; d += W) {
      const i64 lanes = least<i64>(W, last - d);
      const vf bias = biasAt(c, d, lanes);
      if (K == 4 && !c.resets) {
        fourTapsGrad(c, gradOut, pre, b, begin, end, d, lanes, part);
        continue;
      }
      for (i64 k = 0; k <= K; k++) store(acc + k * W, vf{});
      for (i64 t = begin; t < end; t++) {
        vf g = loadAny(gradOut, b * gradOut.stride[0] + t * gradOut.stride[1] + d, lanes);
        if (c.silu) {
          const vf y = c.before(b, t, d, lanes, bias);
          const vf s = sigmoid(y);
          g = g * (s * (1.0f + y * (1.0f - s)));
          storeAny(pre, b * pre.stride[0] + t * pre.stride[1] + d, g, lanes);
        }
        store(acc + K * W, load(acc + K * W) + g);
        const i64 back = c.reach(b, t);
        for (i64 k = 0; k <= back; k++) {
          float* a = acc + (K - 1 - k) * W;
          store(a, fma(g, c.at(b, t - k, d, lanes), load(a)));
        }
      }
      for (i64 k = 0; k <= K; k++) store(part + k * c.row + d, load(acc + k * W));
    }
  });

  // Input at step t meets outputs t .. t + K - 1 of its own sequence.
  const auto gradientOfInput = [&](i64 b, i64 t, i64 d, i64 lanes) {
    vf x = {};
    for (i64 k = 0; k < K; k++) {
      const i64 later = t + k;
      if (later < 0) continue;
      if (later >= L || (k > 0 && c.startsAt(b, later))) break;
      x = fma(load(c.taps + (K - 1 - k) * c.row + d), loadAny(*through, b * through->stride[0] + later * through->stride[1] + d, lanes), x);
    }
    // The last K inputs of the last sequence are the final state, too.
    if (gradFinalState && t >= L - K) {
      bool kept = true;
      for (i64 later = most<i64>(t + 1, 0); later < L; later++) kept = kept && !c.startsAt(b, later);
      if (kept) x = x + loadAny(gradFinalState, b * gradFinalState.stride[0] + (K - L + t) * gradFinalState.stride[1] + d, lanes);
    }
    return x;
  };
  args.parallel(tiles.count(), [&](i64 i, i32) {
    const i64 first = i % tiles.channelTiles * VECTORS * W;
    const i64 begin = i / tiles.channelTiles % tiles.timeTiles * STEPS, b = i / tiles.channelTiles / tiles.timeTiles;
    const i64 end = least(L, begin + STEPS), last = least(c.channels, first + VECTORS * W);
    for (i64 d = first; d < last; d += W) {
      const i64 lanes = least<i64>(W, last - d);
      // Away from the end each input meets K outputs of its own sequence.
      const i64 inside = c.resets ? begin : most(begin, least(end, L - K));
      for (i64 t = begin; t < inside; t++) {
        vf x = {};
        for (i64 k = 0; k < K; k++)
          x = fma(load(c.taps + (K - 1 - k) * c.row + d),
                  loadAny(*through, b * through->stride[0] + (t + k) * through->stride[1] + d, lanes), x);
        storeAny(gradIn, b * gradIn.stride[0] + t * gradIn.stride[1] + d, x, lanes);
      }
      for (i64 t = inside; t < end; t++)
        storeAny(gradIn, b * gradIn.stride[0] + t * gradIn.stride[1] + d, gradientOfInput(b, t, d, lanes), lanes);
      if (gradInitialState && begin == 0)
        for (i64 k = 0; k < K; k++)
          storeAny(gradInitialState, b * gradInitialState.stride[0] + k * gradInitialState.stride[1] + d, gradientOfInput(b, k - K, d, lanes), lanes);
    }
  });
  args.ranges(c.channels, 8 * W, [&](i64 begin, i64 end, i32) {
    for (i64 d = begin; d < end; d += W) {
      const i64 lanes = least<i64>(W, end - d);
      for (i64 k = 0; k <= K; k++) {
        vf total = {};
        for (i64 p = 0; p < c.batch * tiles.timeTiles; p++) total = total + load(parts + p * partRow + k * c.row + d);
        if (k == K) {
          if (gradBias) storeAny(gradBias, d, total, lanes);
          continue;
        }
        for (i64 l = 0; l < lanes; l++)
          storeAny(gradWeight, (d + l) * gradWeight.stride[0] + k * gradWeight.stride[2], splat(total[l]), 1);
      }
    }
  });
}

}  // namespace MK_ISA
