// What the selective scan and memory can reach at most on this machine, measured by loops that do nothing else.
#include "../limits.h"
#include "scan.h"

namespace MK_ISA {

namespace {

/// State vectors advanced at once: enough independent chains to fill the pipes. That some of them leave the registers costs
/// less than idle pipes do (measured with 16 registers).
constexpr int CHAINS = 8;

/// Bytes a task reads.
constexpr i64 PIECE = 1 << 20;

/// The arithmetic of the scan's inner loop (scan.cc) on registers: a state update costs one exponential, by polynomial or as
/// the scan has it, and four multiplies and adds. Step sizes move a little each step, by an amount that the compiler does not know, so that nothing is invariant.
template <bool SHORT>
vf advance(i64 steps, float little) {
  vf a[CHAINS], b[CHAINS], h[CHAINS];
  for (int j = 0; j < CHAINS; j++) {
    a[j] = splat(-0.1f * (float)(j + 1));
    b[j] = splat(0.3f + 0.1f * (float)j);
    h[j] = vf{};
  }
  vf dt = splat(0.5f), du = splat(0.25f), total = {};
  const vf c = splat(0.7f);
  for (i64 t = 0; t < steps; t++) {
    dt = dt + little;
    du = du - little;
    vf y = du;
#pragma GCC unroll 8
    for (int j = 0; j < CHAINS; j++) {
      const vf x = atLeast(dt * a[j], -126.0f), e = SHORT ? exp2Short(x) : exp2InRange(x);
      h[j] = fma(e, h[j], du * b[j]);
      y = fma(h[j], c, y);
    }
    total = total + y;
  }
  return total;
}

/// About `number[0]` state updates on every thread; out (threads) takes sums, so that nothing is optimised away.
template <bool SHORT>
void advanceEach(const Args& args) {
  const i64 steps = (i64)(args.number[0] / (CHAINS * W));
  const float little = 1.0f / (float)(steps + 1);
  args.parallel(args.runtime->threads, [&](i64 task, i32) { ((float*)args[0].data)[task] = sum(advance<SHORT>(steps, little)); });
}

}  // namespace

void benchScanLimit(const Args& args) { advanceEach<false>(args); }
void benchScanShort(const Args& args) { advanceEach<true>(args); }

/// Reads the float32 vector `input`; out (1) takes a sum.
void benchMemoryRead(const Args& args) {
  const View &out = args[0], &input = args[1];
  const i64 each = PIECE / 4, pieces = (input.dim[0] + each - 1) / each;
  float* const sums = args.shared<float>(0, pieces);
  args.parallel(pieces, [&](i64 piece, i32) {
    const float* const from = (const float*)input.data + piece * each;
    const i64 n = least(each, input.dim[0] - piece * each);
    vf total[4] = {};
    for (i64 i = 0; i + 4 * W <= n; i += 4 * W)
      for (int v = 0; v < 4; v++) total[v] = total[v] + load(from + i + v * W);
    sums[piece] = sum(total[0] + total[1] + total[2] + total[3]);
  });
  float total = 0;
  for (i64 piece = 0; piece < pieces; piece++) total += sums[piece];
  ((float*)out.data)[0] = total;
}

}  // namespace MK_ISA
