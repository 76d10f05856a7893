// The text of GEMM on a GPU's matrix units (subgroup matrices): float16 operands, float32 sums. Tiles of both operands
// lie in workgroup memory as they lie in the buffers, since matrices load from rows or columns; each subgroup sums a part
// of the tile in matrices, and hands it out through workgroup memory, where bias and activation meet it.
import { type GemmForm, gemmHead, type Tile } from './gemmText.wgsl.js'
import { range } from './launcher.js'
import { special } from './math.wgsl.js'

/** `rows` x `columns` of a workgroup, `side` x `side` of a subgroup. */
export type MatrixTile = Tile

/** Rows and columns of a matrix. */
const edge = 16
/** Inner elements of a tile step. */
export const matrixDepth = 32
/** Elements that a load takes: 16 bytes. Rows, offsets and dense extents are multiples of it. */
export const matrixLoad = 8
/** Elements between the rows of a tile beyond its extent, which spread its columns over the memory's banks. */
const padding = 8
/** The same between rows of results, which are float32. */
const resultPadding = 4
/** What all devices that have matrices call a subgroup. */
const subgroupSize = 32

/** An operand's tile: `outer` rows of `dense` elements, which lie `stride` apart in workgroup memory. */
interface Filling {
  readonly size: number
  readonly stride: number
  readonly declare: string
  /** Loads the tile at `k0`; where `guarded`, zeros take the place of inner elements past the end. */
  readonly fetch: (k0: string, guarded: boolean) => string
  readonly store: string
}

function filling(name: 'a' | 'b', extent: number, denseIsInner: boolean, invocations: number): Filling {
  const [first, limit] = name === 'a' ? ['row0', 'args.M'] : ['column0', 'args.N']
  const [outer, dense] = denseIsInner ? [extent, matrixDepth] : [matrixDepth, extent]
  const stride = dense + padding
  const loads = range((outer * dense) / matrixLoad / invocations)
  const place = (i: number) =>
    `let slot = lane + ${i * invocations}u; let o = slot / ${dense / matrixLoad}u; let q = slot % ${dense / matrixLoad}u * ${matrixLoad}u;`
  // Rows and columns past the end repeat the last ones: their results are not stored.
  const load = (k0: string, guarded: boolean) => {
    const inner = `${k0} + ${denseIsInner ? 'q' : 'o'}`
    const other = denseIsInner ? `min(${first} + o, ${limit} - 1u)` : `min(${first} + q, ${limit} - ${matrixLoad}u)`
    const [row, column] = denseIsInner ? [other, 'inner'] : ['inner', other]
    const value = `${name}_get8(${name}_0 + ${row} * args.${name}_row + ${column})`
    const near = denseIsInner ? `k_last - ${matrixLoad}u` : 'k_last - 1u'
    return guarded
      ? `let at = ${inner}; let inner = min(at, ${near}); next = select(vec4<u32>(), ${value}, at < k_last);`
      : `let inner = ${inner}; next = ${value};`
  }
  return {
    size: (outer * stride) / matrixLoad,
    stride: stride / matrixLoad,
    declare: loads.map((i) => `var next_${name}${i}: vec4<u32>;`).join(' '),
    fetch: (k0, guarded) =>
      loads.map((i) => `{ ${place(i)} ${load(k0, guarded).replace('next =', `next_${name}${i} =`)} }`).join('\n    '),
    store: loads
      .map((i) => `{ ${place(i)} tile_${name}[(o * ${stride}u + q) / ${matrixLoad}u] = next_${name}${i}; }`)
      .join('\n    '),
  }
}

export const matrixInvocations = ({ rows, columns, side }: MatrixTile) =>
  ((rows * columns) / side / side) * subgroupSize

/** Bytes of workgroup memory. */
export const matrixTileBytes = ({ rows, columns, side }: MatrixTile) =>
  2 * (rows + columns) * (matrixDepth + padding) + 4 * ((rows * columns) / side / side) * edge * (side + resultPadding)

