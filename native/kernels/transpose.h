// Transposition of a square of W x W floats in registers.
#pragma once
#include "../vec.h"

namespace MK_ISA {

// One step exchanges the off-diagonal blocks of width h between rows that lie h apart: `low` takes the lanes without bit
// h of a and, moved up by h, of b; `high` those with it.
template <int H>
static inline void exchange(vf& a, vf& b);

#define MK_EXCHANGE(H, LOW, HIGH)                     \
  template <>                                         \
  inline void exchange<H>(vf & a, vf & b) {           \
    const vf low = MK_SHUFFLE(a, b, MK_UNPACK LOW);   \
    b = MK_SHUFFLE(a, b, MK_UNPACK HIGH);             \
    a = low;                                          \
  }
#define MK_UNPACK(...) __VA_ARGS__

#if MK_LANES == 4
MK_EXCHANGE(1, (0, 4, 2, 6), (1, 5, 3, 7))
MK_EXCHANGE(2, (0, 1, 4, 5), (2, 3, 6, 7))
#elif MK_LANES == 8
MK_EXCHANGE(1, (0, 8, 2, 10, 4, 12, 6, 14), (1, 9, 3, 11, 5, 13, 7, 15))
MK_EXCHANGE(2, (0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15))
MK_EXCHANGE(4, (0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15))
#elif MK_LANES == 16
MK_EXCHANGE(1, (0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30),
            (1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
MK_EXCHANGE(2, (0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),
            (2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
MK_EXCHANGE(4, (0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27),
            (4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
MK_EXCHANGE(8, (0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
            (8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
#endif

template <int H = 1>
static inline void transpose(vf (&row)[W]) {
#pragma GCC unroll 16
  for (int i = 0; i < W; i++)
    if (!(i & H)) exchange<H>(row[i], row[i + H]);
  if constexpr (2 * H < W) transpose<2 * H>(row);
}

#undef MK_EXCHANGE
#undef MK_UNPACK

}  // namespace MK_ISA
