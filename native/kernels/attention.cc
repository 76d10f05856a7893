// Softmax attention without an L x S matrix: blocks of queries against blocks of keys, the softmax corrected as its maximum
// grows. A few queries (decoding) take a path that streams keys and values once, unpacked, in splits over the threads.
// Every query meets the keys in the same blocks and order, whatever the number of threads.
#include "attention.h"

#include "../kernels.h"

namespace MK_ISA {

namespace {

/// Up to this many rows the streaming path is used.
constexpr int FEW = 4;
/// Keys a split of the streaming path.
constexpr i64 SPLIT = 256;
/// Vectors of a value that the streaming path takes at a time.
constexpr int VALUE_VECTORS = 4;

/// The larger of `least` and all lanes; NaN if any is.
float largestOf(vf x, float least) {
  float lane[W];
  store(lane, x);
  for (int half = W / 2; half > 0; half /= 2)
    for (int i = 0; i < half; i++) {
      const float other = lane[i + half];
      lane[i] = other > lane[i] || other != other ? other : lane[i];
    }
  return least > lane[0] || least != least ? least : lane[0];
}

/// A running softmax of one row, in powers of two: weights 2^(score - max), their sum lane by lane.
struct Running {
  float max;
  vf total;

  /// Turns `count` scores, of which the row sees the first `seen`, into weights (0 where unseen). Returns the factor by
  /// which earlier weights have shrunk.
  float weigh(float* scores, i64 count, i64 seen) {
    const vi lane = lanes();
    vf best = splat(-__builtin_inff());
    for (i64 c = 0; c < seen; c += W) {
      vf x = load(scores + c);
      if (seen - c < W) x = choose(lane < splat((i32)(seen - c)), x, splat(-__builtin_inff()));
      best = choose((x > best) | (x != x), x, best);
    }
    const float before = max;
    max = largestOf(best, before);
    const float shrink = before == max ? 1.0f : exp2Bounded(splat(before - max))[0];
    vf sum = total * shrink;
    for (i64 c = 0; c < seen; c += W) {
      vf x = exp2InRange(atLeast(load(scores + c) - max, -126.0f));
      if (seen - c < W) x = choose(lane < splat((i32)(seen - c)), x, vf{});
      store(scores + c, x);
      sum = sum + x;
    }
    for (i64 c = (most<i64>(seen, 0) + W - 1) / W * W; c < count; c += W) store(scores + c, vf{});
    total = sum;
    return shrink;
  }
};

const Running NOTHING = {-__builtin_inff(), vf{}};

/// Writes a finished row: its mixture divided by the sum of weights, and the logarithm of the sum of exponentials.
void finish(const Rows& out, const View& logSumExp, const AttentionShape& shape, i64 b, i64 keyHead, i64 row, float max,
            float total, const float* mixture) {
  writeRow(out, row, shape.width, mixture, total == 0.0f ? 0.0f : 1.0f / total);
  if (!logSumExp) return;
  const i64 head = keyHead * shape.group + row % shape.group, t = row / shape.group;
  ((float*)logSumExp.data)[b * logSumExp.stride[0] + head * logSumExp.stride[1] + t * logSumExp.stride[2]] =
      (float)(LN2 * (double)max + (double)log(splat(total))[0]);
}

/// Rows [first, last) of one batch item and key head.
void attendBlock(const Args& args, const AttentionShape& shape, i64 b, i64 keyHead, i64 first, i64 last, float scale,
                 i32 thread) {
  const i64 P = shape.width, padded = shape.padded(), count = last - first;
  const i64 tiles = (count + TILE_ROWS - 1) / TILE_ROWS;
  const Rows q = rowsOf(args[0], b, keyHead, shape.group), k = rowsOf(args[1], b, keyHead, 1);
  const Rows v = rowsOf(args[2], b, keyHead, 1), out = rowsOf(args[4], b, keyHead, shape.group);
  float* const queries = args.scratch<float>(thread, 0, tiles * TILE_ROWS * P);
  float* const mixture = args.scratch<float>(thread, 1, tiles * TILE_ROWS * padded);
  float* const keyPanels = args.scratch<float>(thread, 2, COLUMNS * P);
  float* const values = args.scratch<float>(thread, 3, COLUMNS * padded);
  float* const scores = args.scratch<float>(thread, 4, TILE_ROWS * COLUMNS);
  Running* const running = args.scratch<Running>(thread, 5, tiles * TILE_ROWS);
  packPanels<TILE_ROWS>(q, first, count, P, (float)(scale * LOG2E), queries);
  for (i64 i = 0; i < tiles * TILE_ROWS * padded; i += W) store(mixture + i, vf{});
  for (i64 i = 0; i < tiles * TILE_ROWS; i++) running[i] = NOTHING;
  const i64 own = shape.keysOf(b);
  // Later rows see at least as many keys as earlier ones.
  const i64 seenByLast = shape.visible(own, last - 1);
  for (i64 key = 0; key < seenByLast; key += COLUMNS) {
    const i64 columns = least(COLUMNS, own - key);
    packPanels<PANEL>(k, key, columns, P, 1.0f, keyPanels);
    copyRows(v, key, columns, P, padded, values);
    for (i64 i = 0; i < tiles * TILE_ROWS; i += TILE_ROWS) {
      const i64 rows = least<i64>(TILE_ROWS, count - i);
      if (shape.visible(own, first + i + rows - 1) <= key) continue;
      dotProducts(queries + i * P, keyPanels, columns, P, scores);
      for (i64 j = 0; j < TILE_ROWS; j++) {
        const i64 seen = j < rows ? most<i64>(0, least(columns, shape.visible(own, first + i + j) - key)) : 0;
        const float shrink = running[i + j].weigh(scores + j * COLUMNS, columns, seen);
        float* const line = mixture + (i + j) * padded;
        if (shrink != 1.0f)
          for (i64 p = 0; p < padded; p += W) store(line + p, load(line + p) * shrink);
      }
      addMixtures(scores, values, columns, padded, mixture + i * padded);
    }
  }
  for (i64 i = 0; i < count; i++)
    finish(out, args[5], shape, b, keyHead, first + i, running[i].max, sum(running[i].total), mixture + i * padded);
}

/// A split's share of each row: P sums, then the maximum and the sum of weights.
i64 shareFloats(const AttentionShape& shape) { return shape.padded() + W; }

/// V vectors of the mixtures of R rows, from element p on.
template <int R, int V, class S>
void streamValues(const AttentionShape& shape, const Rows& v, const float* weights, i64 rows, i64 begin, i64 end, i64 p,
                  float* shares) {
  const typename S::T* const values = (const typename S::T*)v.view.data;
  vf acc[R][V] = {};
  for (i64 key = begin; key < end; key++) {
    const typename S::T* const from = values + v.at(key) + p;
    for (int i = 0; i < V; i++) {
      const vf x = V == 1 ? loadUpTo<S>(from, shape.width - p) : S::load(from + i * W);
      for (int r = 0; r < R; r++) acc[r][i] = fma(splat(weights[r * SPLIT + key - begin]), x, acc[r][i]);
    }
  }
  for (i64 r = 0; r < rows; r++)
    for (int i = 0; i < V; i++) store(shares + r * shareFloats(shape) + p + i * W, acc[r][i]);
}

/// R rows against keys [begin, end), read where they lie.
template <int R, class S>
void streamKeys(const AttentionShape& shape, const Rows& k, const Rows& v, const float* queries, const i64* seen, i64 rows,
                i64 begin, i64 end, float* scores, float* shares) {
  const i64 P = shape.width, padded = shape.padded();
  const typename S::T* const keys = (const typename S::T*)k.view.data;
  for (i64 key = begin; key < end; key++) {
    const typename S::T* const from = keys + k.at(key);
    vf acc[R] = {};
    for (i64 p = 0; p < P; p += W) {
      const vf x = loadUpTo<S>(from + p, P - p);
      for (int r = 0; r < R; r++) acc[r] = fma(load(queries + r * padded + p), x, acc[r]);
    }
    for (int r = 0; r < R; r++) scores[r * SPLIT + key - begin] = sum(acc[r]);
  }
  for (i64 r = 0; r < rows; r++) {
    Running running = NOTHING;
    running.weigh(scores + r * SPLIT, end - begin, most<i64>(0, least(end, seen[r]) - begin));
    float* const share = shares + r * shareFloats(shape);
    share[padded] = running.max;
    share[padded + 1] = sum(running.total);
  }
  i64 p = 0;
  for (; p + VALUE_VECTORS * W <= P; p += VALUE_VECTORS * W)
    streamValues<R, VALUE_VECTORS, S>(shape, v, scores, rows, begin, end, p, shares);
  for (; p < P; p += W) streamValues<R, 1, S>(shape, v, scores, rows, begin, end, p, shares);
}

void attendFew(const Args& args, const AttentionShape& shape, float scale) {
  const i64 rows = shape.rows(), padded = shape.padded(), heads = shape.batch * shape.keyHeads;
  const i64 splits = most<i64>(1, (shape.keys + SPLIT - 1) / SPLIT);
  const i64 size = shareFloats(shape);
  float* const shares = args.shared<float>(0, heads * splits * rows * size);
  args.parallel(heads * splits, [&](i64 task, i32 thread) {
    const i64 head = task / splits, split = task % splits;
    const i64 b = head / shape.keyHeads, keyHead = head % shape.keyHeads, own = shape.keysOf(b);
    const Rows q = rowsOf(args[0], b, keyHead, shape.group), k = rowsOf(args[1], b, keyHead, 1);
    const Rows v = rowsOf(args[2], b, keyHead, 1);
    float* const queries = args.scratch<float>(thread, 0, FEW * padded);
    float* const scores = args.scratch<float>(thread, 1, FEW * SPLIT);
    float* const share = shares + task * rows * size;
    i64 seen[FEW] = {};
    for (i64 r = 0; r < rows; r++) seen[r] = shape.visible(own, r);
    for (i64 i = 0; i < FEW * padded; i += W) store(queries + i, vf{});
    copyRows(q, 0, rows, shape.width, padded, queries);
    for (i64 i = 0; i < FEW * padded; i += W) store(queries + i, load(queries + i) * (float)(scale * LOG2E));
    const i64 begin = split * SPLIT, end = most(begin, least(begin + SPLIT, seen[rows - 1]));
    withFloat(k.view.dtype, [&](auto tag) {
      using S = decltype(tag);
      if (rows == 1) streamKeys<1, S>(shape, k, v, queries, seen, rows, begin, end, scores, share);
      else streamKeys<FEW, S>(shape, k, v, queries, seen, rows, begin, end, scores, share);
    });
  });
  args.ranges(heads * rows, 8, [&](i64 begin, i64 end, i32 thread) {
    float* const mixture = args.scratch<float>(thread, 0, padded);
    for (i64 i = begin; i < end; i++) {
      const i64 head = i / rows, row = i % rows;
      const i64 b = head / shape.keyHeads, keyHead = head % shape.keyHeads;
      const float* const first = shares + (head * splits * rows + row) * size;
      float max = -__builtin_inff(), total = 0;
      for (i64 s = 0; s < splits; s++) max = largestOf(splat(first[s * rows * size + padded]), max);
      for (i64 p = 0; p < padded; p += W) store(mixture + p, vf{});
      for (i64 s = 0; s < splits; s++) {
        const float* const share = first + s * rows * size;
        // A split in which the row sees nothing.
        if (share[padded + 1] == 0.0f) continue;
        const float factor = exp2Bounded(splat(share[padded] - max))[0];
        total += factor * share[padded + 1];
        for (i64 p = 0; p < padded; p += W) store(mixture + p, fma(splat(factor), load(share + p), load(mixture + p)));
      }
      finish(rowsOf(args[4], b, keyHead, shape.group), args[5], shape, b, keyHead, row, max, total, mixture);
    }
  });
}

}  // namespace

void attention(const Args& args) {
  AttentionShape shape;
  if (!attentionShape(args, shape)) return;
  const i64 rows = shape.rows(), heads = shape.batch * shape.keyHeads;
  if (rows == 0) return;
  const float scale = (float)args.number[0];
  if (rows <= FEW && args[1].dtype == args[2].dtype) return attendFew(args, shape, scale);
  const i64 taskRows = shape.taskRows(rows, args.runtime->threads);
  const i64 blocks = (rows + taskRows - 1) / taskRows;
  args.parallel(heads * blocks, [&](i64 task, i32 thread) {
    // The last rows, which see most, come first, so that no thread starts them late.
    const i64 head = task % heads, first = (blocks - 1 - task / heads) * taskRows;
    attendBlock(args, shape, head / shape.keyHeads, head % shape.keyHeads, first, least(rows, first + taskRows), scale, thread);
  });
}

}  // namespace MK_ISA
