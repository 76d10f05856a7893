// The text of GEMM: side x side invocations, each with (rows/side) x (columns/side) results in registers.
import { range } from './launcher.js'
import { special } from './math.wgsl.js'

/** Rows and columns that a workgroup of side x side invocations computes. */
export interface Tile {
  readonly rows: number
  readonly columns: number
  readonly side: number
}

export interface GemmForm {
  readonly transposeA: boolean
  readonly transposeB: boolean
  /** Operands are read by fours along their dense axis. */
  readonly wideA: boolean
  readonly wideB: boolean
  /** The expression to store, of the accumulated sum `x` at `column`; `at` is the place in out. */
  readonly result: (x: string, at: string) => string
}

/** Inner elements of a tile step; parts of a split are multiples of it. */
export const depth = 16

/** Functions `a_four`, `b_four`: four elements along the dense axis, zeros beyond the limits. */
function fourText(name: 'a' | 'b', wide: boolean): string {
  const each = [0, 1, 2, 3].map((j) => `if (dense + ${j}u < dense_limit) { v[${j}] = ${name}_get(at + ${j}u); }`)
  return `
fn ${name}_four(base: u32, other: u32, dense: u32, other_limit: u32, dense_limit: u32) -> vec4<f32> {
  var v = vec4<f32>();
  if (other >= other_limit) { return v; }
  let at = base + other * args.${name}_row + dense;
  ${wide ? `if (dense + 3u < dense_limit) { return ${name}_get4(at); }` : ''}
  ${each.join(' ')}
  return v;
}`
}

/** The batch member, the part of the inner axis, and the offsets of the operands. */
const gemmHead = `
  let layer = wid.z + args.z_first;
  let batch = layer % args.batches;
  let a_0 = batch * args.a_batch;
  let b_0 = batch * args.b_batch;
  let out_0 = layer * args.out_batch;
  let k_first = layer / args.batches * args.per_split;
  let k_last = min(args.K, k_first + args.per_split);`

export function tiledText({ rows, columns, side }: Tile, form: GemmForm): string {
  const { transposeA, transposeB, wideA, wideB, result } = form
  const RM = rows / side
  const RN = columns / side
  const invocations = side * side
  // An operand's tile is kept as [depth][extent], whichever of the two axes is dense in memory.
  const load = (name: 'a' | 'b', extent: number, denseIsInner: boolean) => {
    const outer = name === 'a' ? ['row0', 'args.M'] : ['column0', 'args.N']
    const perDense = (denseIsInner ? depth : extent) / 4
    const row = extent + 1
    const text = denseIsInner
      ? `let v = ${name}_four(${name}_0, ${outer[0]} + o, k0 + q, ${outer[1]}, k_last);
      ${range(4)
        .map((j) => `tile_${name}[(q + ${j}u) * ${row}u + o] = v[${j}];`)
        .join(' ')}`
      : `let v = ${name}_four(${name}_0, k0 + o, ${outer[0]} + q, k_last, ${outer[1]});
      ${range(4)
        .map((j) => `tile_${name}[o * ${row}u + q + ${j}u] = v[${j}];`)
        .join(' ')}`
    const fours = (extent * depth) / 4
    return `for (var slot = lane; slot < ${fours}u; slot += ${invocations}u) {
      let q = slot % ${perDense}u * 4u; let o = slot / ${perDense}u;
      ${text}
    }`
  }
  const store = (i: number, j: number) =>
    `if (column < args.N && row0 + ty + ${side * i}u < args.M) {
      let at = out_0 + (row0 + ty + ${side * i}u) * args.out_row + column;
      out_set(at, ${result(`acc${i}_${j}`, 'at')});
    }`
  return `${special}
${fourText('a', wideA)}
${fourText('b', wideB)}
var<workgroup> tile_a: array<f32, ${depth * (rows + 1)}>;
var<workgroup> tile_b: array<f32, ${depth * (columns + 1)}>;
@compute @workgroup_size(${invocations}) fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) wid: vec3<u32>) {
  ${gemmHead}
  let row0 = wid.y * ${rows}u;
  let column0 = wid.x * ${columns}u;
  let tx = lane % ${side}u;
  let ty = lane / ${side}u;
  ${range(RM)
    .map((i) =>
      range(RN)
        .map((j) => `var acc${i}_${j} = 0.0;`)
        .join(' '),
    )
    .join('\n  ')}
  for (var k0 = k_first; k0 < k_last; k0 += ${depth}u) {
    ${load('a', rows, !transposeA)}
    ${load('b', columns, transposeB)}
    workgroupBarrier();
    for (var k = 0u; k < ${depth}u; k++) {
      ${range(RM)
        .map((i) => `let a${i} = tile_a[k * ${rows + 1}u + ty + ${side * i}u];`)
        .join(' ')}
      ${range(RN)
        .map((j) => `let b${j} = tile_b[k * ${columns + 1}u + tx + ${side * j}u];`)
        .join(' ')}
      ${range(RM)
        .map((i) =>
          range(RN)
            .map((j) => `acc${i}_${j} += a${i} * b${j};`)
            .join(' '),
        )
        .join('\n      ')}
    }
    workgroupBarrier();
  }
  ${range(RN)
    .map(
      (j) =>
        `{ let column = column0 + tx + ${side * j}u; ${range(RM)
          .map((i) => store(i, j))
          .join('\n    ')} }`,
    )
    .join('\n  ')}
}`
}
