// Loops that show what this machine can do, for `mambakit bench`: no kernels of tensors, but called in the same way.
#pragma once
#include "kernel.h"

#define MK_LIMITS(X) X(benchGemmPeak) X(benchScanLimit) X(benchScanShort) X(benchMemoryRead)

namespace MK_ISA {
#define MK_DECLARE(name) void name(const Args&);
MK_LIMITS(MK_DECLARE)
#undef MK_DECLARE
}  // namespace MK_ISA
