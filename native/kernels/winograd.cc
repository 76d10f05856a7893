// Dense convolution of 3 x 3 by the minimal algorithm F(4 x 4, 3 x 3) (Lavin and Gray, arXiv 1509.09308): a tile of 4 x 4
// results takes 36 products for each pair of channels, where one by one they take 144. Tile of the image, weight and
// products are each turned by a small matrix on both sides. Results differ from direct sums by rounding alone; a
// value that is not finite reaches the whole tile.
#include "convolution_frames.h"

namespace MK_ISA {

namespace {

/// Side of a tile of results and of the part of the image that it sees, and that one's points.
constexpr i64 SIDE = 4, SEEN = 6, POINTS = SEEN * SEEN;
/// What a task's turned tiles may take: about what stays in the second-level cache beside the weights.
constexpr i64 TASK_BYTES = 640 << 10;

/// The points of the algorithm are 0, +-P, +-Q and infinity. With these its rounding errors are twice those of sums one by
/// one; with the usual 1 and 2 they are four times those (standard deviations, 96 channels).
constexpr float P = 0.75f, Q = 1.5f, P2 = P * P, Q2 = Q * Q;

/// Turns a line of the image.
inline void turnImage(const vf (&d)[SEEN], vf (&t)[SEEN]) {
  const vf evenP = d[4] - Q2 * d[2], oddP = P * (d[3] - Q2 * d[1]);
  const vf evenQ = d[4] - P2 * d[2], oddQ = Q * (d[3] - P2 * d[1]);
  t[0] = P2 * Q2 * d[0] - (P2 + Q2) * d[2] + d[4];
  t[1] = evenP + oddP;
  t[2] = evenP - oddP;
  t[3] = evenQ + oddQ;
  t[4] = evenQ - oddQ;
  t[5] = P2 * Q2 * d[1] - (P2 + Q2) * d[3] + d[5];
}

/// Turns a line of the weight.
inline void turnWeight(const vf (&g)[3], vf (&t)[SEEN]) {
  constexpr float ofP = 1 / (2 * P2 * (P2 - Q2)), ofQ = 1 / (2 * Q2 * (Q2 - P2));
  const vf evenP = ofP * (g[0] + P2 * g[2]), oddP = ofP * P * g[1];
  const vf evenQ = ofQ * (g[0] + Q2 * g[2]), oddQ = ofQ * Q * g[1];
  t[0] = 1 / (P2 * Q2) * g[0];
  t[1] = evenP + oddP;
  t[2] = evenP - oddP;
  t[3] = evenQ + oddQ;
  t[4] = evenQ - oddQ;
  t[5] = g[2];
}

/// Turns a line of products to results.
inline void turnBack(const vf (&m)[SEEN], vf (&y)[SIDE]) {
  const vf evenP = m[1] + m[2], oddP = m[1] - m[2], evenQ = m[3] + m[4], oddQ = m[3] - m[4];
  y[0] = m[0] + evenP + evenQ;
  y[1] = P * oddP + Q * oddQ;
  y[2] = P2 * evenP + Q2 * evenQ;
  y[3] = P * P2 * oddP + Q * Q2 * oddQ + m[5];
}

/// What the tasks share: weights as (point, panel, inner, NR), tiles of a map, and the tiles of a task.
struct Plan {
  const float* weight;
  i64 inner, lanes, panels;
  i64 height, width;
  i64 tiles, together;
};

/// Turns packed weights. A unit of work is an inner channel of a panel.
const float* turnWeights(const Args& args, const float* weight, i64 inner, i64 panels) {
  float* const to = args.shared<float>(6, POINTS * panels * inner * NR);
  args.ranges(panels * inner, 16, [&](i64 begin, i64 end, i32) {
    for (i64 unit = begin; unit < end; unit++) {
      const float* const from = weight + (unit / inner * 9 * inner + unit % inner) * NR;
      for (i64 v = 0; v < NR; v += W) {
        vf half[3][SEEN];
        for (i64 j = 0; j < 3; j++) {
          const vf column[3] = {load(from + j * inner * NR + v), load(from + (3 + j) * inner * NR + v),
                                load(from + (6 + j) * inner * NR + v)};
          turnWeight(column, half[j]);
        }
        for (i64 i = 0; i < SEEN; i++) {
          const vf row[3] = {half[0][i], half[1][i], half[2][i]};
          vf turned[SEEN];
          turnWeight(row, turned);
          for (i64 j = 0; j < SEEN; j++) store(to + ((i * SEEN + j) * panels * inner + unit) * NR + v, turned[j]);
        }
      }
    }
  });
  return to;
}

/// Turns the part of the image that a tile sees, to points `step` apart.
void turnTile(const Frame& frame, i64 channels, float* to, i64 step) {
  for (i64 c = 0; c < channels; c += W) {
    const i64 n = channels - c;
    vf half[SEEN][SEEN];
    for (i64 j = 0; j < SEEN; j++) {
      vf column[SEEN];
      for (i64 i = 0; i < SEEN; i++)
        column[i] = loadUpTo<F32>(frame.data + i * frame.stride[2] + j * frame.stride[3] + c, n);
      turnImage(column, half[j]);
    }
    for (i64 i = 0; i < SEEN; i++) {
      vf row[SEEN], turned[SEEN];
      for (i64 j = 0; j < SEEN; j++) row[j] = half[j][i];
      turnImage(row, turned);
      for (i64 j = 0; j < SEEN; j++) store(to + (i * SEEN + j) * step + c, turned[j]);
    }
  }
}

/// Products of a point: `rows` tiles (a multiple of MR) of `stride` values times a panel.
template <int N>
void multiplyPoint(const float* a, i64 stride, i64 rows, i64 inner, const float* b, float* to) {
  const Stretch all = {0, inner};
  for (i64 i = 0; i < rows; i += MR) {
    const float* row[MR];
    for (int r = 0; r < MR; r++) row[r] = a + (i + r) * stride;
    vf acc[MR][NV];
    tile<N>(row, &all, &all + 1, b, acc);
#pragma GCC unroll 16
    for (int r = 0; r < MR; r++)
#pragma GCC unroll 4
      for (int v = 0; v < N; v++) store(to + (i + r) * NR + v * W, acc[r][v]);
  }
}

/// Turns the products of a tile back, for one vector of channels, and stores what lies in the map.
void finishTile(const float* from, i64 step, vf bias, const View& to, i64 at, i64 rows, i64 columns, i64 n) {
  vf half[SEEN][SIDE];
  for (i64 j = 0; j < SEEN; j++) {
    vf column[SEEN];
    for (i64 i = 0; i < SEEN; i++) column[i] = load(from + (i * SEEN + j) * step);
    turnBack(column, half[j]);
  }
  for (i64 i = 0; i < rows; i++) {
    vf row[SEEN], y[SIDE];
    for (i64 j = 0; j < SEEN; j++) row[j] = half[j][i];
    turnBack(row, y);
    for (i64 j = 0; j < columns; j++) storeAny(to, at + i * to.stride[2] + j * to.stride[3], y[j] + bias, n);
  }
}

/// The tiles from `first` on.
void runTask(const Args& args, const Plan& plan, const Pass& pass, const View& from, const View& to, const View& bias,
             i64 first, i32 thread) {
  const Line* const l = pass.line;
  const i64 across = ceilDiv(plan.width, SIDE), down = ceilDiv(plan.height, SIDE);
  const i64 count = least(plan.together, plan.tiles - first), rows = roundUp(count, MR);
  const i64 stride = roundUp(plan.inner, W), step = rows * stride;
  float* const turned = args.scratch<float>(thread, 1, POINTS * step);
  float* const products = args.scratch<float>(thread, 2, POINTS * rows * NR);
  struct Tile {
    i64 b, t, row, column;
  };
  const auto tileAt = [&](i64 i) -> Tile {
    i += first;
    return {i / across / down / l[0].count, i / across / down % l[0].count, i / across % down * SIDE, i % across * SIDE};
  };
  for (i64 i = 0; i < count; i++) {
    const Tile at = tileAt(i);
    const Block block = {at.b, 1, at.t, at.row, SIDE, at.column, SIDE};
    turnTile(frameOf(args, pass, from, block, thread), plan.inner, turned + i * stride, step);
  }
  // Rows that stand for no tile are multiplied too: they must hold numbers that do no harm.
  for (i64 point = 0; point < POINTS; point++)
    for (i64 i = count * stride; i < rows * stride; i++) turned[point * step + i] = 0;
  for (i64 panel = 0; panel < plan.panels; panel++) {
    const i64 lane = panel * NR, n = least<i64>(NR, plan.lanes - lane);
    for (i64 point = 0; point < POINTS; point++) {
      const float* const b = plan.weight + (point * plan.panels + panel) * plan.inner * NR;
      const auto multiply = n > W ? multiplyPoint<NV> : multiplyPoint<1>;
      multiply(turned + point * step, stride, rows, plan.inner, b, products + point * rows * NR);
    }
    for (i64 i = 0; i < count; i++) {
      const Tile at = tileAt(i);
      const i64 place = at.b * to.stride[0] + (l[0].toStart + at.t * l[0].toStep) * to.stride[1] +
                        (l[1].toStart + at.row) * to.stride[2] + (l[2].toStart + at.column) * to.stride[3] + lane;
      const i64 height = least(SIDE, plan.height - at.row), width = least(SIDE, plan.width - at.column);
      for (i64 v = 0; v < n; v += W) {
        const vf start = bias ? loadAny(bias, lane + v, n - v) : vf{};
        finishTile(products + i * NR + v, rows * NR, start, to, place + v, height, width, n - v);
      }
    }
  }
}

}  // namespace

bool suitsWinograd(const Pass& pass, i64 inner, i64 lanes) {
  const auto dense = [](const Line& line) {
    return line.taps == 3 && line.tapStep == 1 && line.fromStep == 1 && line.toStep == 1;
  };
  // Whether it is chosen does not depend on the batch, so that an image gives the same in any.
  return pass.line[0].taps == 1 && dense(pass.line[1]) && dense(pass.line[2]) && inner >= 16 && lanes >= 16 &&
         pass.line[1].count * pass.line[2].count >= 14 * 14;
}

void winograd(const Args& args, const Pass& pass, const View& from, const View& to, const View& bias, const float* weight,
              i64 inner, i64 lanes) {
  Plan plan = {nullptr, inner, lanes, ceilDiv(lanes, NR), pass.line[1].count, pass.line[2].count, 0, 0};
  plan.weight = turnWeights(args, weight, inner, plan.panels);
  plan.tiles = to.dim[0] * pass.line[0].count * ceilDiv(plan.height, SIDE) * ceilDiv(plan.width, SIDE);
  const i64 bytes = POINTS * (roundUp(inner, W) + NR) * (i64)sizeof(float);
  // Not more than a thread's share, in whole register tiles.
  const i64 share = ceilDiv(plan.tiles, args.runtime->threads);
  plan.together = most<i64>(MR, least(TASK_BYTES / bytes, share) / MR * MR);
  args.parallel(ceilDiv(plan.tiles, plan.together), [&](i64 task, i32 thread) {
    runTask(args, plan, pass, from, to, bias, task * plan.together, thread);
  });
}

}  // namespace MK_ISA
