// RMSNorm and LayerNorm over rows, the residual addition fused in, and their gradients. A row is summed by vectors in one
// order; sums over rows (the weights' gradients) are made by fixed blocks of rows, then over the blocks in order.
#include "../kernels.h"
#include "../vec.h"

namespace MK_ISA {

namespace {

/// Rows a task.
constexpr i64 ROWS = 16;
/// Rows a block of the weights' gradients at least; there are at most this many blocks.
constexpr i64 BLOCKS = 64;

bool floats(const Args& args, int count) {
  for (int i = 0; i < count; i++)
    if (args[i] && args[i].dtype > BFLOAT16) {
      args.operandError(i);
      return false;
    }
  return true;
}

/// One row as floats in scratch, the residual added and the sum written where they are given.
void readRow(const View& input, const View& residual, const View& sum, i64 r, i64 n, float* row) {
  for (i64 i = 0; i < n; i += W) {
    vf x = loadAny(input, r * input.stride[0] + i, n - i);
    if (residual) x = x + loadAny(residual, r * residual.stride[0] + i, n - i);
    if (sum) storeAny(sum, r * sum.stride[0] + i, x, n - i);
    store(row + i, x);
  }
}

float meanSquare(const float* row, i64 n, float center) {
  vf a = {}, b = {};
  i64 i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    const vf x = load(row + i) - center, y = load(row + i + W) - center;
    a = fma(x, x, a);
    b = fma(y, y, b);
  }
  for (; i < n; i += W) {
    const vf x = firstLanes(load(row + i) - center, n - i);
    a = fma(x, x, a);
  }
  return sum(a + b) / (float)n;
}

float average(const float* row, i64 n) {
  vf a = {};
  for (i64 i = 0; i < n; i += W) a = a + loadUpTo<F32>(row + i, n - i);
  return sum(a) / (float)n;
}

i64 rowSpace(i64 n) { return (n + W - 1) / W * W; }

/// Shared by both norms: `centered` subtracts the mean.
void normalize(const Args& args, const View& input, const View& residual, const View& weight, const View& bias, const View& out,
               const View& sumOut, const View& mean, const View& rstd, float eps, bool centered) {
  const i64 rows = input.dim[0], n = input.dim[1];
  args.ranges(rows, ROWS, [&](i64 begin, i64 end, i32 thread) {
    float* row = args.scratch<float>(thread, 0, rowSpace(n));
    for (i64 r = begin; r < end; r++) {
      readRow(input, residual, sumOut, r, n, row);
      const float center = centered ? average(row, n) : 0;
      const float scale = 1.0f / __builtin_sqrtf(meanSquare(row, n, center) + eps);
      if (mean) ((float*)mean.data)[r] = center;
      if (rstd) ((float*)rstd.data)[r] = scale;
      for (i64 i = 0; i < n; i += W) {
        vf x = (load(row + i) - center) * scale;
        if (weight) x = x * loadAny(weight, i, n - i);
        if (bias) x = x + loadAny(bias, i, n - i);
        storeAny(out, r * out.stride[0] + i, x, n - i);
      }
    }
  });
}

/// gradIn = rstd (g w - mean(g w) - xhat mean(g w xhat)) + gradSum; the middle term only where centred.
void normalizeGrad(const Args& args, const View& input, const View& weight, const View& mean, const View& rstd,
                   const View& gradOut, const View& gradSum, const View& gradIn, const View& gradWeight, const View& gradBias,
                   bool centered) {
  const i64 rows = input.dim[0], n = input.dim[1];
  // Blocks depend on the shape alone.
  const i64 perBlock = most<i64>(ROWS, (rows + BLOCKS - 1) / BLOCKS);
  const i64 blocks = (rows + perBlock - 1) / perBlock;
  const i64 space = rowSpace(n);
  float* parts = gradWeight || gradBias ? args.shared<float>(0, blocks * 2 * space) : nullptr;
  args.parallel(blocks, [&](i64 block, i32 thread) {
    float* hat = args.scratch<float>(thread, 0, 2 * space);
    float* g = hat + space;
    float* sumWeight = parts ? parts + block * 2 * space : nullptr;
    if (parts)
      for (i64 i = 0; i < 2 * space; i += W) store(sumWeight + i, vf{});
    const i64 end = least(rows, (block + 1) * perBlock);
    for (i64 r = block * perBlock; r < end; r++) {
      const float center = centered ? ((const float*)mean.data)[r] : 0;
      const float scale = ((const float*)rstd.data)[r];
      vf dot = {}, total = {};
      for (i64 i = 0; i < n; i += W) {
        const i64 left = n - i;
        const vf x = firstLanes((loadAny(input, r * input.stride[0] + i, left) - center) * scale, left);
        const vf go = loadAny(gradOut, r * gradOut.stride[0] + i, left);
        if (sumWeight) {
          store(sumWeight + i, fma(go, x, load(sumWeight + i)));
          store(sumWeight + space + i, load(sumWeight + space + i) + go);
        }
        const vf gw = weight ? go * loadAny(weight, i, left) : go;
        store(hat + i, x);
        store(g + i, gw);
        dot = fma(gw, x, dot);
        total = total + gw;
      }
      const float meanDot = sum(dot) / (float)n;
      const float meanG = centered ? sum(total) / (float)n : 0;
      for (i64 i = 0; i < n; i += W) {
        vf x = scale * (load(g + i) - meanG - load(hat + i) * meanDot);
        if (gradSum) x = x + loadAny(gradSum, r * gradSum.stride[0] + i, n - i);
        storeAny(gradIn, r * gradIn.stride[0] + i, x, n - i);
      }
    }
  });
  if (!parts) return;
  args.ranges(n, 16 * W, [&](i64 begin, i64 end, i32) {
    for (i64 i = begin; i < end; i += W) {
      vf w = {}, b = {};
      for (i64 block = 0; block < blocks; block++) {
        w = w + load(parts + block * 2 * space + i);
        b = b + load(parts + block * 2 * space + space + i);
      }
      if (gradWeight) storeAny(gradWeight, i, w, end - i);
      if (gradBias) storeAny(gradBias, i, b, end - i);
    }
  });
}

const View NONE = {};

}  // namespace

void rmsNorm(const Args& args) {
  if (!floats(args, 6)) return;
  normalize(args, args[0], args[1], args[2], NONE, args[3], args[4], NONE, args[5], (float)args.number[0], false);
}

void rmsNormGrad(const Args& args) {
  if (!floats(args, 7)) return;
  normalizeGrad(args, args[0], args[1], NONE, args[2], args[3], args[4], args[5], args[6], NONE, false);
}

void layerNorm(const Args& args) {
  if (!floats(args, 8)) return;
  normalize(args, args[0], args[1], args[2], args[3], args[4], args[5], args[6], args[7], (float)args.number[0], true);
}

void layerNormGrad(const Args& args) {
  if (!floats(args, 9)) return;
  normalizeGrad(args, args[0], args[1], args[2], args[3], args[4], args[5], args[6], args[7], args[8], true);
}

}  // namespace MK_ISA
