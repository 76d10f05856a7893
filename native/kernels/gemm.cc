// Matrix products. Both operands are packed into panels that the register tile reads in order; a task is a block of rows
// times a block of columns. Every element of the result sums over k in the same order (blocks of KC, then one step at a
// time), whatever the number of rows or threads. Few rows (decoding) go another way (gemm_few.cc).
#include "../kernels.h"
#include "../limits.h"
#include "gemm.h"
#include "strided.h"
#include "tile.h"
#include "transpose.h"

namespace MK_ISA {

namespace {

/// k steps a panel: a panel of b (KC x NR) is about the first-level cache.
constexpr i64 KC = 512;
/// Most rows a task: a block of a (MC x KC) fits the second-level cache.
constexpr i64 MC = MR * 16;
/// Floats of packed b at a time.
constexpr i64 SLAB = 1 << 21;

/// Groups of W lanes that hold P values.
constexpr int groups(int p) { return (p + W - 1) / W; }

/// A whole panel whose rows lie along k: squares are transposed in registers. A store may reach up to W - 1 values into
/// what is written next, or beyond the last panel.
template <class S, int P>
void packAlong(const typename S::T* const (&line)[P], i64 depth, float* to) {
  i64 k = 0;
  for (; k + W <= depth; k += W) {
    vf square[groups(P)][W];
    for (int g = 0; g < groups(P); g++) {
#pragma GCC unroll 16
      for (int i = 0; i < W; i++) square[g][i] = g * W + i < P ? S::load(line[least(g * W + i, P - 1)] + k) : vf{};
      transpose(square[g]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < W; i++)
      for (int g = 0; g < groups(P); g++) store(to + (k + i) * P + g * W, square[g][i]);
  }
  for (; k < depth; k++)
    for (int i = 0; i < P; i++) to[k * P + i] = S::get(line[i][k]);
}

/// Packs rows [0, rows) x k [0, depth) into panels of P rows: panel p holds P values for each k. Missing rows are 0.
template <class S, int P>
void packPanels(const typename S::T* from, i64 rowStride, i64 kStride, i64 rows, i64 depth, float* to) {
  for (i64 r = 0; r < rows; r += P, to += P * depth) {
    const i64 n = least<i64>(P, rows - r);
    const typename S::T* const source = from + r * rowStride;
    if (n == P && kStride == 1 && rowStride != 1) {
      const typename S::T* line[P];
      for (int i = 0; i < P; i++) line[i] = source + i * rowStride;
      packAlong<S, P>(line, depth, to);
    } else if (n == P && rowStride == 1 && P % W == 0) {
      for (i64 k = 0; k < depth; k++)
        for (int v = 0; v < P; v += W) store(to + k * P + v, S::load(source + k * kStride + v));
    } else if (n == P && rowStride == 1) {
      for (i64 k = 0; k < depth; k++)
        for (int i = 0; i < P; i++) to[k * P + i] = S::get(source[k * kStride + i]);
    } else {
      for (i64 k = 0; k < depth; k++)
        for (int i = 0; i < P; i++) to[k * P + i] = i < n ? S::get(source[i * rowStride + k * kStride]) : 0.0f;
    }
  }
}

template <int P>
void pack(const Matrix& m, i64 rowStride, i64 kStride, i64 row, i64 k, i64 rows, i64 depth, float* to) {
  withFloat(m.dtype, [&](auto tag) {
    using S = decltype(tag);
    packPanels<S, P>((const typename S::T*)m.data + row * rowStride + k * kStride, rowStride, kStride, rows, depth, to);
  });
}

/// acc (MR x V vectors) = panel of a times the first V vectors of a panel of b, over `depth` steps.
template <int V>
inline void sumProducts(const float* a, const float* b, i64 depth, vf (&acc)[MR][V]) {
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) acc[i][v] = vf{};
  for (i64 k = 0; k < depth; k++, a += MR, b += NR) {
    vf x[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) x[v] = load(b + v * W);
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
      const vf y = splat(a[i]);
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) acc[i][v] = fma(y, x[v], acc[i][v]);
    }
  }
}

/// out (MR x V vectors) = alpha times that, or that added to it. A function of its own, so that sums stay in registers from
/// the first step to the store: with few steps the way through memory took a third of the time.
template <int V>
__attribute__((noinline)) void tile(const float* a, const float* b, i64 depth, float* out, i64 stride, bool add, float alpha) {
  vf acc[MR][V];
  sumProducts(a, b, depth, acc);
  if (add) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) store(out + i * stride + v * W, alpha * acc[i][v] + load(out + i * stride + v * W));
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
      for (int v = 0; v < V; v++) store(out + i * stride + v * W, alpha * acc[i][v]);
  }
}

