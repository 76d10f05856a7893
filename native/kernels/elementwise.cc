// Element-wise kernels: fill, copy with conversion, functions of one and two values, selection, scaled sums.
// A tensor of any strides is walked row by row: the last axis is the row, the others are counted.
#include "../kernels.h"
#include "../vec.h"

namespace MK_ISA {

namespace {

constexpr i64 GRAIN = 1 << 14;

template <class T> struct RemoveReference { typedef T Type; };
template <class T> struct RemoveReference<T&> { typedef T Type; };

/// A reference to any callable row(offsets, steps, length), so that the walk below is compiled once and not for every
/// function of every dtype.
class Row {
 public:
  template <class F>
  Row(F&& f) : context_((void*)&f), call_([](void* c, const i64* offset, const i64* step, i64 n) {
    (*(typename RemoveReference<F>::Type*)c)(offset, step, n);
  }) {}
  void operator()(const i64* offset, const i64* step, i64 n) const { call_(context_, offset, step, n); }

 private:
  void* context_;
  void (*call_)(void*, const i64*, const i64*, i64);
};

/// Calls row for rows of `COUNT` equally shaped views; offsets and steps count elements of each view.
/// Axes are merged where every view allows it, so that dense tensors are one long row.
template <int COUNT>
void forRows(const Args& args, const View* const (&views)[COUNT], const Row& row) {
  i64 dim[MAX_RANK + 1] = {};
  i64 stride[COUNT][MAX_RANK + 1] = {};
  int rank = 0;
  const View& first = *views[0];
  for (int d = 0; d < first.rank; d++) {
    if (first.dim[d] == 1) continue;
    bool merge = rank > 0;
    for (int v = 0; merge && v < COUNT; v++)
      merge = stride[v][rank - 1] == views[v]->stride[d] * first.dim[d];
    if (merge) {
      dim[rank - 1] *= first.dim[d];
      for (int v = 0; v < COUNT; v++) stride[v][rank - 1] = views[v]->stride[d];
    } else {
      dim[rank] = first.dim[d];
      for (int v = 0; v < COUNT; v++) stride[v][rank] = views[v]->stride[d];
      rank++;
    }
  }
  if (rank == 0) {
    dim[0] = 1;
    for (int v = 0; v < COUNT; v++) stride[v][0] = 1;
    rank = 1;
  }
  const i64 length = dim[rank - 1];
  i64 rows = 1;
  for (int d = 0; d < rank - 1; d++) rows *= dim[d];
  if (rows == 0 || length == 0) return;
  // Long rows are cut, short ones are taken several at a time.
  const i64 pieces = length > 2 * GRAIN ? (length + GRAIN - 1) / GRAIN : 1;
  const i64 piece = pieces == 1 ? length : (((length + pieces - 1) / pieces + 63) / 64) * 64;
  const i64 grain = most<i64>(1, GRAIN / most<i64>(1, piece));
  args.ranges(rows * pieces, grain, [&](i64 begin, i64 end, i32) {
    for (i64 i = begin; i < end; i++) {
      const i64 start = (i % pieces) * piece;
      i64 rest = i / pieces;
      i64 offset[COUNT];
      for (int v = 0; v < COUNT; v++) offset[v] = start * stride[v][rank - 1];
      for (int d = rank - 2; d >= 0; d--) {
        const i64 index = rest % dim[d];
        rest /= dim[d];
        for (int v = 0; v < COUNT; v++) offset[v] += index * stride[v][d];
      }
      const i64 n = least(piece, length - start);
      if (n <= 0) continue;
      i64 step[COUNT];
      for (int v = 0; v < COUNT; v++) step[v] = stride[v][rank - 1];
      row(offset, step, n);
    }
  });
}

/// One element as double, so that every integer dtype converts exactly.
double get(const char* data, i32 dtype, i64 i) {
  switch (dtype) {
    case FLOAT32: return ((const float*)data)[i];
    case FLOAT16: return F16::get(((const u16*)data)[i]);
    case BFLOAT16: return BF16::get(((const u16*)data)[i]);
    case INT8: return ((const i8*)data)[i];
    case INT32: return ((const i32*)data)[i];
    default: return ((const u8*)data)[i];
  }
}

i64 truncate(double x, double low, double high) {
  return x != x ? 0 : x < low ? (i64)low : x > high ? (i64)high : (i64)x;
}

void put(char* data, i32 dtype, i64 i, double x) {
  switch (dtype) {
    case FLOAT32: ((float*)data)[i] = (float)x; break;
    case FLOAT16: ((u16*)data)[i] = F16::put((float)x); break;
    case BFLOAT16: ((u16*)data)[i] = BF16::put((float)x); break;
    case INT8: ((i8*)data)[i] = (i8)truncate(x, -128, 127); break;
    case INT32: ((i32*)data)[i] = (i32)truncate(x, -2147483648.0, 2147483647.0); break;
    case UINT8: ((u8*)data)[i] = (u8)truncate(x, 0, 255); break;
    default: ((u8*)data)[i] = x != 0; break;
  }
}

int bytesOf(i32 dtype) { return dtype == FLOAT32 || dtype == INT32 ? 4 : dtype == FLOAT16 || dtype == BFLOAT16 ? 2 : 1; }

template <class T>
void copyRow(const char* from, i64 fromStep, char* to, i64 toStep, i64 n) {
  const T* a = (const T*)from;
  T* b = (T*)to;
  if (fromStep == 1 && toStep == 1)
    for (i64 i = 0; i < n; i++) b[i] = a[i];
  else
    for (i64 i = 0; i < n; i++) b[i * toStep] = a[i * fromStep];
}

template <class In, class Out>
void convertRow(const char* from, i64 fromStep, char* to, i64 toStep, i64 n) {
  const auto* a = (const typename In::T*)from;
  auto* b = (typename Out::T*)to;
  if (fromStep == 1 && toStep == 1)
    for (i64 i = 0; i < n; i += W) storeUpTo<Out>(b + i, loadUpTo<In>(a + i, n - i), n - i);
  else
    for (i64 i = 0; i < n; i++) b[i * toStep] = Out::put(In::get(a[i * fromStep]));
}

}  // namespace

void fill(const Args& args) {
  const View& out = args[0];
  const double value = args.number[0];
  const View* const views[] = {&out};
  const int width = bytesOf(out.dtype);
  forRows<1>(args, views, [&](const i64* offset, const i64* step, i64 n) {
    char* row = out.data + offset[0] * width;
    put(row, out.dtype, 0, value);
    if (step[0] == 1 && width == 4) {
      const i32 bitsOfValue = *(i32*)row;
      for (i64 i = 1; i < n; i++) ((i32*)row)[i] = bitsOfValue;
    } else {
      for (i64 i = 1; i < n; i++) put(row, out.dtype, i * step[0], value);
    }
  });
}

void copy(const Args& args) {
  const View& input = args[0];
  const View& out = args[1];
  const View* const views[] = {&out, &input};
  const int inWidth = bytesOf(input.dtype);
  const int outWidth = bytesOf(out.dtype);
  forRows<2>(args, views, [&](const i64* offset, const i64* step, i64 n) {
    char* to = out.data + offset[0] * outWidth;
    const char* from = input.data + offset[1] * inWidth;
    if (input.dtype == out.dtype) {
      switch (inWidth) {
        case 4: copyRow<u32>(from, step[1], to, step[0], n); break;
        case 2: copyRow<u16>(from, step[1], to, step[0], n); break;
        default: copyRow<u8>(from, step[1], to, step[0], n); break;
      }
      return;
    }
    bool done = false;
    withFloat(input.dtype, [&](auto in) {
      withFloat(out.dtype, [&](auto o) {
        convertRow<decltype(in), decltype(o)>(from, step[1], to, step[0], n);
        done = true;
      });
    });
    if (!done)
      for (i64 i = 0; i < n; i++) put(to, out.dtype, i * step[0], get(from, input.dtype, i * step[1]));
  });
}

// ---- functions of one value; the codes are positions in unaryFunctions of src/backend/kernels.ts ----

enum Unary {
  NEG, ABS, EXP, LOG, SQRT, RSQRT, SQUARE, RECIPROCAL, SIN, COS, TANH, SIGMOID, SILU, RELU, RELU6, GELU, GELU_TANH,
  SOFTPLUS, ELU, LEAKY_RELU, HARDSIGMOID, HARDSWISH, MISH, LOG_SIGMOID, AFFINE, CLAMP, SIGN, FLOOR, EXPM1, LOG1P, ERF,
  POW, NOT
};

namespace {

const float SQRT_2_OVER_PI = 0.79788456080286536f;
const float INV_SQRT_2PI = 0.39894228040143268f;

vf squareRoot(vf x) {
  vf r;
  for (int i = 0; i < W; i++) r[i] = __builtin_sqrtf(x[i]);
  return r;
}
vf floorOf(vf x) {
  const vf magic = splat(8388608.0f);
  const vf t = choose(vabs(x) < magic, __builtin_convertvector(__builtin_convertvector(x, vi), vf), x);
  const vf down = choose(t > x, t - 1.0f, t);
  return choose(x != x, x, down);
}
vf logSigmoidOf(vf x) {
  const vf m = atMost(x, 0.0f);
  return m - log1p(exp(-vabs(x)));
}

template <int F>
vf apply(vf x, float alpha, float beta) {
  switch (F) {
    case NEG: return -x;
    case ABS: return vabs(x);
    case EXP: return exp(x);
    case LOG: return log(x);
    case SQRT: return squareRoot(x);
    case RSQRT: return 1.0f / squareRoot(x);
    case SQUARE: return x * x;
    case RECIPROCAL: return 1.0f / x;
    case SIN: { vf s, c; sincos(x, s, c); return s; }
    case COS: { vf s, c; sincos(x, s, c); return c; }
    case TANH: return tanh(x);
    case SIGMOID: return sigmoid(x);
    case SILU: return x * sigmoid(x);
    case RELU: return atLeast(x, 0.0f);
    case RELU6: return atMost(atLeast(x, 0.0f), 6.0f);
    case GELU: return x * normalCdf(x);
    case GELU_TANH: return 0.5f * x * (1.0f + tanh(SQRT_2_OVER_PI * (x + 0.044715f * x * x * x)));
    case SOFTPLUS: return softplus(x);
    case ELU: return choose(x > splat(0.0f), x, alpha * expm1(x));
    case LEAKY_RELU: return choose(x > splat(0.0f), x, alpha * x);
    case HARDSIGMOID: return atMost(atLeast(x / 6.0f + 0.5f, 0.0f), 1.0f);
    case HARDSWISH: return x * (atMost(atLeast(x + 3.0f, 0.0f), 6.0f) / 6.0f);
    case MISH: return x * tanh(softplus(x));
    case LOG_SIGMOID: return logSigmoidOf(x);
    case AFFINE: return alpha * x + beta;
    case CLAMP: return atMost(atLeast(x, alpha), beta);
    case SIGN: return choose(x > splat(0.0f), splat(1.0f), choose(x < splat(0.0f), splat(-1.0f), x * 0.0f));
    case FLOOR: return floorOf(x);
    case EXPM1: return expm1(x);
    case LOG1P: return log1p(x);
    case ERF: return erf(x);
    default: return pow(x, splat(alpha));
  }
}

/// The derivative at a number x.
template <int F>
vf derivativeAt(vf x, float alpha, float beta) {
  const vf zero = splat(0.0f), one = splat(1.0f);
  switch (F) {
    case NEG: return -one;
    case ABS: case SIGN: case FLOOR:
      return F == ABS ? choose(x > zero, one, choose(x < zero, -one, x * 0.0f)) : zero;
    case EXP: return exp(x);
    case LOG: return 1.0f / x;
    case SQRT: return 0.5f / squareRoot(x);
    case RSQRT: { const vf r = 1.0f / squareRoot(x); return -0.5f * r * r * r; }
    case SQUARE: return 2.0f * x;
    case RECIPROCAL: return -1.0f / (x * x);
    case SIN: { vf s, c; sincos(x, s, c); return c; }
    case COS: { vf s, c; sincos(x, s, c); return -s; }
    case TANH: { const vf e = exp(-2.0f * vabs(x)); return 4.0f * e / ((1.0f + e) * (1.0f + e)); }
    case SIGMOID: { const vf s = sigmoid(x); return s * (1.0f - s); }
    case SILU: { const vf s = sigmoid(x); return s * (1.0f + x * (1.0f - s)); }
    case RELU: return choose(x > zero, one, zero);
    case RELU6: return choose((x > zero) & (x < splat(6.0f)), one, zero);
    case GELU: return normalCdf(x) + x * INV_SQRT_2PI * exp(-0.5f * x * x);
    case GELU_TANH: {
      const vf t = tanh(SQRT_2_OVER_PI * (x + 0.044715f * x * x * x));
      const vf inner = SQRT_2_OVER_PI * (1.0f + 3.0f * 0.044715f * x * x);
      return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * inner;
    }
    case SOFTPLUS: return choose(x > splat(20.0f), one, sigmoid(x));
    case ELU: return choose(x > zero, one, alpha * exp(x));
    case LEAKY_RELU: return choose(x > zero, one, splat(alpha));
    case HARDSIGMOID: return choose((x > splat(-3.0f)) & (x < splat(3.0f)), splat(1.0f / 6.0f), zero);
    case HARDSWISH: return choose(x < splat(-3.0f), zero, choose(x > splat(3.0f), one, x / 3.0f + 0.5f));
    case MISH: {
      const vf t = tanh(softplus(x));
      return t + x * (1.0f - t * t) * sigmoid(x);
    }
    case LOG_SIGMOID: return sigmoid(-x);
    case AFFINE: return splat(alpha);
    case CLAMP: return choose((x >= splat(alpha)) & (x <= splat(beta)), one, zero);
    case EXPM1: return exp(x);
    case LOG1P: return 1.0f / (1.0f + x);
    case ERF: return 1.1283791670955126f * exp(-x * x);
    default: return alpha * pow(x, splat(alpha - 1.0f));
  }
}

/// The derivative; NaN at NaN, also of functions that are flat there.
template <int F>
vf derivative(vf x, float alpha, float beta) { return choose(x != x, x, derivativeAt<F>(x, alpha, beta)); }

/// Calls body with the function code as a constant.
template <int F = 0, class Body>
void withFunction(int code, Body&& body) {
  if constexpr (F < NOT) {
    if (code == F) body([] { return F; });
    else withFunction<F + 1>(code, body);
  }
}

/// W elements of a row from element i on, whatever the step.
template <class S>
vf loadRow(const typename S::T* p, i64 step, i64 i, i64 n) {
  if (step == 1) return loadUpTo<S>(p + i, n - i);
  if (step == 0) return splat(S::get(p[0]));
  vf x = splat(0.0f);
  for (int l = 0; l < W && i + l < n; l++) x[l] = S::get(p[(i + l) * step]);
  return x;
}
template <class S>
void storeRow(typename S::T* p, i64 step, i64 i, i64 n, vf x) {
  if (step == 1) storeUpTo<S>(p + i, x, n - i);
  else
    for (int l = 0; l < W && i + l < n; l++) p[(i + l) * step] = S::put(x[l]);
}

/// One row of an operation with up to two inputs.
typedef void (*RowFunction)(char* y, i64 yStep, const char* a, i64 aStep, const char* b, i64 bStep, i64 n, float alpha,
                            float beta);

template <int F, class S>
void unaryRow(char* y, i64 yStep, const char* a, i64 aStep, const char*, i64, i64 n, float alpha, float beta) {
  typedef typename S::T T;
  for (i64 i = 0; i < n; i += W)
    storeRow<S>((T*)y, yStep, i, n, apply<F>(loadRow<S>((const T*)a, aStep, i, n), alpha, beta));
}
template <int F, class S>
void unaryGradRow(char* y, i64 yStep, const char* a, i64 aStep, const char* g, i64 gStep, i64 n, float alpha, float beta) {
  typedef typename S::T T;
  for (i64 i = 0; i < n; i += W) {
    const vf slope = derivative<F>(loadRow<S>((const T*)a, aStep, i, n), alpha, beta);
    storeRow<S>((T*)y, yStep, i, n, loadRow<S>((const T*)g, gStep, i, n) * slope);
  }
}

}  // namespace

void unary(const Args& args) {
  const View& input = args[0];
  const View& out = args[1];
  const int code = (int)args.number[0];
  const float alpha = (float)args.number[1], beta = (float)args.number[2];
  const View* const views[] = {&out, &input};
  const int width = bytesOf(input.dtype);
  if (code == NOT) {
    if (width != 1) return args.operandError(0);
    forRows<2>(args, views, [&](const i64* offset, const i64* step, i64 n) {
      for (i64 i = 0; i < n; i++) out.data[offset[0] + i * step[0]] = input.data[offset[1] + i * step[1]] == 0;
    });
    return;
  }
  if (input.dtype != out.dtype) return args.operandError(1);
  RowFunction row = nullptr;
  withFloat(input.dtype, [&](auto tag) {
    withFunction(code, [&](auto function) { row = unaryRow<function(), decltype(tag)>; });
  });
  if (!row) return args.operandError(0);
  forRows<2>(args, views, [&](const i64* offset, const i64* step, i64 n) {
    row(out.data + offset[0] * width, step[0], input.data + offset[1] * width, step[1], nullptr, 0, n, alpha, beta);
  });
}

void unaryGrad(const Args& args) {
  const View& input = args[0];
  const View& gradOut = args[1];
  const View& gradIn = args[2];
  const float alpha = (float)args.number[1], beta = (float)args.number[2];
  const View* const views[] = {&gradIn, &input, &gradOut};
  if (input.dtype != gradIn.dtype || input.dtype != gradOut.dtype) return args.operandError(1);
  const int width = bytesOf(input.dtype);
  RowFunction row = nullptr;
  withFloat(input.dtype, [&](auto tag) {
    withFunction((int)args.number[0], [&](auto function) { row = unaryGradRow<function(), decltype(tag)>; });
  });
  if (!row) return args.operandError(0);
  forRows<3>(args, views, [&](const i64* offset, const i64* step, i64 n) {
    row(gradIn.data + offset[0] * width, step[0], input.data + offset[1] * width, step[1],
        gradOut.data + offset[2] * width, step[2], n, alpha, beta);
  });
}

// ---- functions of two values; the codes are positions in binaryFunctions ----

enum Binary { ADD, SUB, MUL, DIV, MAX, MIN, POWER, EQUAL, NOT_EQUAL, LESS, LESS_EQUAL, GREATER, GREATER_EQUAL, AND, OR };

namespace {

template <int F>
vf combine(vf a, vf b) {
  switch (F) {
    case ADD: return a + b;
    case SUB: return a - b;
    case MUL: return a * b;
    case DIV: return a / b;
    case MAX: return choose((a > b) | (a != a), a, b);
    case MIN: return choose((a < b) | (a != a), a, b);
    default: return pow(a, b);
  }
}

template <class T>
bool compare(int code, T a, T b) {
  switch (code) {
    case EQUAL: return a == b;
    case NOT_EQUAL: return a != b;
    case LESS: return a < b;
    case LESS_EQUAL: return a <= b;
    case GREATER: return a > b;
    case GREATER_EQUAL: return a >= b;
    case AND: return a != 0 && b != 0;
    default: return a != 0 || b != 0;
  }
}

i32 combineIntegers(int code, i32 a, i32 b) {
  switch (code) {
    case ADD: return (i32)((u32)a + (u32)b);
    case SUB: return (i32)((u32)a - (u32)b);
    case MUL: return (i32)((u32)a * (u32)b);
    case DIV: return b == 0 ? 0 : b == -1 ? (i32)(0u - (u32)a) : a / b;
    case MAX: return a > b ? a : b;
    default: return a < b ? a : b;
  }
}

template <int F, class S>
void binaryRow(char* y, i64 yStep, const char* a, i64 aStep, const char* b, i64 bStep, i64 n, float, float) {
  typedef typename S::T T;
  for (i64 i = 0; i < n; i += W)
    storeRow<S>((T*)y, yStep, i, n, combine<F>(loadRow<S>((const T*)a, aStep, i, n), loadRow<S>((const T*)b, bStep, i, n)));
}

template <int F = 0, class Body>
void withBinary(int code, Body&& body) {
  if constexpr (F <= POWER) {
    if (code == F) body([] { return F; });
    else withBinary<F + 1>(code, body);
  }
}

}  // namespace

void binary(const Args& args) {
  const View& a = args[0];
  const View& b = args[1];
  const View& out = args[2];
  const int code = (int)args.number[0];
  const View* const views[] = {&out, &a, &b};
  if (a.dtype != b.dtype) return args.operandError(1);
  if (code >= EQUAL) {
    const int width = bytesOf(a.dtype);
    forRows<3>(args, views, [&](const i64* offset, const i64* step, i64 n) {
      u8* y = (u8*)out.data + offset[0];
      const char* p = a.data + offset[1] * width;
      const char* q = b.data + offset[2] * width;
      for (i64 i = 0; i < n; i++)
        y[i * step[0]] = compare(code, get(p, a.dtype, i * step[1]), get(q, b.dtype, i * step[2]));
    });
    return;
  }
  if (a.dtype == INT32) {
    if (code == POWER) return args.operandError(0);
    forRows<3>(args, views, [&](const i64* offset, const i64* step, i64 n) {
      i32* y = (i32*)out.data + offset[0];
      const i32* p = (const i32*)a.data + offset[1];
      const i32* q = (const i32*)b.data + offset[2];
      for (i64 i = 0; i < n; i++) y[i * step[0]] = combineIntegers(code, p[i * step[1]], q[i * step[2]]);
    });
    return;
  }
  if (out.dtype != a.dtype) return args.operandError(2);
  RowFunction row = nullptr;
  withFloat(a.dtype, [&](auto tag) {
    withBinary(code, [&](auto function) { row = binaryRow<function(), decltype(tag)>; });
  });
  if (!row) return args.operandError(0);
  const int width = bytesOf(a.dtype);
  forRows<3>(args, views, [&](const i64* offset, const i64* step, i64 n) {
    row(out.data + offset[0] * width, step[0], a.data + offset[1] * width, step[1], b.data + offset[2] * width, step[2],
        n, 0, 0);
  });
}

void select(const Args& args) {
  const View& condition = args[0];
  const View& a = args[1];
  const View& b = args[2];
  const View& out = args[3];
  if (a.dtype != b.dtype || a.dtype != out.dtype) return args.operandError(1);
  const View* const views[] = {&out, &condition, &a, &b};
  auto rows = [&](auto zero) {
    using T = decltype(zero);
    forRows<4>(args, views, [&](const i64* offset, const i64* step, i64 n) {
      T* y = (T*)out.data + offset[0];
      const u8* c = (const u8*)condition.data + offset[1];
      const T* p = (const T*)a.data + offset[2];
      const T* q = (const T*)b.data + offset[3];
      for (i64 i = 0; i < n; i++) y[i * step[0]] = c[i * step[1]] ? p[i * step[2]] : q[i * step[3]];
    });
  };
  switch (bytesOf(a.dtype)) {
    case 4: return rows(u32{});
    case 2: return rows(u16{});
    default: return rows(u8{});
  }
}

void axpby(const Args& args) {
  const View& a = args[0];
  const View& b = args[1];
  const View& out = args[2];
  const float alpha = (float)args.number[0], beta = (float)args.number[1];
  const View* const views[] = {&out, &a, &b};
  const bool known = withFloat(a.dtype, [&](auto ta) {
    withFloat(b.dtype, [&](auto tb) {
      withFloat(out.dtype, [&](auto to) {
        using A = decltype(ta);
        using B = decltype(tb);
        using O = decltype(to);
        forRows<3>(args, views, [&](const i64* offset, const i64* step, i64 n) {
          auto* y = (typename O::T*)out.data + offset[0];
          const auto* p = (const typename A::T*)a.data + offset[1];
          const auto* q = (const typename B::T*)b.data + offset[2];
          for (i64 i = 0; i < n; i += W)
            storeRow<O>(y, step[0], i, n, alpha * loadRow<A>(p, step[1], i, n) + beta * loadRow<B>(q, step[2], i, n));
        });
      });
    });
  });
  if (!known) args.operandError(0);
}

}  // namespace MK_ISA
