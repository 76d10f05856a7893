// The text of GEMM: side x side invocations, each with (rows/side) x (columns/side) results in registers, over tiles of
// both operands in workgroup memory. While one tile is multiplied the next is on its way.
import { range } from './launcher.js'
import { special } from './math.wgsl.js'

/** Rows and columns that a workgroup of side x side invocations computes. Rows and columns are multiples of 4 * side. */
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
  /** Results are written by fours. */
  readonly wideOut: boolean
  /** The expression to store, of the accumulated sum `x` at `column`; `at` is the place in out. */
  readonly result: (x: string, at: string, column: string) => string
}

/** Inner elements of a tile step; parts of a split are multiples of it. */
export const depth = 8
/** Elements between the rows of a tile beyond its extent, which spread its columns over the memory's banks. */
const padding = 4

/** Workgroup memory of a tile step in bytes. */
export const tileBytes = ({ rows, columns }: Tile) => depth * (rows + columns + 2 * padding) * 4

/**
 * Functions of four elements along the dense axis, zeros beyond the limits (`a_four`, `b_four`), or beyond the limits of
 * rows and columns whatever comes, since those results are not stored (`a_near`, `b_near`). A load that no branch depends
 * on is waited for only where its value is used.
 */
function fourText(name: 'a' | 'b', wide: boolean, denseIsInner: boolean): string {
  const each = [0, 1, 2, 3].map((j) => `if (dense + ${j}u < dense_limit) { v[${j}] = ${name}_get(at + ${j}u); }`)
  const last = wide ? 'dense_limit - 4u' : 'dense_limit - 1u'
  const near = denseIsInner
    ? ['min(other, other_limit - 1u)', (j: number) => `dense + ${j}u`]
    : ['other', (j: number) => `min(dense + ${j}u, ${last})`]
  const [row, column] = near as [string, (j: number) => string]
  return `
fn ${name}_four(base: u32, other: u32, dense: u32, other_limit: u32, dense_limit: u32) -> vec4<f32> {
  var v = vec4<f32>();
  if (other >= other_limit) { return v; }
  let at = base + other * args.${name}_row + dense;
  ${each.join(' ')}
  return v;
}
fn ${name}_near(base: u32, other: u32, dense: u32, other_limit: u32, dense_limit: u32) -> vec4<f32> {
  let at = base + ${row} * args.${name}_row;
  return ${
    wide
      ? `${name}_get4(at + ${column(0)})`
      : `vec4<f32>(${range(4)
          .map((j) => `${name}_get(at + ${column(j)})`)
          .join(', ')})`
  };
}`
}

/** The batch member, the part of the inner axis, and the offsets of the operands. */
export const gemmHead = `
  let layer = wid.z + args.z_first;
  let batch = layer % args.batches;
  let a_0 = batch * args.a_batch;
  let b_0 = batch * args.b_batch;
  let out_0 = layer * args.out_batch;
  let k_first = layer / args.batches * args.per_split;
  let k_last = min(args.K, k_first + args.per_split);`

/** How an operand's tile [depth][extent] is filled, whichever of the two axes is dense in memory. */
function filling(name: 'a' | 'b', extent: number, denseIsInner: boolean, invocations: number) {
  const [outer, limit] = name === 'a' ? ['row0', 'args.M'] : ['column0', 'args.N']
  const perDense = (denseIsInner ? depth : extent) / 4
  const row = (extent + padding) / 4
  const fours = (extent * depth) / 4
  const loads = range(Math.ceil(fours / invocations))
  const place = (i: number) =>
    `let slot = lane + ${i * invocations}u; let q = slot % ${perDense}u; let o = slot / ${perDense}u;`
  const guarded = (i: number, text: string) =>
    (i + 1) * invocations > fours ? `if (lane + ${i * invocations}u < ${fours}u) { ${text} }` : `{ ${text} }`
  return {
    declare: loads.map((i) => `var next_${name}${i} = vec4<f32>();`).join(' '),
    fetch: (k0: string, form: 'four' | 'near') =>
      loads
        .map((i) =>
          guarded(
            i,
            `${place(i)} next_${name}${i} = ${
              denseIsInner
                ? `${name}_${form}(${name}_0, ${outer} + o, ${k0} + q * 4u, ${limit}, k_last)`
                : `${name}_${form}(${name}_0, ${k0} + o, ${outer} + q * 4u, k_last, ${limit})`
            };`,
          ),
        )
        .join('\n    '),
    store: (base: string) =>
      loads
        .map((i) =>
          guarded(
            i,
            `${place(i)} ${
              denseIsInner
                ? range(4)
                    .map(
                      (j) =>
                        `tile_${name}[${base}(q * 4u + ${j}u) * ${row}u + (o >> 2u)][o & 3u] = next_${name}${i}[${j}];`,
                    )
                    .join(' ')
                : `tile_${name}[${base}o * ${row}u + q] = next_${name}${i};`
            }`,
          ),
        )
        .join('\n    '),
    row,
  }
}