/// A tile of which `rows` rows and `columns` columns are wanted.
template <int V>
void tilePart(const float* a, const float* b, i64 depth, float* out, i64 stride, i64 rows, i64 columns, bool add, float alpha) {
  if (rows == MR && columns == V * W) return tile<V>(a, b, depth, out, stride, add, alpha);
  // The same arithmetic as a whole tile's, on a copy.
  float whole[MR * V * W];
  const auto rowsOf = [&](auto&& body) {
    for (i64 i = 0; i < rows; i++)
      for (int v = 0; v < V; v++) body(out + i * stride + v * W, whole + (i * V + v) * W, columns - v * W);
  };
  if (add) rowsOf([](float* there, float* here, i64 n) { store(here, loadUpTo<F32>(there, n)); });
  tile<V>(a, b, depth, whole, V * W, add, alpha);
  rowsOf([](float* there, float* here, i64 n) { storeUpTo<F32>(there, load(here), n); });
}

/// What a task works on: rows [row, row + rows) of out and columns [column, column + columns).
struct Block {
  i64 row, rows, column, columns;
};

/// Bias, activation and conversion of a block of finished sums, while the cache still holds them.
template <class S>
void finishBlock(const Problem& p, const Block& block, const float* sums, i64 stride) {
  for (i64 i = 0; i < block.rows; i++) {
    typename S::T* const out = (typename S::T*)p.out + (block.row + i) * p.outStride + block.column;
    for (i64 j = 0; j < block.columns; j += W) {
      const i64 n = block.columns - j;
      storeUpTo<S>(out + j, finished(p.epilogue, loadUpTo<F32>(sums + i * stride + j, n), block.column + j, n), n);
    }
  }
}

/// One block of out, from b packed as panels of columns from `firstColumn` on, `panels` for each block of k.
void multiplyBlock(const Args& args, const Problem& p, const Block& block, const float* packedB, i64 firstColumn,
                   i64 panels, i32 thread) {
  const i64 rows = block.rows, columns = block.columns;
  float* const packedA = args.scratch<float>(thread, 0, MC * KC + W);
  const bool half = p.outDtype != FLOAT32;
  float* out = (float*)p.out + block.row * p.outStride + block.column;
  i64 stride = p.outStride;
  // Half-precision results would be rounded at every block of k, so they are summed in float32 first.
  if (half) {
    out = args.scratch<float>(thread, 1, rows * columns);
    stride = columns;
    for (i64 i = 0; p.accumulate && i < rows; i++) {
      const char* const from = p.out + ((block.row + i) * p.outStride + block.column) * 2;
      stage(from, p.outDtype, 1, columns, out + i * stride);
    }
  }
  const i64 firstPanel = (block.column - firstColumn) / NR;
  for (i64 k = 0; k == 0 || k < p.K; k += KC) {
    const i64 depth = least(KC, p.K - k);
    pack<MR>(p.a, p.a.row, p.a.column, block.row, k, rows, depth, packedA);
    const float* b = packedB + k * panels * NR + firstPanel * NR * depth;
    for (i64 j = 0; j < columns; j += NR, b += NR * depth)
      for (i64 i = 0; i < rows; i += MR) {
        const i64 r = least<i64>(MR, rows - i), c = least<i64>(NR, columns - j);
        // A last panel of one vector is not computed twice as wide.
        const auto part = c <= W ? tilePart<1> : tilePart<NV>;
        part(packedA + i * depth, b, depth, out + i * stride + j, stride, r, c, k > 0 || p.accumulate, p.epilogue.alpha);
      }
  }
  if (half || p.epilogue.bias || p.epilogue.activation)
    withFloat(p.outDtype, [&](auto tag) { finishBlock<decltype(tag)>(p, block, out, stride); });
}

/// Packs columns [column, column + columns) of b over all of k: blocks of KC, each a row of panels.
void packB(const Problem& p, i64 column, i64 columns, i64 firstPanel, i64 lastPanel, float* to) {
  const i64 panels = (columns + NR - 1) / NR;
  for (i64 k = 0; k < p.K; k += KC) {
    const i64 depth = least(KC, p.K - k);
    const i64 first = firstPanel * NR;
    const i64 count = least(lastPanel * NR, columns) - first;
    pack<NR>(p.b, p.b.column, p.b.row, column + first, k, count, depth, to + k * panels * NR + first * depth);
  }
}

i64 roundUp(i64 n, i64 step) { return (n + step - 1) / step * step; }

