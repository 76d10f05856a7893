// Draws of an index from rows of logits: a workgroup a row, each invocation a run of neighbours. The border of the largest
// few and of the nucleus is found by its bits, eight at a time, from counts or masses of each digit; masses are counted in
// 2^-31 of the whole, since integers add up to the same in any order.
import { alignedByFour, type Encoder, linearEntry, linearGrid, read, write } from './launcher.js'
import { groupReductions, lowest } from './rows.wgsl.js'

export const sample: Encoder<'sample'> = (launcher, { logits, uniform, out }, { temperature, topK, topP, minP }) => {
  const [rows, n] = logits.shape
  const lanes = n <= 1024 ? 64 : 256
  const wide = alignedByFour(logits)
  const few = topK > 0 && topK < n
  const nucleus = topP < 1
  const each = (text: string) =>
    wide
      ? `for (var q = first; q < last; q += 4u) { let four = x_get4(x_0 + q);
    for (var i = q; i < min(q + 4u, last); i++) { let x = four[i - q]; let key = keyOf(x); let w = weightOf(x); ${text} } }`
      : `for (var i = first; i < last; i++) { let x = x_get(x_0 + i); let key = keyOf(x); let w = weightOf(x); ${text} }`
  // Above the border, or of those on it the first.
  const kept = `(key > border || (key == border && on_border < ties))`
  const step = 'if (key == border) { on_border++; }'
  const eachKept = (text: string) => `on_border = before;
  ${each(`if (${kept}) { ${text} } ${step}`)}`
  /** Moves the border up to where the largest that are kept so far reach `wanted`, and leaves there what is wanted of the border's own. */
  const findBorder = (mass: string) => `
  {
    var found = 0u;
    for (var digit = 0u; digit < 4u; digit++) {
      let shift = 24u - 8u * digit;
      for (var i = lane; i < 256u; i += ${lanes}u) { atomicStore(&sums[i], 0u); }
      workgroupBarrier();
      ${eachKept(`if (digit == 0u || (key >> ((shift + 8u) & 31u)) == (found >> ((shift + 8u) & 31u))) { atomicAdd(&sums[(key >> shift) & 255u], ${mass}); }`)}
      workgroupBarrier();
      if (lane == 0u) {
        var d = 255u;
        for (; d > 0u && atomicLoad(&sums[d]) < wanted; d--) { wanted -= atomicLoad(&sums[d]); }
        shared_words[0] = found | (d << shift);
        shared_words[1] = wanted;
      }
      workgroupBarrier();
      found = shared_words[0];
      wanted = shared_words[1];
      workgroupBarrier();
    }
    border = found;
  }`
  /** Counts those on the border before each run. */
  const countTies = `
  {
    var count = 0u;
    ${each('if (key == border) { count++; }')}
    counts[lane] = count;
    workgroupBarrier();
    before = 0u;
    for (var i = 0u; i < lane; i++) { before += counts[i]; }
    workgroupBarrier();
  }`
  launcher.dispatch({
    label: `sample.${lanes}.${wide}.${few}.${nucleus}`,
    bindings: { x: read(logits, wide), uniform: read(uniform), out: write(out) },
    integers: {
      ...{ rows, n, x_s0: logits.strides[0], uniform_s0: uniform.strides[0], out_s0: out.strides[0] },
      few: Math.min(topK, n),
    },
    floats: { coldness: 1 / temperature, share: topP, least: minP },
    workgroups: linearGrid(rows),
    code: () => `${groupReductions(lanes)}
var<workgroup> sums: array<atomic<u32>, 256>;
var<workgroup> counts: array<u32, ${lanes}>;
var<workgroup> masses: array<f32, ${lanes}>;
var<workgroup> shared_words: array<u32, 2>;
var<workgroup> shared_left: f32;
var<private> largest: f32;
// Integers in the order of the floats.
fn keyOf(x: f32) -> u32 { let bits = bitcast<u32>(x); return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u); }
fn weightOf(x: f32) -> f32 { return exp((x - largest) * args.coldness); }
${linearEntry(lanes)}
  // Runs are of whole fours.
  let run = ((args.n + ${4 * lanes - 1}u) / ${4 * lanes}u) * 4u;
  let first = min(lane * run, args.n);
  let last = min(first + run, args.n);
  let x_0 = group * args.x_s0;
  var border = 0u;
  var ties = args.n;
  var before = 0u;
  var on_border = 0u;
  var wanted = 0u;
  var most = ${lowest};
  ${each('most = max(most, x);')}
  largest = groupMax(most, lane);
  ${
    few
      ? `wanted = args.few;
  ${findBorder('1u')}
  ties = wanted;
  ${countTies}`
      : ''
  }
  ${
    nucleus
      ? `var total = 0.0;
  ${eachKept('total += w;')}
  let unit = 2147483648.0 / groupSum(total, lane);
  wanted = u32(args.share * 2147483648.0);
  let ties_before = ties;
  let border_before = border;
  ${findBorder('u32(w * unit + 0.5)')}
  // As many of the border's own as reach what is still wanted.
  let own = bitcast<f32>(select(~border, border & 0x7fffffffu, (border >> 31u) == 1u));
  let own_mass = max(u32(weightOf(own) * unit + 0.5), 1u);
  ties = (wanted + own_mass - 1u) / own_mass;
  if (border == border_before) { ties = min(ties, ties_before); }
  ${countTies}`
      : ''
  }
  var mass = 0.0;
  ${eachKept('if (w >= args.least) { mass += w; }')}
  masses[lane] = mass;
  workgroupBarrier();
  if (lane == 0u) {
    var all = 0.0;
    for (var i = 0u; i < ${lanes}u; i++) { all += masses[i]; }
    var left = uniform_get(group * args.uniform_s0) * all;
    var drawn = 0u;
    for (var i = 0u; i < ${lanes}u; i++) {
      if (masses[i] > 0.0) {
        drawn = i;
        if (left <= masses[i]) { break; }
        left -= masses[i];
      }
    }
    shared_words[0] = drawn;
    shared_left = left;
  }
  workgroupBarrier();
  if (lane != shared_words[0]) { return; }
  var left = shared_left;
  var index = first;
  var found = false;
  ${eachKept('if (!found && w > 0.0 && w >= args.least) { index = i; left -= w; found = left <= 0.0; }')}
  out_set(group * args.out_s0, i32(index));
}`,
  })
}
