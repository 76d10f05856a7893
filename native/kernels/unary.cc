// Element-wise functions of one value and their gradients.
#include "../kernels.h"
#include "functions.h"
#include "strided.h"

namespace MK_ISA {

// One loop an element-wise function; everything around them exists once.
typedef void (*ValueLoop)(const float* x, float* out, i64 n, const Parameters&);
typedef void (*GradLoop)(const float* x, const float* grad, float* out, i64 n, const Parameters&);

template <class F>
static void valueLoop(const float* x, float* out, i64 n, const Parameters& parameters) {
  const Parameters p = parameters;
  map(x, out, n, [&](vf v) { return F::f(v, p); });
}
template <class F>
static void gradLoop(const float* x, const float* grad, float* out, i64 n, const Parameters& parameters) {
  const Parameters p = parameters;
  zip(x, grad, out, n, [&](vf v, vf g) { return g * F::derivative(v, p); });
}

void unary(const Args& args) {
  const Parameters p = {splat((float)args.number[1]), splat((float)args.number[2])};
  ValueLoop loop = nullptr;
  withUnary((int)args.number[0], [&](auto function) { loop = valueLoop<decltype(function)>; });
  Strided<2>({&args[0], &args[1]}).forRuns(args, [&](const Run<2>& run, i32) {
    float buffers[2][BLOCK];
    for (i64 i = 0; i < run.count; i += BLOCK) {
      const i64 n = least(BLOCK, run.count - i);
      char* const out = run.at(1, i);
      const float* const x = stage(run.at(0, i), run.dtype[0], run.stride[0], n, buffers[0]);
      float* const to = target(out, run.dtype[1], run.stride[1], buffers[1]);
      loop(x, to, n, p);
      unstage(out, run.dtype[1], run.stride[1], n, to);
    }
  });
}

void unaryGrad(const Args& args) {
  const Parameters p = {splat((float)args.number[1]), splat((float)args.number[2])};
  GradLoop loop = nullptr;
  withUnary((int)args.number[0], [&](auto function) { loop = gradLoop<decltype(function)>; });
  Strided<3>({&args[0], &args[1], &args[2]}).forRuns(args, [&](const Run<3>& run, i32) {
    float buffers[3][BLOCK];
    for (i64 i = 0; i < run.count; i += BLOCK) {
      const i64 n = least(BLOCK, run.count - i);
      char* const out = run.at(2, i);
      const float* const x = stage(run.at(0, i), run.dtype[0], run.stride[0], n, buffers[0]);
      const float* const grad = stage(run.at(1, i), run.dtype[1], run.stride[1], n, buffers[1]);
      float* const to = target(out, run.dtype[2], run.stride[2], buffers[2]);
      loop(x, grad, to, n, p);
      unstage(out, run.dtype[2], run.stride[2], n, to);
    }
  });
}

}  // namespace MK_ISA
