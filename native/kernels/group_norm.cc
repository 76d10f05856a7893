// Statistics of channel groups, the normalisation by them and its gradient: batch, instance and group norm over
// (B, S, C). A lane is a channel. Sums over S are made by fixed blocks of rows in float, then over the blocks and the
// channels of a group in double, in order.
// Letters: B batch, S positions, C channels, G groups.
#include "../kernels.h"
#include "../vec.h"

namespace MK_ISA {

namespace {

/// Elements of a block of rows, so that its second reading finds it in the cache.
constexpr i64 BLOCK_ELEMENTS = 8192;
/// Vectors of channels that are summed side by side.
constexpr i64 SIDE = 4;

i64 up(i64 a, i64 b) { return (a + b - 1) / b; }

struct Shape {
  i64 batch, positions, channels, groups;
  /// Channels of a group, and rounded up to whole vectors.
  i64 perGroup, space;
  /// Rows of a block and blocks of a batch member; they depend on the shape alone.
  i64 rows, blocks;
};

Shape shapeOf(const View& input, const View& mean) {
  Shape s = {input.dim[0], input.dim[1], input.dim[2], mean.dim[1], 0, 0, 0, 0};
  s.perGroup = s.channels / s.groups;
  s.space = up(s.channels, W) * W;
  s.rows = most<i64>(8, BLOCK_ELEMENTS / most<i64>(1, s.channels));
  s.blocks = up(s.positions, s.rows);
  return s;
}

bool floats(const Args& args, int count) {
  for (int i = 0; i < count; i++)
    if (args[i] && args[i].dtype > BFLOAT16) {
      args.operandError(i);
      return false;
    }
  return true;
}

/// Mean and summed squares about it of one block, channel by channel, as differences from the row at `origin`: a float
/// holds those to more digits than a mean far from 0.
template <int K>
void blockMoments(const View& x, i64 origin, i64 first, i64 rows, i64 c, i64 channels, float* mean, float* squares) {
  vf zero[K], total[K] = {}, error[K] = {}, square[K] = {};
  const float scale = 1.0f / (float)rows;
  MK_EACH zero[j] = loadAny(x, origin + c + j * W, channels - c - j * W);
  for (i64 r = 0; r < rows; r++) {
    MK_EACH total[j] = total[j] + (loadAny(x, first + r * x.stride[1] + c + j * W, channels - c - j * W) - zero[j]);
  }
  MK_EACH total[j] = total[j] * scale;
  for (i64 r = 0; r < rows; r++) {
    MK_EACH {
      const vf d = (loadAny(x, first + r * x.stride[1] + c + j * W, channels - c - j * W) - zero[j]) - total[j];
      error[j] = error[j] + d;
      square[j] = fma(d, d, square[j]);
    }
  }
  // What the first mean missed.
  MK_EACH {
    store(mean + c + j * W, fma(error[j], splat(scale), total[j]));
    store(squares + c + j * W, square[j] - error[j] * error[j] * scale);
  }
}

/// Count, mean and summed squares about the mean of a set of numbers.
struct Moments {
  double count = 0, mean = 0, squares = 0;
  void join(double n, double m, double m2) {
    const double all = count + n, d = m - mean;
    mean += d * n / all;
    squares += m2 + d * d * count * n / all;
    count = all;
  }
};

/// Sums of gradOut and of gradOut times the normalised input over one block, channel by channel.
template <int K>
void blockSums(const View& x, const View& g, i64 firstX, i64 firstG, i64 rows, i64 c, i64 channels, const float* center,
               const float* scale, float* sums, float* along) {
  vf a[K] = {}, b[K] = {}, m[K], s[K];
  MK_EACH m[j] = load(center + c + j * W);
  MK_EACH s[j] = load(scale + c + j * W);
  for (i64 r = 0; r < rows; r++) {
    MK_EACH {
      const i64 left = channels - c - j * W;
      const vf go = loadAny(g, firstG + r * g.stride[1] + c + j * W, left);
      const vf hat = (loadAny(x, firstX + r * x.stride[1] + c + j * W, left) - m[j]) * s[j];
      a[j] = a[j] + go;
      b[j] = fma(go, hat, b[j]);
    }
  }
  MK_EACH store(sums + c + j * W, a[j]);
  MK_EACH store(along + c + j * W, b[j]);
}

/// Means and reciprocal deviations of every channel, (B, 2, space).
float* channelScales(const Args& args, const Shape& s, const View& mean, const View& variance, float eps, int slot) {
  float* to = args.shared<float>(slot, s.batch * 2 * s.space);
  for (i64 b = 0; b < s.batch; b++)
    for (i64 c = 0; c < s.space; c++) {
      const i64 group = least(c, s.channels - 1) / s.perGroup;
      const float v = elementAt(variance, b * variance.stride[0] + group * variance.stride[1]);
      to[b * 2 * s.space + c] = elementAt(mean, b * mean.stride[0] + group * mean.stride[1]);
      to[(b * 2 + 1) * s.space + c] = 1.0f / __builtin_sqrtf(v + eps);
    }
  return to;
}

/// A parameter of the channels as floats, `absent` where it is not given.
float* perChannel(const Args& args, const Shape& s, const View& parameter, float absent, int slot) {
  float* to = args.shared<float>(slot, s.space);
  for (i64 c = 0; c < s.space; c += W)
    store(to + c, parameter && c < s.channels ? loadAny(parameter, c, s.channels - c) : splat(absent));
  return to;
}

}  // namespace

void groupStatistics(const Args& args) {
  if (!floats(args, 3)) return;
  const View &input = args[0], &mean = args[1], &variance = args[2];
  const Shape s = shapeOf(input, mean);
  float* parts = args.shared<float>(0, s.batch * s.blocks * 2 * s.space);
  args.parallel(s.batch * s.blocks, [&](i64 task, i32) {
    const i64 b = task / s.blocks, begin = task % s.blocks * s.rows, rows = least(s.rows, s.positions - begin);
    const i64 origin = b * input.stride[0], first = origin + begin * input.stride[1];
    float* part = parts + task * 2 * s.space;
    i64 c = 0;
    for (; c + (SIDE - 1) * W < s.channels; c += SIDE * W) blockMoments<SIDE>(input, origin, first, rows, c, s.channels, part, part + s.space);
    for (; c < s.channels; c += W) blockMoments<1>(input, origin, first, rows, c, s.channels, part, part + s.space);
  });
  args.ranges(s.batch * s.groups, most<i64>(1, BLOCK_ELEMENTS / (s.perGroup * s.blocks)), [&](i64 begin, i64 end, i32) {
    for (i64 i = begin; i < end; i++) {
      const i64 b = i / s.groups, g = i % s.groups;
      Moments all;
      for (i64 c = g * s.perGroup; c < (g + 1) * s.perGroup; c++) {
        const double zero = elementAt(input, b * input.stride[0] + c);
        for (i64 block = 0; block < s.blocks; block++) {
          const float* part = parts + (b * s.blocks + block) * 2 * s.space;
          all.join((double)least(s.rows, s.positions - block * s.rows), zero + part[c], part[s.space + c]);
        }
      }
      ((float*)mean.data)[i] = (float)all.mean;
      ((float*)variance.data)[i] = (float)(all.squares / all.count);
    }
  });
}

void groupNorm(const Args& args) {
  if (!floats(args, 6)) return;
  const View &input = args[0], &out = args[5];
  const Shape s = shapeOf(input, args[1]);
  float* scales = channelScales(args, s, args[1], args[2], (float)args.number[0], 0);
  const float* weight = perChannel(args, s, args[3], 1, 1);
  const float* bias = perChannel(args, s, args[4], 0, 2);
  for (i64 b = 0; b < s.batch; b++)
    for (i64 c = 0; c < s.space; c += W) {
      float* scale = scales + (b * 2 + 1) * s.space + c;
      store(scale, load(scale) * load(weight + c));
    }
  args.ranges(s.batch * s.positions, s.rows, [&](i64 begin, i64 end, i32) {
    for (i64 r = begin; r < end; r++) {
      const i64 b = r / s.positions, t = r % s.positions;
      const float *center = scales + b * 2 * s.space, *scale = center + s.space;
      const i64 from = b * input.stride[0] + t * input.stride[1], to = b * out.stride[0] + t * out.stride[1];
      for (i64 c = 0; c < s.channels; c += W) {
        const i64 left = s.channels - c;
        const vf x = loadAny(input, from + c, left) - load(center + c);
        storeAny(out, to + c, fma(x, load(scale + c), load(bias + c)), left);
      }
    }
  });
}

void groupNormGrad(const Args& args) {
  if (!floats(args, 8)) return;
  const View &input = args[0], &gradOut = args[4], &gradIn = args[5], &gradWeight = args[6], &gradBias = args[7];
  const Shape s = shapeOf(input, args[1]);
  const bool fixed = args.number[1] != 0;
  const float* scales = channelScales(args, s, args[1], args[2], (float)args.number[0], 0);
  const float* weight = perChannel(args, s, args[3], 1, 1);
  // Per member and channel: sums of gradOut and of gradOut times the normalised input, then the means that are taken off.
  double* sums = args.shared<double>(2, s.batch * 2 * s.space);
  float* off = args.shared<float>(3, s.batch * 2 * s.space);
  if (!fixed || gradWeight || gradBias) {
    float* parts = args.shared<float>(4, s.batch * s.blocks * 2 * s.space);
    args.parallel(s.batch * s.blocks, [&](i64 task, i32) {
      const i64 b = task / s.blocks, begin = task % s.blocks * s.rows, rows = least(s.rows, s.positions - begin);
      const i64 x = b * input.stride[0] + begin * input.stride[1], g = b * gradOut.stride[0] + begin * gradOut.stride[1];
      const float *center = scales + b * 2 * s.space, *scale = center + s.space;
      float* part = parts + task * 2 * s.space;
      i64 c = 0;
      for (; c + (SIDE - 1) * W < s.channels; c += SIDE * W)
        blockSums<SIDE>(input, gradOut, x, g, rows, c, s.channels, center, scale, part, part + s.space);
      for (; c < s.channels; c += W)
        blockSums<1>(input, gradOut, x, g, rows, c, s.channels, center, scale, part, part + s.space);
    });
    args.ranges(s.batch * 2 * s.space, most<i64>(1, BLOCK_ELEMENTS / s.blocks), [&](i64 begin, i64 end, i32) {
      for (i64 i = begin; i < end; i++) {
        const i64 b = i / (2 * s.space), at = i % (2 * s.space);
        double total = 0;
        if (at % s.space < s.channels)
          for (i64 block = 0; block < s.blocks; block++) total += parts[(b * s.blocks + block) * 2 * s.space + at];
        sums[i] = total;
      }
    });
  }
  for (i64 b = 0; b < s.batch; b++)
    for (i64 half = 0; half < 2; half++)
      for (i64 g = 0; g < s.groups; g++) {
        const i64 first = (b * 2 + half) * s.space + g * s.perGroup;
        double total = 0;
        if (!fixed)
          for (i64 c = 0; c < s.perGroup; c++) total += sums[first + c] * weight[g * s.perGroup + c];
        const float average = (float)(total / ((double)s.positions * (double)s.perGroup));
        for (i64 c = 0; c < s.perGroup; c++) off[first + c] = average;
      }
  for (i64 c = 0; c < s.channels; c++) {
    double ofBias = 0, ofWeight = 0;
    if (gradWeight || gradBias)
      for (i64 b = 0; b < s.batch; b++) {
        ofBias += sums[b * 2 * s.space + c];
        ofWeight += sums[(b * 2 + 1) * s.space + c];
      }
    if (gradWeight) storeAny(gradWeight, c, splat((float)ofWeight), 1);
    if (gradBias) storeAny(gradBias, c, splat((float)ofBias), 1);
  }
  args.ranges(s.batch * s.positions, s.rows, [&](i64 begin, i64 end, i32) {
    for (i64 r = begin; r < end; r++) {
      const i64 b = r / s.positions, t = r % s.positions;
      const float *center = scales + b * 2 * s.space, *scale = center + s.space;
      const float *average = off + b * 2 * s.space, *along = average + s.space;
      const i64 x = b * input.stride[0] + t * input.stride[1], g = b * gradOut.stride[0] + t * gradOut.stride[1];
      const i64 to = b * gradIn.stride[0] + t * gradIn.stride[1];
      for (i64 c = 0; c < s.channels; c += W) {
        const i64 left = s.channels - c;
        const vf rstd = load(scale + c);
        const vf grad = loadAny(gradOut, g + c, left) * load(weight + c);
        if (fixed) {
          storeAny(gradIn, to + c, grad * rstd, left);
          continue;
        }
        const vf hat = (loadAny(input, x + c, left) - load(center + c)) * rstd;
        storeAny(gradIn, to + c, rstd * (grad - load(average + c) - hat * load(along + c)), left);
      }
    }
  });
}

}  // namespace MK_ISA