/// One product over all threads.
void product(const Args& args, const Problem& p) {
  const i64 slab = most<i64>(NR, SLAB / most<i64>(1, p.K) / NR * NR);
  const i64 threads = args.runtime->threads;
  // Several tasks a thread keep all of them busy to the end: fewer rows a task first, then fewer columns.
  const i64 wanted = threads == 1 ? 1 : 4 * threads;
  const i64 rows = most<i64>(4 * MR, least(MC, roundUp((p.M + wanted - 1) / wanted, MR)));
  const i64 rowBlocks = (p.M + rows - 1) / rows;
  for (i64 column = 0; column < p.N; column += slab) {
    const i64 columns = least(slab, p.N - column);
    const i64 panels = (columns + NR - 1) / NR;
    float* const packedB = args.shared<float>(0, panels * NR * p.K);
    args.ranges(panels, most<i64>(1, least<i64>(8, panels / wanted)), [&](i64 begin, i64 end, i32) {
      packB(p, column, columns, begin, end, packedB);
    });
    const i64 cuts = rowBlocks >= wanted ? 1 : (wanted + rowBlocks - 1) / rowBlocks;
    const i64 width = most<i64>(8 * NR, roundUp((columns + cuts - 1) / cuts, NR));
    const i64 columnBlocks = (columns + width - 1) / width;
    args.parallel(rowBlocks * columnBlocks, [&](i64 task, i32 thread) {
      const i64 row = task % rowBlocks * rows, start = task / rowBlocks * width;
      const Block block = {row, least(rows, p.M - row), column + start, least(width, columns - start)};
      multiplyBlock(args, p, block, packedB, column, panels, thread);
    });
  }
}

/// One product on one thread, for batches.
void productAlone(const Args& args, const Problem& p, i32 thread) {
  const i64 slab = most<i64>(NR, SLAB / 4 / most<i64>(1, p.K) / NR * NR);
  for (i64 column = 0; column < p.N; column += slab) {
    const i64 columns = least(slab, p.N - column);
    const i64 panels = (columns + NR - 1) / NR;
    float* const packedB = args.scratch<float>(thread, 2, panels * NR * p.K);
    packB(p, column, columns, 0, panels, packedB);
    for (i64 row = 0; row < p.M; row += MC)
      multiplyBlock(args, p, {row, least(MC, p.M - row), column, columns}, packedB, column, panels, thread);
  }
}

}  // namespace

void gemm(const Args& args) {
  const View &a = args[0], &b = args[1], &bias = args[2], &out = args[3];
  const bool transposeA = args.number[0] != 0, transposeB = args.number[1] != 0;
  for (int i = 0; i < 4; i++)
    if (args[i] && args[i].dtype > BFLOAT16) return args.operandError(i);
  Problem p;
  p.M = out.dim[1];
  p.N = out.dim[2];
  p.K = a.dim[transposeA ? 1 : 2];
  p.a = {a.data, a.dtype, a.stride[transposeA ? 2 : 1], a.stride[transposeA ? 1 : 2]};
  p.b = {b.data, b.dtype, b.stride[transposeB ? 2 : 1], b.stride[transposeB ? 1 : 2]};
  p.bAlongK = transposeB;
  p.out = out.data;
  p.outDtype = out.dtype;
  p.outStride = out.stride[1];
  p.accumulate = args.number[3] != 0;
  p.epilogue = {(float)args.number[2], bias.data, bias.dtype, (int)args.number[4]};
  const i64 batch = out.dim[0];
  const auto item = [&](i64 i) {
    Problem q = p;
    q.a.data += i * a.stride[0] * elementBytes(a.dtype);
    q.b.data += i * b.stride[0] * elementBytes(b.dtype);
    q.out += i * out.stride[0] * elementBytes(out.dtype);
    return q;
  };
  if (p.M == 0 || p.N == 0) return;
  if (p.M <= FEW && batch == 1) return gemmFewRows(args, p);
  if (batch < args.runtime->threads || batch == 1) {
    for (i64 i = 0; i < batch; i++) product(args, item(i));
    return;
  }
  args.parallel(batch, [&](i64 i, i32 thread) { productAlone(args, item(i), thread); });
}

/// The register tile alone on first-level cache data: about `number[0]` floating-point operations on every thread. out (threads)
/// takes sums, so that nothing is optimised away.
void benchGemmPeak(const Args& args) {
  const i64 times = (i64)(args.number[0] / (2.0 * MR * NR * KC));
  args.parallel(args.runtime->threads, [&](i64 task, i32 thread) {
    float* a = args.scratch<float>(thread, 0, MC * KC);
    float* b = args.scratch<float>(thread, 1, NR * KC);
    for (i64 i = 0; i < MC * KC; i++) a[i] = 1e-3f * (float)(i % 7);
    for (i64 i = 0; i < NR * KC; i++) b[i] = 1e-3f * (float)(i % 5);
    vf total = {};
    for (i64 t = 0; t < times; t++) {
      vf acc[MR][NV];
      sumProducts(a + t % 2 * MR * KC, b, KC, acc);
      for (int i = 0; i < MR; i++) total = total + acc[i][0] + acc[i][NV - 1];
    }
    ((float*)args[0].data)[task] = sum(total);
  });
}

}  // namespace MK_ISA
