// One AdamW step, in one pass over parameter, gradient and moments.
#include "../kernels.h"
#include "functions.h"
#include "strided.h"

namespace MK_ISA {

void adamW(const Args& args) {
  const View &parameter = args[0], &gradient = args[1], &first = args[2], &second = args[3];
  const View &schedule = args[4], &gradScale = args[5], &master = args[6];
  const View& updated = master ? master : parameter;
  if (first.dtype != FLOAT32) return args.operandError(2);
  if (second.dtype != FLOAT32) return args.operandError(3);
  if (master && master.dtype != FLOAT32) return args.operandError(6);
  const float* const steps = (const float*)schedule.data;
  const float scale = gradScale ? *(const float*)gradScale.data : 1.0f;
  // Infinity and NaN are not equal to themselves times 0.
  if (scale * 0.0f != 0.0f) return;
  const float beta1 = (float)args.number[0], beta2 = (float)args.number[1];
  // In double, so that 1 - beta keeps the digits of a beta near 1.
  const float rest1 = (float)(1.0 - args.number[0]), rest2 = (float)(1.0 - args.number[1]);
  const float epsilon = (float)args.number[2];
  const float decay = (float)(1.0 - (double)steps[0] * args.number[3]);
  const float rate = steps[0] / steps[1];
  const float correction2 = 1.0f / steps[2];
  args.ranges(parameter.count(), TASK_ELEMENTS, [&](i64 begin, i64 end, i32) {
    float buffers[2][BLOCK];
    for (i64 start = begin; start < end; start += BLOCK) {
      const i64 n = least(BLOCK, end - start);
      char* const to = parameter.data + start * elementBytes(parameter.dtype);
      char* const from = updated.data + start * elementBytes(updated.dtype);
      const char* const gradients = gradient.data + start * elementBytes(gradient.dtype);
      const float* const grads = stage(gradients, gradient.dtype, 1, n, buffers[0]);
      const float* const old = stage(from, updated.dtype, 1, n, buffers[1]);
      float* const fresh = target(from, updated.dtype, 1, buffers[1]);
      float* const m = (float*)first.data + start;
      float* const v = (float*)second.data + start;
      for (i64 i = 0; i < n; i += W) {
        const i64 left = n - i;
        const vf g = loadUpTo<F32>(grads + i, left) * scale;
        const vf mean = fma(loadUpTo<F32>(m + i, left), splat(beta1), g * rest1);
        const vf square = fma(loadUpTo<F32>(v + i, left), splat(beta2), g * g * rest2);
        storeUpTo<F32>(m + i, mean, left);
        storeUpTo<F32>(v + i, square, left);
        const vf step = mean * rate / (sqrt(square * correction2) + epsilon);
        storeUpTo<F32>(fresh + i, fma(loadUpTo<F32>(old + i, left), splat(decay), -step), left);
      }
      if (master) unstage(to, parameter.dtype, 1, n, fresh);
      else unstage(from, updated.dtype, 1, n, fresh);
    }
  });
}

}  // namespace MK_ISA
