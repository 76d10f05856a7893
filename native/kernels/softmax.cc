// Softmax over rows, its logarithm, and its gradient from the output.
#include "../kernels.h"
#include "rows.h"

namespace MK_ISA {

void softmax(const Args& args) {
  const View &input = args[0], &out = args[1];
  const bool logarithm = args.number[0] != 0;
  const i64 n = input.dim[1];
  forRows(args, input.dim[0], n, [&](i64 r, i32 thread) {
    float* const buffer = args.scratch<float>(thread, 0, 2 * paddedRow(n));
    const float* const x = stage(rowOf(input, r), input.dtype, input.stride[1], n, buffer);
    char* const to = rowOf(out, r);
    float* const y = target(to, out.dtype, out.stride[1], buffer + paddedRow(n));
    const float largest = rowMaximum(x, n);
    if (logarithm) {
      const float total = rowSum(x, n, [&](vf v) { return exp(v - largest); });
      const float shift = log(splat(total))[0];
      map(x, y, n, [&](vf v) { return (v - largest) - shift; });
    } else {
      map(x, y, n, [&](vf v) { return exp(v - largest); });
      const float scale = 1.0f / rowSum(y, n, [](vf v) { return v; });
      map(y, y, n, [&](vf v) { return v * scale; });
    }
    unstage(to, out.dtype, out.stride[1], n, y);
  });
}

void softmaxGrad(const Args& args) {
  const View &output = args[0], &gradOut = args[1], &gradIn = args[2];
  const bool logarithm = args.number[0] != 0;
  const i64 n = output.dim[1];
  forRows(args, output.dim[0], n, [&](i64 r, i32 thread) {
    const i64 padded = paddedRow(n);
    float* const buffer = args.scratch<float>(thread, 0, 3 * padded);
    const float* const y = stage(rowOf(output, r), output.dtype, output.stride[1], n, buffer);
    const float* const g = stage(rowOf(gradOut, r), gradOut.dtype, gradOut.stride[1], n, buffer + padded);
    char* const to = rowOf(gradIn, r);
    float* const x = target(to, gradIn.dtype, gradIn.stride[1], buffer + 2 * padded);
    if (logarithm) {
      const float total = rowSum(g, n, [](vf v) { return v; });
      zip(y, g, x, n, [&](vf y, vf g) { return g - exp(y) * total; });
    } else {
      const float total = rowSum(y, g, n, [](vf y, vf g) { return y * g; });
      zip(y, g, x, n, [&](vf y, vf g) { return y * (g - total); });
    }
    unstage(to, gradIn.dtype, gradIn.stride[1], n, x);
  });
}

}  // namespace MK_ISA
