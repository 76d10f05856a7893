// What the two ways of multiplying matrices share: the problem, and what happens to results on their way out.
// Letters: a (M, K), b (K, N) after transposition, out (M, N).
#pragma once
#include "functions.h"

namespace MK_ISA {

/// A rank-2 matrix of one batch item: element (i, j) lies at i * row + j * column.
struct Matrix {
  const char* data;
  i32 dtype;
  i64 row, column;
};

struct Epilogue {
  float alpha;
  const char* bias;
  i32 biasDtype;
  int activation;
};

struct Problem {
  Matrix a, b;
  /// b is stored as (N, K).
  bool bAlongK;
  char* out;
  i32 outDtype;
  i64 outStride;
  i64 M, N, K;
  bool accumulate;
  Epilogue epilogue;
};

static inline vf biasAt(const Epilogue& e, i64 column, i64 n) {
  vf x = {};
  withFloat(e.biasDtype, [&](auto tag) {
    using S = decltype(tag);
    x = loadUpTo<S>((const typename S::T*)e.bias + column, n);
  });
  return x;
}

/// Bias and activation on n results from `column` on.
static inline vf finished(const Epilogue& e, vf x, i64 column, i64 n) {
  if (e.bias) x += biasAt(e, column, n);
  if (e.activation) withActivation(e.activation, [&](auto function) { x = decltype(function)::f(x, Parameters{}); });
  return x;
}

/// Most rows that count as few.
constexpr i64 FEW = 8;
/// Products of at most FEW rows (decoding): b is read once, as it lies.
void gemmFewRows(const Args& args, const Problem& p);

}  // namespace MK_ISA
