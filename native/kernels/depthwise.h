// What the forms of depth-wise convolution share: images as floats.
#pragma once
#include "convolution.h"

namespace MK_ISA {

/// An image as floats: where it lies, or as a dense copy in a shared slot.
struct Floats {
  float* data;
  i64 stride[4];
};

inline Floats floatsOf(const Args& args, const View& v, int slot, bool filled) {
  if (v.dtype == FLOAT32) return {(float*)v.data, {v.stride[0], v.stride[1], v.stride[2], v.stride[3]}};
  const i64 c = v.dim[4], w = v.dim[3] * c, h = v.dim[2] * w, t = v.dim[1] * h;
  Floats to = {args.shared<float>(slot, v.dim[0] * t), {t, h, w, c}};
  if (filled)
    args.ranges(v.dim[0] * v.dim[1] * v.dim[2], 4, [&](i64 begin, i64 end, i32) {
      for (i64 r = begin; r < end; r++) {
        const i64 at = r / v.dim[2] / v.dim[1] * v.stride[0] + r / v.dim[2] % v.dim[1] * v.stride[1] + r % v.dim[2] * v.stride[2];
        for (i64 x = 0; x < v.dim[3]; x++) stage(v.data + (at + x * v.stride[3]) * 2, v.dtype, 1, c, to.data + r * w + x * c);
      }
    });
  return to;
}

}  // namespace MK_ISA
