// The register tile of matrix products and convolutions: MR rows by NV vectors, as many accumulators as the registers hold
// beside the operands.
#pragma once
#include "../vec.h"

namespace MK_ISA {

#if MK_LANES == 16
constexpr int MR = 12, NV = 2;
#elif defined(__aarch64__)
constexpr int MR = 8, NV = 2;
#elif defined(__wasm__)
constexpr int MR = 4, NV = 2;
#else
constexpr int MR = 6, NV = 2;
#endif
constexpr int NR = NV * W;

}  // namespace MK_ISA
