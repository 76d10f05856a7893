// Element-wise loops over operands with any strides: axes are merged where all operands allow it, the rest is cut into
// runs along the last axis, and elements become blocks of floats (or ints), whatever their storage.
#pragma once
#include "../vec.h"

namespace MK_ISA {

/// Elements a block holds: three or four blocks stay in the first-level cache.
constexpr i64 BLOCK = 1024;
/// Elements a task works on at least.
constexpr i64 TASK_ELEMENTS = 16384;

static inline i64 elementBytes(i32 dtype) {
  return dtype == FLOAT32 || dtype == INT32 ? 4 : dtype == FLOAT16 || dtype == BFLOAT16 ? 2 : 1;
}
static inline bool isFloat(i32 dtype) { return dtype <= BFLOAT16; }

template <class S>
static inline void loadRun(const char* p, i64 stride, i64 n, float* to) {
  const typename S::T* const from = (const typename S::T*)p;
  if (stride == 1) {
    i64 i = 0;
    for (; i + W <= n; i += W) store(to + i, S::load(from + i));
    if (i < n) storePart<F32>(to + i, loadPart<S>(from + i, n - i), n - i);
  } else {
    for (i64 i = 0; i < n; i++) to[i] = S::get(from[i * stride]);
  }
}
template <class S>
static inline void storeRun(char* p, i64 stride, i64 n, const float* from) {
  typename S::T* const to = (typename S::T*)p;
  if (stride == 1) {
    i64 i = 0;
    for (; i + W <= n; i += W) S::store(to + i, load(from + i));
    if (i < n) storePart<S>(to + i, loadPart<F32>(from + i, n - i), n - i);
  } else {
    for (i64 i = 0; i < n; i++) to[i * stride] = S::put(from[i]);
  }
}
template <class T, class To>
static inline void loadIntegers(const char* p, i64 stride, i64 n, To* to) {
  const T* const from = (const T*)p;
  for (i64 i = 0; i < n; i++) to[i] = (To)from[i * stride];
}

/// Truncates, saturates at the ends of the range, NaN gives 0.
static inline i32 truncated(float x) {
  return x >= 2147483648.0f ? 0x7fffffff : x > -2147483648.0f ? (i32)x : x != x ? 0 : -0x7fffffff - 1;
}
template <class T>
static inline void storeIntegers(char* p, i64 stride, i64 n, const float* from) {
  T* const to = (T*)p;
  for (i64 i = 0; i < n; i++) to[i * stride] = (T)truncated(from[i]);
}
static inline void storeBooleans(char* p, i64 stride, i64 n, const float* from) {
  u8* const to = (u8*)p;
  for (i64 i = 0; i < n; i++) to[i * stride] = from[i] != 0.0f;
}

/// n elements as floats: where they lie if they are dense float32, else in `buffer`.
static inline const float* stage(const char* p, i32 dtype, i64 stride, i64 n, float* buffer) {
  if (dtype == FLOAT32 && stride == 1) return (const float*)p;
  if (stride == 0) {
    stage(p, dtype, 1, 1, buffer + 0);
    const float value = dtype == FLOAT32 ? *(const float*)p : buffer[0];
    for (i64 i = 0; i < n; i++) buffer[i] = value;
    return buffer;
  }
  switch (dtype) {
    case FLOAT32: loadRun<F32>(p, stride, n, buffer); break;
    case FLOAT16: loadRun<F16>(p, stride, n, buffer); break;
    case BFLOAT16: loadRun<BF16>(p, stride, n, buffer); break;
    case INT8: loadIntegers<i8>(p, stride, n, buffer); break;
    case INT32: loadIntegers<i32>(p, stride, n, buffer); break;
    default: loadIntegers<u8>(p, stride, n, buffer);
  }
  return buffer;
}

/// Where to compute n elements that `unstage` then stores.
static inline float* target(char* p, i32 dtype, i64 stride, float* buffer) {
  return dtype == FLOAT32 && stride == 1 ? (float*)p : buffer;
}
static inline void unstage(char* p, i32 dtype, i64 stride, i64 n, const float* from) {
  switch (dtype) {
    case FLOAT32:
      if ((const float*)p != from) storeRun<F32>(p, stride, n, from);
      break;
    case FLOAT16: storeRun<F16>(p, stride, n, from); break;
    case BFLOAT16: storeRun<BF16>(p, stride, n, from); break;
    case INT8: storeIntegers<i8>(p, stride, n, from); break;
    case INT32: storeIntegers<i32>(p, stride, n, from); break;
    case UINT8: storeIntegers<u8>(p, stride, n, from); break;
    default: storeBooleans(p, stride, n, from);
  }
}

/// out = f(a) for vectors along n elements; `out` may be `a`.
template <class F>
static inline void map(const float* a, float* out, i64 n, F&& f) {
  i64 i = 0;
  for (; i + W <= n; i += W) store(out + i, f(load(a + i)));
  if (i < n) storePart<F32>(out + i, f(loadPart<F32>(a + i, n - i)), n - i);
}
/// out = f(a, b); `out` may be `a` or `b`.
template <class F>
static inline void zip(const float* a, const float* b, float* out, i64 n, F&& f) {
  i64 i = 0;
  for (; i + W <= n; i += W) store(out + i, f(load(a + i), load(b + i)));
  if (i < n) storePart<F32>(out + i, f(loadPart<F32>(a + i, n - i), loadPart<F32>(b + i, n - i)), n - i);
}

/// A run of elements along the last axis of N operands.
template <int N>
struct Run {
  char* data[N];
  i32 dtype[N];
  i64 stride[N];
  i64 count;
  /// Position of the first element in row-major order.
  i64 first;
  char* at(int operand, i64 i) const { return data[operand] + i * stride[operand] * elementBytes(dtype[operand]); }
};

/// N operands of one shape, axes merged.
template <int N>
struct Strided {
  int rank = 0;
  i64 dim[MAX_RANK];
  i64 stride[N][MAX_RANK];
  char* data[N];
  i32 dtype[N];

