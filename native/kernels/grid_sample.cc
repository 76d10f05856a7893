// Sampling of a grid of cells at any points, and its gradients. A lane is a channel. The gradient of the cells is summed
// over the points in their order, by one task for some channels of one member of the batch.
#include "../kernels.h"
#include "../vec.h"

namespace MK_ISA {

namespace {

enum Filter { LINEAR, NEAREST, CUBIC };
enum Outside { ZEROS, BORDER, REFLECTION };

/// Points that a task takes, and vectors of channels.
constexpr i64 POINTS = 64;
constexpr i64 VECTORS = 8;
constexpr int MOST_TAPS = 4;

/// What a coordinate reads along one axis: cells, their weights, and the weights' slopes in the coordinate.
struct Taps {
  int count = 0;
  i64 at[MOST_TAPS];
  float weight[MOST_TAPS], slope[MOST_TAPS];
  void add(i64 cell, i64 n, float w, float s) {
    if (cell < 0 || cell >= n) return;
    at[count] = cell;
    weight[count] = w;
    slope[count++] = s;
  }
};

float floorOf(float x) {
  const float whole = (float)(i32)x;
  return whole > x ? whole - 1 : whole;
}

struct Geometry {
  i64 extent[3];  // x, y, z
  int axes;
  int filter, outside;
  bool corners;

  /// A place within the axis for one outside, and the slope of that.
  float inside(float x, i64 n, float& slope) const {
    slope = 1;
    if (outside == ZEROS) return x;
    if (outside == REFLECTION) {
      const double low = corners ? 0 : -0.5, span = corners ? (double)n - 1 : (double)n;
      if (span == 0) {
        slope = 0;
        return 0;
      }
      const double from = (double)x - low;
      i64 turns = (i64)(from / span);
      if ((double)turns * span > from) turns--;
      const double rest = from - (double)turns * span;
      if (turns & 1) slope = -1;
      x = (float)(turns & 1 ? low + span - rest : low + rest);
    }
    if (x > 0 && x < (float)(n - 1)) return x;
    slope = 0;
    return x <= 0 ? 0 : (float)(n - 1);
  }

