// Element-wise kernels of several operands: fill, copy, binary, select, axpby.
#include "../kernels.h"
#include "functions.h"
#include "strided.h"

namespace MK_ISA {

// ---- fill and copy ----

template <class T>
static void fillRun(char* p, i64 stride, i64 n, T value) {
  T* const to = (T*)p;
  if (stride == 1)
    for (i64 i = 0; i < n; i++) to[i] = value;
  else
    for (i64 i = 0; i < n; i++) to[i * stride] = value;
}

void fill(const Args& args) {
  const double value = args.number[0];
  const View& out = args[0];
  // The bits of one element, made by the conversion that every store uses.
  char element[4];
  const float asFloat = (float)value;
  if (out.dtype == INT32) *(i32*)element = value >= 2147483647.0 ? 0x7fffffff : (i32)value;
  else unstage(element, out.dtype, 2, 1, &asFloat);
  Strided<1>({&out}).forRuns(args, [&](const Run<1>& run, i32) {
    switch (elementBytes(run.dtype[0])) {
      case 4: fillRun<u32>(run.data[0], run.stride[0], run.count, *(u32*)element); break;
      case 2: fillRun<u16>(run.data[0], run.stride[0], run.count, *(u16*)element); break;
      default: fillRun<u8>(run.data[0], run.stride[0], run.count, *(u8*)element);
    }
  });
}

template <class T>
static void copyRun(const char* from, i64 fromStride, char* to, i64 toStride, i64 n) {
  const T* const source = (const T*)from;
  T* const sink = (T*)to;
  if (fromStride == 1 && toStride == 1)
    for (i64 i = 0; i < n; i++) sink[i] = source[i];
  else
    for (i64 i = 0; i < n; i++) sink[i * toStride] = source[i * fromStride];
}

/// Edge of the square tiles in which two axes are exchanged: a tile of each side stays in the cache.
constexpr i64 TILE = 32;

/// Copies the last two axes (`n` long and `m` long) where the input is dense along the first and `out` along the last.
template <class T>
static void transposeTiles(const Args& args, const Strided<2>& both, int axis) {
  const int last = both.rank - 1;
  const i64 m = both.dim[last], n = both.dim[axis];
  const i64 mTiles = (m + TILE - 1) / TILE, nTiles = (n + TILE - 1) / TILE;
  const i64 inStep = both.stride[0][last], outStep = both.stride[1][axis];
  args.ranges(both.count() / (m * n) * nTiles * mTiles, 16, [&](i64 begin, i64 end, i32) {
    for (i64 tile = begin; tile < end; tile++) {
      i64 rest = tile / mTiles;
      const i64 j0 = tile % mTiles * TILE, i0 = rest % nTiles * TILE;
      rest /= nTiles;
      i64 inOffset = i0 + j0 * inStep, outOffset = i0 * outStep + j0;
      for (int other = last - 1; other >= 0; other--) {
        if (other == axis) continue;
        inOffset += rest % both.dim[other] * both.stride[0][other];
        outOffset += rest % both.dim[other] * both.stride[1][other];
        rest /= both.dim[other];
      }
      const T* const in = (const T*)both.data[0] + inOffset;
      T* const out = (T*)both.data[1] + outOffset;
      const i64 rows = least(TILE, n - i0), columns = least(TILE, m - j0);
      for (i64 i = 0; i < rows; i++)
        for (i64 j = 0; j < columns; j++) out[i * outStep + j] = in[i + j * inStep];
    }
  });
}

template <class T>
static void copySame(const Args& args, const Strided<2>& both) {
  const int last = both.rank - 1;
  if (both.stride[1][last] == 1 && both.stride[0][last] != 1 && both.dim[last] >= 4)
    for (int axis = 0; axis < last; axis++)
      if (both.stride[0][axis] == 1 && both.dim[axis] >= 4) return transposeTiles<T>(args, both, axis);
  both.forRuns(args, [](const Run<2>& run, i32) {
    copyRun<T>(run.data[0], run.stride[0], run.data[1], run.stride[1], run.count);
  });
}

void copy(const Args& args) {
  const Strided<2> both({&args[0], &args[1]});
  if (both.count() == 0) return;
  if (args[0].dtype == args[1].dtype) {
    switch (elementBytes(args[0].dtype)) {
      case 4: return copySame<u32>(args, both);
      case 2: return copySame<u16>(args, both);
      default: return copySame<u8>(args, both);
    }
  }
  both.forRuns(args, [](const Run<2>& run, i32) {
    float in[BLOCK];
    for (i64 i = 0; i < run.count; i += BLOCK) {
      const i64 n = least(BLOCK, run.count - i);
      const float* const x = stage(run.at(0, i), run.dtype[0], run.stride[0], n, in);
      char* const to = run.at(1, i);
      if (run.dtype[1] == FLOAT32) copyRun<float>((const char*)x, 1, to, run.stride[1], n);
      else unstage(to, run.dtype[1], run.stride[1], n, x);
    }
  });
}

// ---- functions of two values ----

enum BinaryCode { ADD, SUB, MUL, DIV, MAX, MIN, POW, EQUAL, NOT_EQUAL, LESS, LESS_EQUAL, GREATER, GREATER_EQUAL, AND, OR };

static void binaryFloats(int code, const float* a, const float* b, float* out, i64 n) {
  switch (code) {
    case ADD: return zip(a, b, out, n, [](vf x, vf y) { return x + y; });
    case SUB: return zip(a, b, out, n, [](vf x, vf y) { return x - y; });
    case MUL: return zip(a, b, out, n, [](vf x, vf y) { return x * y; });
    case DIV: return zip(a, b, out, n, [](vf x, vf y) { return x / y; });
    case MAX: return zip(a, b, out, n, [](vf x, vf y) { return choose((x > y) | (x != x), x, y); });
    case MIN: return zip(a, b, out, n, [](vf x, vf y) { return choose((x < y) | (x != x), x, y); });
    case POW: return zip(a, b, out, n, [](vf x, vf y) { return pow(x, y); });
    case EQUAL: return zip(a, b, out, n, [](vf x, vf y) { return truth(x == y); });
    case NOT_EQUAL: return zip(a, b, out, n, [](vf x, vf y) { return truth(x != y); });
    case LESS: return zip(a, b, out, n, [](vf x, vf y) { return truth(x < y); });
    case LESS_EQUAL: return zip(a, b, out, n, [](vf x, vf y) { return truth(x <= y); });
    case GREATER: return zip(a, b, out, n, [](vf x, vf y) { return truth(x > y); });
    case GREATER_EQUAL: return zip(a, b, out, n, [](vf x, vf y) { return truth(x >= y); });
    case AND: return zip(a, b, out, n, [](vf x, vf y) { return truth((x != vf{}) & (y != vf{})); });
    default: return zip(a, b, out, n, [](vf x, vf y) { return truth((x != vf{}) | (y != vf{})); });
  }
}

/// x^y by squaring; a negative power of anything but 1 and -1 truncates to 0.
static i32 integerPower(i32 x, i32 y) {
  if (y < 0) return x == 1 ? 1 : x == -1 ? (y & 1 ? -1 : 1) : 0;
  u32 result = 1;
  for (u32 base = (u32)x; y; y >>= 1, base *= base)
    if (y & 1) result *= base;
  return (i32)result;
}

template <class F>
static inline void zipIntegers(const i32* a, const i32* b, i32* out, i64 n, F&& f) {
  for (i64 i = 0; i < n; i++) out[i] = f(a[i], b[i]);
}

/// Integer arithmetic wraps; division truncates, and division by 0 gives 0.
static void binaryIntegers(int code, const i32* a, const i32* b, i32* out, i64 n) {
  switch (code) {
    case ADD: return zipIntegers(a, b, out, n, [](i32 x, i32 y) { return (i32)((u32)x + (u32)y); });
    case SUB: return zipIntegers(a, b, out, n, [](i32 x, i32 y) { return (i32)((u32)x - (u32)y); });
    case MUL: return zipIntegers(a, b, out, n, [](i32 x, i32 y) { return (i32)((u32)x * (u32)y); });
    case DIV: return zipIntegers(a, b, out, n, [](i32 x, i32 y) { return y == 0 ? 0 : (i32)((i64)x / y); });
    case MAX: return zipIntegers(a, b, out, n, [](i32 x, i32 y) { return x > y ? x : y; });
    case MIN: return zipIntegers(a, b, out, n, [](i32 x, i32 y) { return x < y ? x : y; });
    case POW: return zipIntegers(a, b, out, n, integerPower);
    case EQUAL: return zipIntegers(a, b, out, n, [](i32 x, i32 y) { return (i32)(x == y); });
    case NOT_EQUAL: return zipIntegers(a, b, out, n, [](i32 x, i32 y) { return (i32)(x != y); });
    case LESS: return zipIntegers(a, b, out, n, [](i32 x, i32 y) { return (i32)(x < y); });
    case LESS_EQUAL: return zipIntegers(a, b, out, n, [](i32 x, i32 y) { return (i32)(x <= y); });
    case GREATER: return zipIntegers(a, b, out, n, [](i32 x, i32 y) { return (i32)(x > y); });
    case GREATER_EQUAL: return zipIntegers(a, b, out, n, [](i32 x, i32 y) { return (i32)(x >= y); });
    case AND: return zipIntegers(a, b, out, n, [](i32 x, i32 y) { return (i32)(x && y); });
    default: return zipIntegers(a, b, out, n, [](i32 x, i32 y) { return (i32)(x || y); });
  }
}

static void stageIntegers(const char* p, i32 dtype, i64 stride, i64 n, i32* buffer) {
  switch (dtype) {
    case INT8: return loadIntegers<i8>(p, stride, n, buffer);
    case INT32: return loadIntegers<i32>(p, stride, n, buffer);
    default: return loadIntegers<u8>(p, stride, n, buffer);
  }
}

static void unstageIntegers(char* p, i32 dtype, i64 stride, i64 n, const i32* from) {
  for (i64 i = 0; i < n; i++) switch (dtype) {
      case INT32: ((i32*)p)[i * stride] = from[i]; break;
      case BOOL: ((u8*)p)[i * stride] = from[i] != 0; break;
      default: ((u8*)p)[i * stride] = (u8)from[i];
    }
}

void binary(const Args& args) {
  const int code = (int)args.number[0];
  const bool floats = isFloat(args[0].dtype);
  if (!floats && isFloat(args[2].dtype)) return args.operandError(2);
  Strided<3>({&args[0], &args[1], &args[2]}).forRuns(args, [&](const Run<3>& run, i32) {
    for (i64 i = 0; i < run.count; i += BLOCK) {
      const i64 n = least(BLOCK, run.count - i);
      char* const out = run.at(2, i);
      if (floats) {
        float buffers[3][BLOCK];
        const float* const a = stage(run.at(0, i), run.dtype[0], run.stride[0], n, buffers[0]);
        const float* const b = stage(run.at(1, i), run.dtype[1], run.stride[1], n, buffers[1]);
        float* const to = target(out, run.dtype[2], run.stride[2], buffers[2]);
        binaryFloats(code, a, b, to, n);
        unstage(out, run.dtype[2], run.stride[2], n, to);
      } else {
        i32 buffers[3][BLOCK];
        stageIntegers(run.at(0, i), run.dtype[0], run.stride[0], n, buffers[0]);
        stageIntegers(run.at(1, i), run.dtype[1], run.stride[1], n, buffers[1]);
        binaryIntegers(code, buffers[0], buffers[1], buffers[2], n);
        unstageIntegers(out, run.dtype[2], run.stride[2], n, buffers[2]);
      }
    }
  });
}

// ---- select and axpby ----

template <class T>
static void selectRun(const Run<4>& run) {
  const u8* const condition = (const u8*)run.data[0];
  const T* const a = (const T*)run.data[1];
  const T* const b = (const T*)run.data[2];
  T* const out = (T*)run.data[3];
  const auto [sc, sa, sb, so] = run.stride;
  if (sc == 1 && sa == 1 && sb == 1 && so == 1)
    for (i64 i = 0; i < run.count; i++) out[i] = condition[i] ? a[i] : b[i];
  else
    for (i64 i = 0; i < run.count; i++) out[i * so] = condition[i * sc] ? a[i * sa] : b[i * sb];
}

void select(const Args& args) {
  for (int i = 1; i < 3; i++)
    if (args[i].dtype != args[3].dtype) return args.operandError(i);
  Strided<4>({&args[0], &args[1], &args[2], &args[3]}).forRuns(args, [](const Run<4>& run, i32) {
    switch (elementBytes(run.dtype[3])) {
      case 4: return selectRun<u32>(run);
      case 2: return selectRun<u16>(run);
      default: return selectRun<u8>(run);
    }
  });
}

void axpby(const Args& args) {
  const vf alpha = splat((float)args.number[0]), beta = splat((float)args.number[1]);
  Strided<3>({&args[0], &args[1], &args[2]}).forRuns(args, [&](const Run<3>& run, i32) {
    float buffers[3][BLOCK];
    for (i64 i = 0; i < run.count; i += BLOCK) {
      const i64 n = least(BLOCK, run.count - i);
      char* const out = run.at(2, i);
      const float* const a = stage(run.at(0, i), run.dtype[0], run.stride[0], n, buffers[0]);
      const float* const b = stage(run.at(1, i), run.dtype[1], run.stride[1], n, buffers[1]);
      float* const to = target(out, run.dtype[2], run.stride[2], buffers[2]);
      zip(a, b, to, n, [&](vf x, vf y) { return fma(alpha, x, beta * y); });
      unstage(out, run.dtype[2], run.stride[2], n, to);
    }
  });
}

}  // namespace MK_ISA
