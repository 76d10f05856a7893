// The product of a value and an activated gate, and its gradient.
#include "../kernels.h"
#include "functions.h"
#include "strided.h"

namespace MK_ISA {

void gatedActivation(const Args& args) {
  const Parameters none = {};
  const Strided<3> all({&args[0], &args[1], &args[2]});
  withActivation((int)args.number[0], [&](auto function) {
    all.forRuns(args, [&](const Run<3>& run, i32) {
      float buffers[3][BLOCK];
      for (i64 i = 0; i < run.count; i += BLOCK) {
        const i64 n = least(BLOCK, run.count - i);
        char* const out = run.at(2, i);
        const float* const gate = stage(run.at(0, i), run.dtype[0], run.stride[0], n, buffers[0]);
        const float* const value = stage(run.at(1, i), run.dtype[1], run.stride[1], n, buffers[1]);
        float* const to = target(out, run.dtype[2], run.stride[2], buffers[2]);
        zip(gate, value, to, n, [&](vf g, vf v) { return decltype(function)::f(g, none) * v; });
        unstage(out, run.dtype[2], run.stride[2], n, to);
      }
    });
  });
}

void gatedActivationGrad(const Args& args) {
  const Parameters none = {};
  const Strided<5> all({&args[0], &args[1], &args[2], &args[3], &args[4]});
  withActivation((int)args.number[0], [&](auto function) {
    all.forRuns(args, [&](const Run<5>& run, i32) {
      float buffers[5][BLOCK];
      for (i64 i = 0; i < run.count; i += BLOCK) {
        const i64 n = least(BLOCK, run.count - i);
        const float* in[3];
        for (int k = 0; k < 3; k++) in[k] = stage(run.at(k, i), run.dtype[k], run.stride[k], n, buffers[k]);
        float* to[2];
        for (int k = 0; k < 2; k++) to[k] = target(run.at(3 + k, i), run.dtype[3 + k], run.stride[3 + k], buffers[3 + k]);
        // All of a vector is read before either result is stored, since a result may lie where an input lies.
        for (i64 j = 0; j < n; j += W) {
          const vf gate = loadUpTo<F32>(in[0] + j, n - j);
          const vf value = loadUpTo<F32>(in[1] + j, n - j);
          const vf grad = loadUpTo<F32>(in[2] + j, n - j);
          storeUpTo<F32>(to[0] + j, grad * decltype(function)::derivative(gate, none) * value, n - j);
          storeUpTo<F32>(to[1] + j, grad * decltype(function)::f(gate, none), n - j);
        }
        for (int k = 0; k < 2; k++) unstage(run.at(3 + k, i), run.dtype[3 + k], run.stride[3 + k], n, to[k]);
      }
    });
  });
}

}  // namespace MK_ISA
