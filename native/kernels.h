// The kernels of one instruction set, by the names of src/backend/kernels.ts. One file a family under kernels/. A kernel
// that is not listed here is reported as missing by the backends.
#pragma once
#include "kernel.h"

#define MK_KERNELS(X)                                          \
  X(fill) X(copy) X(unary) X(unaryGrad) X(binary) X(select)    \
  X(axpby)                                                     \
  X(reduce) X(softmax) X(softmaxGrad) X(crossEntropy)          \
  X(gather) X(scatterAdd) X(adamW) X(random) X(dropout) X(sample) \
  X(gatedActivation) X(gatedActivationGrad)                    \
  X(gemm)                                                      \
  X(selectiveScan) X(selectiveScanGrad)                        \
  X(causalConv1d) X(causalConv1dGrad)                          \
  X(convolution) X(convolutionGradInput) X(convolutionGradWeight) \
  X(rmsNorm) X(rmsNormGrad) X(layerNorm) X(layerNormGrad)      \
  X(groupStatistics) X(groupNorm) X(groupNormGrad)             \
  X(resample) X(maxPool) X(maxPoolGrad)                        \
  X(gridSample) X(gridSampleGrad)                              \
  X(attention) X(attentionGrad) X(rotary)

namespace MK_ISA {
#define MK_DECLARE(name) void name(const Args&);
MK_KERNELS(MK_DECLARE)
#undef MK_DECLARE
}  // namespace MK_ISA
