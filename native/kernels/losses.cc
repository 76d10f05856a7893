// Cross-entropy over rows of logits and its gradient, with label smoothing and class weights.
#include "../kernels.h"
#include "rows.h"

namespace MK_ISA {

void crossEntropy(const Args& args) {
  const View &logits = args[0], &targets = args[1], &classWeights = args[2], &rowScale = args[3];
  const View &loss = args[4], &gradLogits = args[5];
  const i64 ignoreIndex = (i64)args.number[0];
  const float smoothing = (float)args.number[1], scale = (float)args.number[2];
  const i64 rows = logits.dim[0], classes = logits.dim[1];
  if (targets.dtype != INT32) return args.operandError(1);
  if (classWeights && classWeights.dtype != FLOAT32) return args.operandError(2);
  if (rowScale && rowScale.dtype != FLOAT32) return args.operandError(3);
  const auto targetOf = [&](i64 r) { return (i64)((const i32*)targets.data)[r * targets.stride[0]]; };
  for (i64 r = 0; r < rows; r++) {
    const i64 target = targetOf(r);
    if (target != ignoreIndex && (target < 0 || target >= classes)) {
      args.indexError(target, classes);
      break;
    }
  }
  const float* const weights = (const float*)classWeights.data;
  const float weightSum = weights ? rowSum(weights, classes, [](vf w) { return w; }) : (float)classes;
  const float perClass = smoothing / (float)classes;

  forRows(args, rows, classes, [&](i64 r, i32 thread) {
    const i64 padded = paddedRow(classes);
    float* const buffer = args.scratch<float>(thread, 0, 2 * padded);
    const i64 at = targetOf(r);
    const bool counts = at != ignoreIndex && at >= 0 && at < classes;
    char* const to = gradLogits ? rowOf(gradLogits, r) : nullptr;
    float* const grad = to ? target(to, gradLogits.dtype, gradLogits.stride[1], buffer + padded) : nullptr;
    float value = 0;
    if (counts) {
      const float* const x = stage(rowOf(logits, r), logits.dtype, logits.stride[1], classes, buffer);
      const float largest = rowMaximum(x, classes);
      const float atTarget = x[at] - largest;
      const float onTarget = (1.0f - smoothing) * (weights ? weights[at] : 1.0f);
      // Sum of weighted shifted logits, before `grad` takes the place of the logits.
      float spread = 0;
      if (smoothing != 0)
        spread = weights ? rowSum(x, weights, classes, [&](vf v, vf w) { return w * (v - largest); })
                         : rowSum(x, classes, [&](vf v) { return v - largest; });
      float total;
      if (grad) {
        map(x, grad, classes, [&](vf v) { return exp(v - largest); });
        total = rowSum(grad, classes, [](vf v) { return v; });
      } else {
        total = rowSum(x, classes, [&](vf v) { return exp(v - largest); });
      }
      const float logTotal = log(splat(total))[0];
      value = onTarget * (logTotal - atTarget);
      if (smoothing != 0) value += perClass * (weightSum * logTotal - spread);
      if (grad) {
        const float factor = scale * (rowScale ? ((const float*)rowScale.data)[r * rowScale.stride[0]] : 1.0f);
        const float invTotal = 1.0f / total;
        const float atClass = grad[at] * invTotal;
        const float perExp = (onTarget + perClass * weightSum) * invTotal * factor;
        const float share = perClass * factor;
        if (weights) zip(grad, weights, grad, classes, [&](vf e, vf w) { return e * perExp - w * share; });
        else map(grad, grad, classes, [&](vf e) { return e * perExp - share; });
        // Without cancellation where the target is nearly certain.
        const float even = atClass * weightSum - (weights ? weights[at] : 1.0f);
        grad[at] = ((atClass - 1.0f) * onTarget + perClass * even) * factor;
      }
    } else if (grad) {
      map(grad, grad, classes, [](vf) { return vf{}; });
    }
    if (grad) unstage(to, gradLogits.dtype, gradLogits.stride[1], classes, grad);
    if (loss) unstage(rowOf(loss, r), loss.dtype, 2, 1, &value);
  });
}

}  // namespace MK_ISA