/** `buffers`: tiles in workgroup memory, 2 where one may be filled while the other is read. `unrolled`: write the inner loop out. */
export function tiledText({ rows, columns, side }: Tile, form: GemmForm, buffers: 1 | 2, unrolled: boolean): string {
  const { transposeA, transposeB, wideA, wideB, wideOut, result } = form
  const RM = rows / side
  const quads = range(columns / side / 4)
  const invocations = side * side
  const a = filling('a', rows, !transposeA, invocations)
  const b = filling('b', columns, transposeB, invocations)
  const both = (text: (operand: typeof a, name: string, size: number) => string) =>
    `${text(a, 'a', depth * a.row)}\n    ${text(b, 'b', depth * b.row)}`
  const multiply = (k: string) => `
      ${range(RM / 4)
        .map((i) => `let a${i} = tile_a[a_read + ${k} * ${a.row}u + ${side * i}u];`)
        .join(' ')}
      ${quads.map((j) => `let b${j} = tile_b[b_read + ${k} * ${b.row}u + ${side * j}u];`).join(' ')}
      ${range(RM)
        .map((i) =>
          quads.map((j) => `acc${i}_${j} = fma(vec4<f32>(a${i >> 2}[${i & 3}]), b${j}, acc${i}_${j});`).join(' '),
        )
        .join('\n      ')}`
  const rolled = `for (var k = 0u; k < ${depth}u; k++) { ${multiply('k')} }`
  const inner = unrolled
    ? range(depth)
        .map((k) => `{ ${multiply(`${k}u`)} }`)
        .join('\n')
    : rolled
  const one = (i: number, j: number, c: number) => result(`acc${i}_${j}[${c}]`, `at + ${c}u`, `(column + ${c}u)`)
  const storeQuad = (i: number, j: number) =>
    wideOut
      ? `out_set4(at, vec4<f32>(${range(4)
          .map((c) => one(i, j, c))
          .join(', ')}));`
      : range(4)
          .map((c) => `if (column + ${c}u < args.N) { out_set(at + ${c}u, ${one(i, j, c)}); }`)
          .join(' ')
  const storeRow = (i: number) => `{
    let row = row0 + ty * 4u + ${side * 4 * (i >> 2) + (i & 3)}u;
    if (row < args.M) { ${quads
      .map(
        (j) => `{ let column = column0 + tx * 4u + ${side * 4 * j}u;
      if (column < args.N) { let at = out_0 + row * args.out_row + column; ${storeQuad(i, j)} } }`,
      )
      .join('\n    ')} }
  }`
  // A subgroup's invocations cover 8 x 4 results, so that its reads of both tiles are few and without conflict.
  const across = side / 8
  return `${special}
${fourText('a', wideA, !transposeA)}
${fourText('b', wideB, transposeB)}
var<workgroup> tile_a: array<vec4<f32>, ${buffers * depth * a.row}>;
var<workgroup> tile_b: array<vec4<f32>, ${buffers * depth * b.row}>;
@compute @workgroup_size(${invocations}) fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) wid: vec3<u32>) {
  ${gemmHead}
  let row0 = wid.y * ${rows}u;
  let column0 = wid.x * ${columns}u;
  let patch_ = lane / 32u;
  let tx = patch_ % ${across}u * 8u + lane % 8u;
  let ty = patch_ / ${across}u * 4u + lane / 8u % 4u;
  ${range(RM)
    .map((i) => quads.map((j) => `var acc${i}_${j} = vec4<f32>();`).join(' '))
    .join('\n  ')}
  ${both((operand) => operand.declare)}
  // Whole tiles of the inner axis, then what is left of it.
  let k_whole = k_first + (max(k_last, k_first) - k_first) / ${depth}u * ${depth}u;
  if (k_whole > k_first) {
    ${both((operand) => operand.fetch('k_first', 'near'))}
    ${both((operand) => operand.store(''))}
    workgroupBarrier();
    var turn = 0u;
    for (var k0 = k_first; k0 < k_whole; k0 += ${depth}u) {
      // The last tile is fetched once more, and nobody reads it.
      let k_next = min(k0 + ${depth}u, k_whole - ${depth}u);
      ${both((operand) => operand.fetch('k_next', 'near'))}
      let a_read = turn * ${depth * a.row}u + ty;
      let b_read = turn * ${depth * b.row}u + tx;
      ${inner}
      ${buffers === 2 ? 'turn = 1u - turn;' : 'workgroupBarrier();'}
      ${both((operand, _, size) => operand.store(buffers === 2 ? `turn * ${size}u + ` : ''))}
      workgroupBarrier();
    }
  }
  if (k_whole < k_last) {
    ${both((operand) => operand.fetch('k_whole', 'four'))}
    ${both((operand) => operand.store(''))}
    workgroupBarrier();
    let a_read = ty;
    let b_read = tx;
    ${rolled}
  }
  ${range(RM)
    .map((i) => storeRow(i))
    .join('\n  ')}
}`
}
