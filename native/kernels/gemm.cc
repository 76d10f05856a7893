// Matrix products. Both operands are packed into panels that the register tile reads in order; a task is a block of rows
// of one batch item. Every element of the result sums over k in the same order (blocks of KC, then one step at a time),
// whatever the number of rows or threads. Few rows (decoding) take a path that streams b once instead.
// Letters: a (M, K), b (K, N) after transposition, out (M, N).
#include "../kernels.h"
#include "../limits.h"
#include "../vec.h"

namespace MK_ISA {

namespace {

// Register tile MR x (NV vectors): as many accumulators as the registers hold beside the operands.
#if MK_LANES == 16
constexpr int MR = 12, NV = 2;
#elif defined(__aarch64__)
constexpr int MR = 8, NV = 2;
#else
constexpr int MR = 6, NV = 2;
#endif
constexpr int NR = NV * W;
/// k steps a panel: a panel of b (KC x NR) fits the first-level cache.
constexpr i64 KC = 256;
/// Rows a task: a block of a (MC x KC) fits the second-level cache.
constexpr i64 MC = MR * 16;
/// Floats of packed b at a time.
constexpr i64 SLAB = 1 << 21;
/// Up to this many rows the streaming path is used.
constexpr i64 FEW = 6;

enum Activation { NONE, SILU, RELU, GELU, GELU_TANH, SIGMOID, TANH, SOFTPLUS };

vf activate(int activation, vf x) {
  switch (activation) {
    case SILU: return x * sigmoid(x);
    case RELU: return atLeast(x, 0.0f);
    case GELU: return x * normalCdf(x);
    case GELU_TANH: return 0.5f * x * (1.0f + tanh(0.79788456080286536f * (x + 0.044715f * x * x * x)));
    case SIGMOID: return sigmoid(x);
    case TANH: return tanh(x);
    case SOFTPLUS: return softplus(x);
    default: return x;
  }
}

/// A rank-2 matrix of one batch item: element (i, j) lies at i * row + j * column.
struct Matrix {
  const char* data;
  i32 dtype;
  i64 row, column;
};

int bytesOf(i32 dtype) { return dtype == FLOAT32 ? 4 : 2; }

/// What happens to a block of results on its way out.
struct Epilogue {
  float alpha;
  const char* bias;
  i32 biasDtype;
  int activation;
};

vf biasAt(const Epilogue& e, i64 column, i64 n) {
  vf x = splat(0.0f);
  withFloat(e.biasDtype, [&](auto tag) {
    using S = decltype(tag);
    x = loadUpTo<S>((const typename S::T*)e.bias + column, n);
  });
  return x;
}

/// Packs rows [0, rows) x k [0, depth) into panels of P rows: panel p holds P values for each k. Missing rows are 0.
template <class S, int P>
void packPanels(const typename S::T* from, i64 rowStride, i64 kStride, i64 rows, i64 depth, float* to) {
  for (i64 r = 0; r < rows; r += P, to += P * depth) {
    const i64 n = least<i64>(P, rows - r);
    const typename S::T* source = from + r * rowStride;
    if (n < P)
      for (i64 k = 0; k < P * depth; k++) to[k] = 0.0f;
    if (rowStride == 1) {
      // Neighbours in a panel are neighbours in memory.
      if (n == P && P % W == 0)
        for (i64 k = 0; k < depth; k++)
          for (int v = 0; v < P; v += W) store(to + k * P + v, S::load(source + k * kStride + v));
      else
        for (i64 k = 0; k < depth; k++)
          for (int i = 0; i < n; i++) to[k * P + i] = S::get(source[k * kStride + i]);
    } else {
      // One row after another: reads stay in order, writes stay within the panel, which the first-level cache holds.
      for (i64 i = 0; i < n; i++) {
        const typename S::T* line = source + i * rowStride;
        float* column = to + i;
        if (kStride == 1)
          for (i64 k = 0; k < depth; k++) column[k * P] = S::get(line[k]);
        else
          for (i64 k = 0; k < depth; k++) column[k * P] = S::get(line[k * kStride]);
      }
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

/// acc (MR x NV vectors) = panel of a times panel of b over `depth` steps.
inline void tile(const float* a, const float* b, i64 depth, vf (&acc)[MR][NV]) {
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) acc[i][v] = vf{};
  for (i64 k = 0; k < depth; k++, a += MR, b += NR) {
    vf x[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; v++) x[v] = load(b + v * W);
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
      const vf y = splat(a[i]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; v++) acc[i][v] = fma(y, x[v], acc[i][v]);
    }
  }
}

/// Adds a tile of results to out and, at the end of k, applies bias and activation.
template <class S>
void storeTile(const vf (&acc)[MR][NV], typename S::T* out, i64 stride, i64 rows, i64 columns, i64 column, bool add,
               bool last, const Epilogue& e) {
  for (int v = 0; v < NV; v++) {
    const i64 n = columns - v * W;
    if (n <= 0) break;
    const vf bias = last && e.bias ? biasAt(e, column + v * W, n) : vf{};
    for (i64 i = 0; i < rows; i++) {
      typename S::T* p = out + i * stride + v * W;
      vf x = e.alpha * acc[i][v];
      if (add) x = x + loadUpTo<S>(p, n);
      if (last) {
        if (e.bias) x = x + bias;
        if (e.activation != NONE) x = activate(e.activation, x);
      }
      storeUpTo<S>(p, x, n);
    }
  }
}

/// Half-precision results would be rounded at every block of k, so they are summed in float32 first.
template <class S>
void convertRows(const float* from, i64 fromStride, typename S::T* to, i64 toStride, i64 rows, i64 columns) {
  for (i64 i = 0; i < rows; i++)
    for (i64 j = 0; j < columns; j += W)
      storeUpTo<S>(to + i * toStride + j, loadUpTo<F32>(from + i * fromStride + j, columns - j), columns - j);
}
template <class S>
void widenRows(const typename S::T* from, i64 fromStride, float* to, i64 toStride, i64 rows, i64 columns) {
  for (i64 i = 0; i < rows; i++)
    for (i64 j = 0; j < columns; j += W)
      storeUpTo<F32>(to + i * toStride + j, loadUpTo<S>(from + i * fromStride + j, columns - j), columns - j);
}

struct Problem {
  Matrix a, b;
  char* out;
  i32 outDtype;
  i64 outStride;
  i64 M, N, K;
  bool accumulate;
  Epilogue epilogue;
};

/// Rows [row, row + rows) of out, columns [column, column + columns), from packed b.
void rowBlock(const Args& args, const Problem& p, i64 row, i64 rows, i64 column, i64 columns, const float* packedB,
              i32 thread) {
  float* packedA = args.scratch<float>(thread, 0, MC * KC);
  float* out = (float*)p.out + row * p.outStride + column;
  i64 outStride = p.outStride;
  const bool half = p.outDtype != FLOAT32;
  if (half) {
    out = args.scratch<float>(thread, 1, rows * columns);
    outStride = columns;
    if (p.accumulate)
      withFloat(p.outDtype, [&](auto tag) {
        using S = decltype(tag);
        widenRows<S>((const typename S::T*)p.out + row * p.outStride + column, p.outStride, out, columns, rows, columns);
      });
  }
  const i64 panels = (columns + NR - 1) / NR;
  for (i64 k = 0; k == 0 || k < p.K; k += KC) {
    const i64 depth = least(KC, p.K - k);
    pack<MR>(p.a, p.a.row, p.a.column, row, k, rows, depth, packedA);
    const float* bBlock = packedB + k * panels * NR;
    for (i64 j = 0; j < panels; j++)
      for (i64 i = 0; i < rows; i += MR) {
        vf acc[MR][NV];
        tile(packedA + i * depth, bBlock + j * NR * depth, depth, acc);
        storeTile<F32>(acc, out + i * outStride + j * NR, outStride, least<i64>(MR, rows - i),
                       least<i64>(NR, columns - j * NR), column + j * NR, k > 0 || p.accumulate, k + KC >= p.K, p.epilogue);
      }
  }
  if (half)
    withFloat(p.outDtype, [&](auto tag) {
      using S = decltype(tag);
      convertRows<S>(out, columns, (typename S::T*)p.out + row * p.outStride + column, p.outStride, rows, columns);
    });
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

/// One product over all threads.
void product(const Args& args, const Problem& p) {
  const i64 slab = most<i64>(NR, SLAB / most<i64>(1, p.K) / NR * NR);
  for (i64 column = 0; column < p.N; column += slab) {
    const i64 columns = least(slab, p.N - column);
    const i64 panels = (columns + NR - 1) / NR;
    float* packedB = args.shared<float>(0, panels * NR * p.K);
    args.ranges(panels, 8, [&](i64 begin, i64 end, i32) { packB(p, column, columns, begin, end, packedB); });
    args.ranges(p.M, MC, [&](i64 begin, i64 end, i32 thread) {
      rowBlock(args, p, begin, end - begin, column, columns, packedB, thread);
    });
  }
}

/// One product on one thread, for batches.
void productAlone(const Args& args, const Problem& p, i32 thread) {
  const i64 slab = most<i64>(NR, SLAB / 4 / most<i64>(1, p.K) / NR * NR);
  for (i64 column = 0; column < p.N; column += slab) {
    const i64 columns = least(slab, p.N - column);
    const i64 panels = (columns + NR - 1) / NR;
    float* packedB = args.scratch<float>(thread, 2, panels * NR * p.K);
    packB(p, column, columns, 0, panels, packedB);
    for (i64 row = 0; row < p.M; row += MC)
      rowBlock(args, p, row, least(MC, p.M - row), column, columns, packedB, thread);
  }
}

void finish(const Problem& p, i64 row, i64 column, float value) {
  withFloat(p.outDtype, [&](auto tag) {
    using S = decltype(tag);
    typename S::T* out = (typename S::T*)p.out + row * p.outStride + column;
    float x = p.epilogue.alpha * value;
    if (p.accumulate) x += S::get(*out);
    if (p.epilogue.bias) x += biasAt(p.epilogue, column, 1)[0];
    *out = S::put(activate(p.epilogue.activation, splat(x))[0]);
  });
}

/// Few rows times b stored as (N, K): dot products along k, four rows of b at a time.
template <class S>
void dots(const Problem& p, const float* a, i64 begin, i64 end) {
  constexpr int R = 4;
  const typename S::T* b = (const typename S::T*)p.b.data;
  for (i64 j = begin; j < end; j += R) {
    const int rows = (int)least<i64>(R, end - j);
    const typename S::T* source[R];
    for (int r = 0; r < R; r++) source[r] = b + (j + least(r, rows - 1)) * p.b.column;
    for (i64 i = 0; i < p.M; i++) {
      const float* x = a + i * p.K;
      vf acc[R][2] = {};
      i64 k = 0;
      for (; k + 2 * W <= p.K; k += 2 * W)
        for (int r = 0; r < R; r++) {
          acc[r][0] = fma(load(x + k), S::load(source[r] + k), acc[r][0]);
          acc[r][1] = fma(load(x + k + W), S::load(source[r] + k + W), acc[r][1]);
        }
      for (; k < p.K; k += W)
        for (int r = 0; r < R; r++)
          acc[r][0] = fma(loadUpTo<F32>(x + k, p.K - k), loadUpTo<S>(source[r] + k, p.K - k), acc[r][0]);
      for (int r = 0; r < rows; r++) finish(p, i, j + r, sum(acc[r][0] + acc[r][1]));
    }
  }
}

/// Few rows times b stored as (K, N): columns in registers, k outermost.
template <class S>
void columnsOf(const Problem& p, const float* a, i64 begin, i64 end) {
  constexpr int V = 4;
  const typename S::T* b = (const typename S::T*)p.b.data;
  for (i64 j = begin; j < end; j += V * W)
    for (i64 i = 0; i < p.M; i++) {
      vf acc[V] = {};
      for (i64 k = 0; k < p.K; k++) {
        const vf x = splat(a[i * p.K + k]);
        for (int v = 0; v < V && j + v * W < end; v++)
          acc[v] = fma(x, loadUpTo<S>(b + k * p.b.row + j + v * W, end - j - v * W), acc[v]);
      }
      for (int v = 0; v < V; v++)
        for (int l = 0; l < W && j + v * W + l < end; l++) finish(p, i, j + v * W + l, acc[v][l]);
    }
}

void fewRows(const Args& args, const Problem& p) {
  float* a = args.shared<float>(1, p.M * p.K);
  withFloat(p.a.dtype, [&](auto tag) {
    using S = decltype(tag);
    const typename S::T* from = (const typename S::T*)p.a.data;
    for (i64 i = 0; i < p.M; i++)
      for (i64 k = 0; k < p.K; k++) a[i * p.K + k] = S::get(from[i * p.a.row + k * p.a.column]);
  });
  const bool rowsOfB = p.b.row == 1 && p.K > 1;
  // Enough work a task that a thread's start does not show, in whole vectors.
  const i64 grain = ((1 << 16) / most<i64>(1, p.K) / (4 * W) + 1) * 4 * W;
  args.ranges(p.N, grain, [&](i64 begin, i64 end, i32) {
    withFloat(p.b.dtype, [&](auto tag) {
      if (rowsOfB) dots<decltype(tag)>(p, a, begin, end);
      else columnsOf<decltype(tag)>(p, a, begin, end);
    });
  });
}

}  // namespace

void gemm(const Args& args) {
  const View& a = args[0];
  const View& b = args[1];
  const View& bias = args[2];
  const View& out = args[3];
  const bool transposeA = args.number[0] != 0, transposeB = args.number[1] != 0;
  for (int i = 0; i < 4; i++)
    if (args[i] && args[i].dtype > BFLOAT16) return args.operandError(i);
  Problem p;
  p.M = out.dim[1];
  p.N = out.dim[2];
  p.K = a.dim[transposeA ? 1 : 2];
  p.a = {a.data, a.dtype, a.stride[transposeA ? 2 : 1], a.stride[transposeA ? 1 : 2]};
  p.b = {b.data, b.dtype, b.stride[transposeB ? 2 : 1], b.stride[transposeB ? 1 : 2]};
  p.out = out.data;
  p.outDtype = out.dtype;
  p.outStride = out.stride[1];
  p.accumulate = args.number[3] != 0;
  p.epilogue = {(float)args.number[2], bias.data, bias.dtype, (int)args.number[4]};
  const i64 batch = out.dim[0];
  auto item = [&](i64 i) {
    Problem q = p;
    q.a.data += i * a.stride[0] * bytesOf(a.dtype);
    q.b.data += i * b.stride[0] * bytesOf(b.dtype);
    q.out += i * out.stride[0] * bytesOf(out.dtype);
    return q;
  };
  if (p.M == 0 || p.N == 0) return;
  if (p.M <= FEW && batch == 1) return fewRows(args, p);
  if (batch < args.runtime->threads || (batch == 1)) {
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
      tile(a + t % 2 * MR * KC, b, KC, acc);
      for (int i = 0; i < MR; i++) total = total + acc[i][0] + acc[i][NV - 1];
    }
    ((float*)args[0].data)[task] = sum(total);
  });
}

}  // namespace MK_ISA