  Taps taps(float coordinate, i64 n) const {
    const float scale = (corners ? (float)(n - 1) : (float)n) * 0.5f;
    const float place = corners ? (coordinate + 1) * scale : ((coordinate + 1) * (float)n - 1) * 0.5f;
    const float limited = place > 4194304.0f ? 4194304.0f : place < -4194304.0f ? -4194304.0f : place;
    Taps t;
    float slope;
    if (filter == CUBIC) {
      const float low = floorOf(limited), f = limited - low;
      for (int k = -1; k < 3; k++) {
        const float d = f - (float)k, x = d < 0 ? -d : d;
        const float w = x < 1 ? (1.25f * x - 2.25f) * x * x + 1 : ((-0.75f * x + 3.75f) * x - 6) * x + 3;
        const float s = (x < 1 ? (3.75f * x - 4.5f) * x : (-2.25f * x + 7.5f) * x - 6) * (d < 0 ? -1.0f : 1.0f);
        t.add((i64)inside(low + (float)k, n, slope), n, w, s * scale);
      }
      return t;
    }
    const float x = inside(limited, n, slope);
    if (filter == NEAREST) {
      float nearest = floorOf(x);
      const float rest = x - nearest;
      if (rest > 0.5f || (rest == 0.5f && ((i64)nearest & 1))) nearest += 1;
      t.add((i64)nearest, n, 1, 0);
      return t;
    }
    const float low = floorOf(x);
    t.add((i64)low, n, 1 - (x - low), -slope * scale);
    t.add((i64)low + 1, n, x - low, slope * scale);
    return t;
  }
};

/// The cells that a point reads.
struct Cells {
  int count = 0;
  i64 at[MOST_TAPS * MOST_TAPS * MOST_TAPS];
  float weight[MOST_TAPS * MOST_TAPS * MOST_TAPS];
  float slope[3][MOST_TAPS * MOST_TAPS * MOST_TAPS];
};

Geometry geometryOf(const Args& args, const View& grid) {
  Geometry g;
  for (int i = 0; i < 3; i++) g.extent[i] = (i64)args.number[2 - i];
  g.axes = (int)grid.dim[2];
  g.filter = (int)args.number[3];
  g.outside = (int)args.number[4];
  g.corners = args.number[5] != 0;
  return g;
}

/// False for a point with a NaN coordinate.
bool cellsOf(const Geometry& g, const View& grid, i64 b, i64 i, Cells& cells) {
  const float* point = (const float*)grid.data + b * grid.stride[0] + i * grid.stride[1];
  Taps taps[3];
  for (int axis = 0; axis < 3; axis++) {
    if (axis >= g.axes) {
      taps[axis].add(0, 1, 1, 0);
      continue;
    }
    if (point[axis] != point[axis]) return false;
    taps[axis] = g.taps(point[axis], g.extent[axis]);
  }
  cells.count = 0;
  const Taps &x = taps[0], &y = taps[1], &z = taps[2];
  for (int k = 0; k < z.count; k++)
    for (int j = 0; j < y.count; j++)
      for (int l = 0; l < x.count; l++) {
        const int n = cells.count++;
        cells.at[n] = (z.at[k] * g.extent[1] + y.at[j]) * g.extent[0] + x.at[l];
        cells.weight[n] = x.weight[l] * y.weight[j] * z.weight[k];
        cells.slope[0][n] = x.slope[l] * y.weight[j] * z.weight[k];
        cells.slope[1][n] = x.weight[l] * y.slope[j] * z.weight[k];
        cells.slope[2][n] = x.weight[l] * y.weight[j] * z.slope[k];
      }
  return true;
}

bool operandsFit(const Args& args, int count) {
  for (int i = 0; i < count; i++)
    if (args[i] && args[i].dtype > (i == 1 ? FLOAT32 : BFLOAT16)) {
      args.operandError(i);
      return false;
    }
  return true;
}

}  // namespace

void gridSample(const Args& args) {
  if (!operandsFit(args, 3)) return;
  const View &input = args[0], &grid = args[1], &out = args[2];
  const Geometry g = geometryOf(args, grid);
  const i64 points = out.dim[1], channels = out.dim[2];
  args.ranges(out.dim[0] * points, POINTS, [&](i64 begin, i64 end, i32) {
    Cells cells;
    for (i64 at = begin; at < end; at++) {
      const i64 b = at / points, i = at % points, to = b * out.stride[0] + i * out.stride[1];
      const bool known = cellsOf(g, grid, b, i, cells);
      for (i64 c = 0; c < channels; c += W) {
        vf total = known ? vf{} : splat(__builtin_nanf(""));
        if (known)
          for (int k = 0; k < cells.count; k++)
            total = fma(splat(cells.weight[k]),
                        loadAny(input, b * input.stride[0] + cells.at[k] * input.stride[1] + c, channels - c), total);
        storeAny(out, to + c, total, channels - c);
      }
    }
  });
}

void gridSampleGrad(const Args& args) {
  if (!operandsFit(args, 4)) return;
  const View &input = args[0], &grid = args[1], &gradOut = args[2], &gradIn = args[3], &gradGrid = args[4];
  if (gradGrid && gradGrid.dtype != FLOAT32) return args.operandError(4);
  const Geometry g = geometryOf(args, grid);
  const i64 batch = gradOut.dim[0], points = gradOut.dim[1], channels = gradOut.dim[2], positions = input.dim[1];
  if (gradGrid)
    args.ranges(batch * points, POINTS, [&](i64 begin, i64 end, i32) {
      Cells cells;
      for (i64 at = begin; at < end; at++) {
        const i64 b = at / points, i = at % points;
        const bool known = cellsOf(g, grid, b, i, cells);
        float total[3] = {};
        for (int k = 0; known && k < cells.count; k++) {
          vf dot = {};
          for (i64 c = 0; c < channels; c += W)
            dot = fma(loadAny(input, b * input.stride[0] + cells.at[k] * input.stride[1] + c, channels - c),
                      loadAny(gradOut, b * gradOut.stride[0] + i * gradOut.stride[1] + c, channels - c), dot);
          const float value = sum(dot);
          for (int axis = 0; axis < g.axes; axis++) total[axis] += cells.slope[axis][k] * value;
        }
        float* to = (float*)gradGrid.data + b * gradGrid.stride[0] + i * gradGrid.stride[1];
        for (int axis = 0; axis < g.axes; axis++) to[axis] = known ? total[axis] : __builtin_nanf("");
      }
    });
  if (!gradIn) return;
  const i64 blocks = (channels + VECTORS * W - 1) / (VECTORS * W);
  args.parallel(batch * blocks, [&](i64 task, i32 thread) {
    const i64 b = task / blocks, first = task % blocks * VECTORS * W, count = least(VECTORS * W, channels - first);
    const i64 space = (count + W - 1) / W * W;
    float* sums = args.scratch<float>(thread, 0, positions * space);
    for (i64 i = 0; i < positions * space; i += W) store(sums + i, vf{});
    Cells cells;
    for (i64 i = 0; i < points; i++) {
      if (!cellsOf(g, grid, b, i, cells)) continue;
      for (i64 c = 0; c < count; c += W) {
        const vf go = loadAny(gradOut, b * gradOut.stride[0] + i * gradOut.stride[1] + first + c, count - c);
        for (int k = 0; k < cells.count; k++) {
          float* to = sums + cells.at[k] * space + c;
          store(to, fma(splat(cells.weight[k]), go, load(to)));
        }
      }
    }
    for (i64 i = 0; i < positions; i++)
      for (i64 c = 0; c < count; c += W)
        storeAny(gradIn, b * gradIn.stride[0] + i * gradIn.stride[1] + first + c, load(sums + i * space + c), count - c);
  });
}

}  // namespace MK_ISA
