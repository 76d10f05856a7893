// GEMM of few rows (decoding) or small outputs: `lanes` invocations share an output element's inner axis.
import type { GemmForm } from './gemmText.wgsl.js'
import { range } from './launcher.js'
import { special } from './math.wgsl.js'

export const thinInvocations = 64

/** Neighbouring invocations take neighbouring elements of b: along its inner axis where that is dense, else along columns. */
export function thinText(lanes: number, form: GemmForm, subgroups: boolean): string {
  const { transposeA, transposeB, wideA, wideB, result } = form
  const outputs = thinInvocations / lanes
  const fours = transposeB && !transposeA && wideA && wideB
  const aStep = transposeA ? 'args.a_row' : '1u'
  const bStep = transposeB ? '1u' : 'args.b_row'
  // Where the sharers are neighbours they are of one subgroup.
  const exchanged = subgroups && transposeB && lanes <= 32
  const sum =
    lanes === 1
      ? ''
      : exchanged
        ? `${range(Math.log2(lanes))
            .map((i) => `total += subgroupShuffleXor(total, ${2 ** i}u);`)
            .join(' ')}
  if (part != 0u) { return; }`
        : `parts[lane] = total;
  workgroupBarrier();
  if (part != 0u) { return; }
  for (var i = 1u; i < ${lanes}u; i++) { total += parts[${transposeB ? 'lane + i' : `lane + i * ${outputs}u`}]; }`
  return `${special}
${lanes === 1 || exchanged ? '' : `var<workgroup> parts: array<f32, ${thinInvocations}>;`}
@compute @workgroup_size(${thinInvocations}) fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let part = ${transposeB ? `lane % ${lanes}u` : `lane / ${outputs}u`};
  let item = (wid.x + wid.y * grid.x) * ${outputs}u + ${transposeB ? `lane / ${lanes}u` : `lane % ${outputs}u`};
  let column = item % args.N;
  let row = item / args.N % args.M;
  let batch = item / args.N / args.M;
  // Past the last output the sum is empty, but its invocation still meets the barrier.
  let inner = select(0u, args.K, batch < args.batches);
  let a_0 = batch * args.a_batch + row * ${transposeA ? '1u' : 'args.a_row'};
  let b_0 = batch * args.b_batch + column * ${transposeB ? 'args.b_row' : '1u'};
  var total = 0.0;
  var k = part${fours ? ' * 4u' : ''};
  ${
    fours
      ? `var totals = vec4<f32>();
  // Loads of four rounds are under way at once.
  for (; k + ${12 * lanes + 3}u < inner; k += ${16 * lanes}u) {
    ${range(4)
      .map((i) => `let a${i} = a_get4(a_0 + k + ${4 * lanes * i}u); let b${i} = b_get4(b_0 + k + ${4 * lanes * i}u);`)
      .join('\n    ')}
    totals = fma(a0, b0, fma(a1, b1, fma(a2, b2, fma(a3, b3, totals))));
  }
  for (; k + 3u < inner; k += ${4 * lanes}u) { totals = fma(a_get4(a_0 + k), b_get4(b_0 + k), totals); }
  total = (totals.x + totals.y) + (totals.z + totals.w);
  for (; k < inner; k++) { total += a_get(a_0 + k) * b_get(b_0 + k); }`
      : `for (; k < inner; k += ${lanes}u) { total += a_get(a_0 + k * ${aStep}) * b_get(b_0 + k * ${bStep}); }`
  }
  ${sum}
  if (batch >= args.batches) { return; }
  let at = batch * args.out_batch + row * args.out_row + column;
  out_set(at, ${result('total', 'at', 'column')});
}`
}