export function matrixText(tile: MatrixTile, form: GemmForm): string {
  const { rows, columns, side } = tile
  const { transposeA, transposeB, wideOut, result } = form
  const invocations = matrixInvocations(tile)
  const across = columns / side
  const parts = range(side / edge)
  const a = filling('a', rows, !transposeA, invocations)
  const b = filling('b', columns, transposeB, invocations)
  const stripRow = (side + resultPadding) / 4
  const load = (operand: 'a' | 'b', i: number, k: number) => {
    const { stride } = operand === 'a' ? a : b
    const denseIsInner = operand === 'a' ? !transposeA : transposeB
    const [kind, major] =
      operand === 'a'
        ? ['left', transposeA ? 'col_major' : 'row_major']
        : ['right', transposeB ? 'col_major' : 'row_major']
    const at = denseIsInner
      ? `${operand}_read + ${(i * edge * stride * matrixLoad + k * edge) / matrixLoad}u`
      : `${operand}_read + ${(k * edge * stride * matrixLoad + i * edge) / matrixLoad}u`
    return `let ${operand}${i} = subgroupMatrixLoad<subgroup_matrix_${kind}<f16, ${edge}, ${edge}>, ${major}>(&tile_${operand}, ${at}, ${stride}u);`
  }
  const multiply = range(matrixDepth / edge)
    .map(
      (k) => `{
      ${parts.map((i) => load('a', i, k)).join('\n      ')}
      ${parts.map((j) => load('b', j, k)).join('\n      ')}
      ${parts
        .map((i) =>
          parts.map((j) => `acc${i}_${j} = subgroupMatrixMultiplyAccumulate(a${i}, b${j}, acc${i}_${j});`).join(' '),
        )
        .join('\n      ')}
    }`,
    )
    .join('\n    ')
  const one = (c: number) => result(`x[${c}]`, `at + ${c}u`, `(column + ${c}u)`)
  const storeFour = wideOut
    ? `out_set4(at, vec4<f32>(${range(4).map(one).join(', ')}));`
    : range(4)
        .map((c) => `if (column + ${c}u < args.N) { out_set(at + ${c}u, ${one(c)}); }`)
        .join(' ')
  // A strip of results a subgroup: 16 rows of its part.
  const storeStrip = (i: number) => `
  ${parts.map((j) => `subgroupMatrixStore<row_major>(&strip, strip_0 + ${(j * edge) / 4}u, acc${i}_${j}, ${stripRow}u);`).join('\n  ')}
  workgroupBarrier();
  for (var turn = 0u; turn < ${(edge * side) / 4 / subgroupSize}u; turn++) {
    let item = turn * ${subgroupSize}u + lane % ${subgroupSize}u;
    let row = row0 + row_part + ${i * edge}u + item / ${side / 4}u;
    let column = column0 + column_part + item % ${side / 4}u * 4u;
    if (row < args.M && column < args.N) {
      let x = strip[strip_0 + item / ${side / 4}u * ${stripRow}u + item % ${side / 4}u];
      let at = out_0 + row * args.out_row + column;
      ${storeFour}
    }
  }
  workgroupBarrier();`
  return `${special}
var<workgroup> tile_a: array<vec4<u32>, ${a.size}>;
var<workgroup> tile_b: array<vec4<u32>, ${b.size}>;
var<workgroup> strip: array<vec4<f32>, ${(invocations / subgroupSize) * edge * stripRow}>;
@compute @workgroup_size(${invocations}) fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) wid: vec3<u32>) {
  ${gemmHead}
  let row0 = wid.y * ${rows}u;
  let column0 = wid.x * ${columns}u;
  let part_ = lane / ${subgroupSize}u;
  let row_part = part_ / ${across}u * ${side}u;
  let column_part = part_ % ${across}u * ${side}u;
  let a_read = row_part ${transposeA ? '' : `* ${a.stride * matrixLoad}u`} / ${matrixLoad}u;
  let b_read = column_part ${transposeB ? `* ${b.stride * matrixLoad}u` : ''} / ${matrixLoad}u;
  let strip_0 = part_ * ${edge * stripRow}u;
  ${parts
    .map((i) => parts.map((j) => `var acc${i}_${j}: subgroup_matrix_result<f32, ${edge}, ${edge}>;`).join(' '))
    .join('\n  ')}
  ${a.declare} ${b.declare}
  // Whole tiles of the inner axis, then what is left of it. The next tile is on its way while one is multiplied: a load
  // under a condition stays where it is written, where compilers move others down to their use.
  let k_whole = k_first + (max(k_last, k_first) - k_first) / ${matrixDepth}u * ${matrixDepth}u;
  if (k_whole > k_first) {
    ${a.fetch('k_first', false)}
    ${b.fetch('k_first', false)}
    ${a.store}
    ${b.store}
    workgroupBarrier();
    for (var k0 = k_first; k0 < k_whole; k0 += ${matrixDepth}u) {
      let k_next = k0 + ${matrixDepth}u;
      if (k_next < k_whole) {
    ${a.fetch('k_next', false)}
    ${b.fetch('k_next', false)}
      }
    ${multiply}
      workgroupBarrier();
    ${a.store}
    ${b.store}
      workgroupBarrier();
    }
  }
  if (k_whole < k_last) {
    ${a.fetch('k_whole', true)}
    ${b.fetch('k_whole', true)}
    ${a.store}
    ${b.store}
    workgroupBarrier();
    ${multiply}
  }
  ${parts.map(storeStrip).join('\n')}
}`
}
