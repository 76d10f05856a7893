// The gradient of softmax attention: the weights are recomputed block by block from the kept logarithms. One pass works on
// rows of queries and sums their gradients over the keys, one on rows of keys and sums theirs over the queries, so that
// every sum has one owner and one order, whatever the number of threads.
#include "attention.h"

#include "../kernels.h"

namespace MK_ISA {

namespace {

/// What is known of the queries of one batch item and key head: the logarithm (base 2) of their sum of weights, gradOut . out,
/// and how many keys they see. Padded by queries that see none.
struct Queries {
  float* logSum;
  float* along;
  i32* seen;
};

/// One side of the L x S matrix: what its scores are made of (times `factor`), and what its gradients' products are made of.
struct Side {
  Rows first, second;
  float factor;
  i64 count;
};

struct Pass {
  const Args& args;
  const AttentionShape& shape;
  Queries queries;
};

/// scores and products (TILE_ROWS, COLUMNS) become weights and gradients of the scores. Rows are queries [row, ..) and
/// columns keys [column, ..), or the other way round.
template <bool QUERIES_ARE_ROWS>
void differentiate(const Queries& q, i64 row, i64 column, i64 columns, float* scores, float* products) {
  const vi lane = lanes();
  for (int i = 0; i < TILE_ROWS; i++)
    for (i64 c = 0; c < columns; c += W) {
      float* const s = scores + i * COLUMNS + c;
      float* const d = products + i * COLUMNS + c;
      vf logSum, along;
      vi seen;
      if (QUERIES_ARE_ROWS) {
        logSum = splat(q.logSum[row + i]);
        along = splat(q.along[row + i]);
        seen = (lane + (i32)(column + c)) < splat(q.seen[row + i]);
      } else {
        logSum = load(q.logSum + column + c);
        along = load(q.along + column + c);
        seen = splat((i32)(row + i)) < bits(load((const float*)q.seen + column + c));
      }
      const vf weight = exp2Bounded(load(s) - logSum);
      store(s, choose(seen, weight, vf{}));
      store(d, choose(seen, weight * (load(d) - along), vf{}));
    }
}

/// Gradients of rows [first, last) of one side, summed over columns [begin, end) of the other: gradFirst, and gradSecond where
/// the rows are keys.
template <bool QUERIES_ARE_ROWS>
void gradBlock(const Pass& pass, const Side& rows, const Side& columns, i64 first, i64 last, i64 begin, i64 end,
               const Rows& gradFirst, const Rows& gradSecond, i32 thread) {
  const Args& args = pass.args;
  const i64 P = pass.shape.width, padded = pass.shape.padded(), count = last - first;
  const i64 padCount = (count + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
  float* const rowPanels = args.scratch<float>(thread, 0, 2 * padCount * P);
  float* const sums = args.scratch<float>(thread, 1, 2 * padCount * padded);
  float* const panels = args.scratch<float>(thread, 2, 2 * COLUMNS * P);
  float* const lines = args.scratch<float>(thread, 3, 2 * COLUMNS * padded);
  float* const scores = args.scratch<float>(thread, 4, 2 * TILE_ROWS * COLUMNS);
  float* const products = scores + TILE_ROWS * COLUMNS;
  packPanels<TILE_ROWS>(rows.first, first, count, P, rows.factor, rowPanels);
  packPanels<TILE_ROWS>(rows.second, first, count, P, 1.0f, rowPanels + padCount * P);
  for (i64 i = 0; i < 2 * padCount * padded; i += W) store(sums + i, vf{});
  for (i64 column = begin; column < end; column += COLUMNS) {
    const i64 width = least(COLUMNS, columns.count - column);
    packPanels<PANEL>(columns.first, column, width, P, columns.factor, panels);
    packPanels<PANEL>(columns.second, column, width, P, 1.0f, panels + COLUMNS * P);
    copyRows(columns.first, column, width, P, padded, lines);
    if (!QUERIES_ARE_ROWS) copyRows(columns.second, column, width, P, padded, lines + COLUMNS * padded);
    for (i64 i = 0; i < padCount; i += TILE_ROWS) {
      // Tiles beyond what the queries see add nothing.
      const i64 lastRow = first + least<i64>(i + TILE_ROWS, count) - 1;
      const i64 most = QUERIES_ARE_ROWS ? pass.queries.seen[lastRow] : pass.queries.seen[column + width - 1];
      if (most <= (QUERIES_ARE_ROWS ? column : first + i)) continue;
      dotProducts(rowPanels + i * P, panels, width, P, scores);
      dotProducts(rowPanels + (padCount + i) * P, panels + COLUMNS * P, width, P, products);
      differentiate<QUERIES_ARE_ROWS>(pass.queries, first + i, column, width, scores, products);
      addMixtures(products, lines, width, padded, sums + i * padded);
      if (!QUERIES_ARE_ROWS) addMixtures(scores, lines + COLUMNS * padded, width, padded, sums + (padCount + i) * padded);
    }
  }
  const float scale = (float)args.number[0];
  for (i64 i = 0; i < count; i++) {
    writeRow(gradFirst, first + i, P, sums + i * padded, scale);
    if (!QUERIES_ARE_ROWS) writeRow(gradSecond, first + i, P, sums + (padCount + i) * padded, 1.0f);
  }
}

/// Sum of the products of two rows of P elements.
float dot(const Rows& x, const Rows& y, i64 r, i64 width) {
  const i64 atX = x.at(r), atY = y.at(r);
  vf total = {};
  for (i64 p = 0; p < width; p += W)
    total = fma(loadAny(x.view, atX + p, width - p), loadAny(y.view, atY + p, width - p), total);
  return sum(total);
}

}  // namespace

void attentionGrad(const Args& args) {
  AttentionShape shape;
  if (!attentionShape(args, shape)) return;
  for (int i = 4; i < 10; i++)
    if (i != 5 && args[i].dtype > BFLOAT16) return args.operandError(i);
  const View& logSumExp = args[5];
  const i64 heads = shape.batch * shape.keyHeads, rows = shape.rows();
  // Padded so that a tile, or a block of columns, may read past the last query.
  const i64 space = (rows + COLUMNS + TILE_ROWS) / W * W;
  float* const logSums = args.shared<float>(0, heads * space);
  float* const alongs = args.shared<float>(1, heads * space);
  i32* const seens = args.shared<i32>(2, heads * space);
  const auto queriesOf = [&](i64 head) {
    return Queries{logSums + head * space, alongs + head * space, seens + head * space};
  };
  args.ranges(heads * space, 4096, [&](i64 begin, i64 end, i32) {
    for (i64 i = begin; i < end; i++) {
      const i64 head = i / space, r = i % space, b = head / shape.keyHeads, keyHead = head % shape.keyHeads;
      logSums[i] = alongs[i] = 0;
      seens[i] = 0;
      if (r >= rows) continue;
      const i64 h = keyHead * shape.group + r % shape.group, t = r / shape.group;
      const float kept = ((const float*)logSumExp.data)[b * logSumExp.stride[0] + h * logSumExp.stride[1] + t * logSumExp.stride[2]];
      logSums[i] = (float)((double)kept * LOG2E);
      alongs[i] = dot(rowsOf(args[6], b, keyHead, shape.group), rowsOf(args[4], b, keyHead, shape.group), r, shape.width);
      seens[i] = (i32)shape.visible(shape.keysOf(b), r);
    }
  });
  const float toBits = (float)(args.number[0] * LOG2E);
  const auto sidesOf = [&](i64 head, bool queries) {
    const i64 b = head / shape.keyHeads, keyHead = head % shape.keyHeads;
    if (queries) return Side{rowsOf(args[0], b, keyHead, shape.group), rowsOf(args[6], b, keyHead, shape.group), toBits, rows};
    return Side{rowsOf(args[1], b, keyHead, 1), rowsOf(args[2], b, keyHead, 1), 1.0f, shape.keysOf(b)};
  };
  const i64 queryRows = shape.taskRows(rows, args.runtime->threads);
  const i64 queryBlocks = (rows + queryRows - 1) / queryRows;
  args.parallel(heads * queryBlocks, [&](i64 task, i32 thread) {
    // The last rows, which see most, come first, so that no thread starts them late.
    const i64 head = task % heads, first = (queryBlocks - 1 - task / heads) * queryRows, last = least(rows, first + queryRows);
    const Pass pass = {args, shape, queriesOf(head)};
    const Rows gradQ = rowsOf(args[7], head / shape.keyHeads, head % shape.keyHeads, shape.group);
    gradBlock<true>(pass, sidesOf(head, true), sidesOf(head, false), first, last, 0, pass.queries.seen[last - 1], gradQ, gradQ, thread);
  });
  const i64 keyRows = shape.taskRows(shape.keys, args.runtime->threads);
  const i64 keyBlocks = (shape.keys + keyRows - 1) / keyRows;
  args.parallel(heads * keyBlocks, [&](i64 task, i32 thread) {
    const i64 head = task % heads, first = task / heads * keyRows, last = least(shape.keys, first + keyRows);
    const i64 b = head / shape.keyHeads, keyHead = head % shape.keyHeads;
    const Pass pass = {args, shape, queriesOf(head)};
    // Blocks of queries before the first that sees one of these keys add nothing.
    i64 begin = 0;
    while (begin < rows && pass.queries.seen[least(begin + COLUMNS, rows) - 1] <= first) begin += COLUMNS;
    gradBlock<false>(pass, sidesOf(head, false), sidesOf(head, true), first, last, begin, rows,
                     rowsOf(args[8], b, keyHead, 1), rowsOf(args[9], b, keyHead, 1), thread);
  });
}

}  // namespace MK_ISA