  explicit Strided(const View* const (&view)[N]) {
    const View& shape = *view[N - 1];
    for (int k = 0; k < N; k++) {
      data[k] = view[k]->data;
      dtype[k] = view[k]->dtype;
    }
    for (int axis = 0; axis < shape.rank; axis++) {
      const i64 extent = shape.dim[axis];
      if (extent == 1) continue;
      bool merges = rank > 0;
      for (int k = 0; k < N && merges; k++) merges = stride[k][rank - 1] == extent * view[k]->stride[axis];
      if (!merges) rank++;
      dim[rank - 1] = merges ? dim[rank - 1] * extent : extent;
      for (int k = 0; k < N; k++) stride[k][rank - 1] = view[k]->stride[axis];
    }
    if (rank == 0) {
      rank = 1;
      dim[0] = 1;
      for (int k = 0; k < N; k++) stride[k][0] = 1;
    }
  }

  i64 count() const {
    i64 n = 1;
    for (int axis = 0; axis < rank; axis++) n *= dim[axis];
    return n;
  }

  /// Calls body(run, thread) for runs that cover all elements, over the threads.
  template <class Body>
  void forRuns(const Args& args, Body&& body) const {
    if (count() == 0) return;
    const i64 n = dim[rank - 1];
    const i64 length = n > 2 * TASK_ELEMENTS ? TASK_ELEMENTS : n;
    const i64 pieces = (n + length - 1) / length;
    const i64 rows = count() / n;
    args.ranges(rows * pieces, most<i64>(1, TASK_ELEMENTS / length), [&](i64 begin, i64 end, i32 thread) {
      for (i64 unit = begin; unit < end; unit++) {
        const i64 start = unit % pieces * length;
        Run<N> run;
        run.count = least(length, n - start);
        i64 offset[N];
        for (int k = 0; k < N; k++) {
          run.dtype[k] = dtype[k];
          run.stride[k] = stride[k][rank - 1];
          offset[k] = start * run.stride[k];
        }
        i64 row = unit / pieces;
        run.first = row * n + start;
        for (int axis = rank - 2; axis >= 0; axis--) {
          const i64 i = row % dim[axis];
          row /= dim[axis];
          for (int k = 0; k < N; k++) offset[k] += i * stride[k][axis];
        }
        for (int k = 0; k < N; k++) run.data[k] = data[k] + offset[k] * elementBytes(dtype[k]);
        body(run, thread);
      }
    });
  }
};

}  // namespace MK_ISA
