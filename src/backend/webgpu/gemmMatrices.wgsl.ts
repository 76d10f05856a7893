// The text of GEMM on a GPU's matrix units (subgroup matrices): float16 operands, float32 sums. Tiles of both operands
// lie in workgroup memory as they lie in the buffers, since matrices load from rows or columns; each subgroup sums a part
// of the tile in matrices, and hands it out through the same memory, where bias and activation meet it. The left operand
// comes untransposed: matrices of it load from columns at a third of the speed.
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

/** Where an extent is smaller than a tile: rows or columns past its end then repeat the last one. */
export interface Narrow {
  readonly rows: boolean
  readonly columns: boolean
}

/** An operand's tile in `tile`, from `base` on: `outer` rows of `dense` elements, `stride` apart. All in loads. */
interface Filling {
  readonly base: number
  readonly size: number
  readonly stride: number
  readonly declare: string
  /** Loads the tile at `k0`; where `guarded`, zeros take the place of inner elements past the end. */
  readonly fetch: (k0: string, guarded: boolean) => string
  readonly store: string
}

function filling(
  name: 'a' | 'b',
  extent: number,
  denseIsInner: boolean,
  narrow: boolean,
  invocations: number,
  base: number,
): Filling {
  const [first, limit] = name === 'a' ? ['row0', 'args.M'] : ['column0', 'args.N']
  const [outer, dense] = denseIsInner ? [extent, matrixDepth] : [matrixDepth, extent]
  const stride = (dense + padding) / matrixLoad
  const loads = range((outer * dense) / matrixLoad / invocations)
  const place = (i: number) =>
    `let slot = lane + ${i * invocations}u; let o = slot / ${dense / matrixLoad}u; let q = slot % ${dense / matrixLoad}u;`
  const inner = denseIsInner ? `q * ${matrixLoad}u` : 'o'
  const free = `${first} + ${denseIsInner ? 'o' : `q * ${matrixLoad}u`}`
  const other = narrow ? `min(${free}, ${limit} - ${denseIsInner ? 1 : matrixLoad}u)` : free
  const load = (k: string) =>
    `${name}_get8(${name}_0 + ${denseIsInner ? `(${other}) * args.${name}_row + ${k}` : `(${k}) * args.${name}_row + ${other}`})`
  const last = `k_last - ${denseIsInner ? matrixLoad : 1}u`
  const each = (text: (i: number) => string) => loads.map((i) => `{ ${place(i)} ${text(i)} }`).join('\n    ')
  return {
    base,
    size: outer * stride,
    stride,
    declare: loads.map((i) => `var next_${name}${i}: vec4<u32>;`).join(' '),
    fetch: (k0, guarded) =>
      each((i) =>
        guarded
          ? `let k = ${k0} + ${inner}; next_${name}${i} = select(vec4<u32>(), ${load(`min(k, ${last})`)}, k < k_last);`
          : `next_${name}${i} = ${load(`${k0} + ${inner}`)};`,
      ),
    store: each((i) => `tile[${base}u + o * ${stride}u + q] = next_${name}${i};`),
  }
}

export const matrixInvocations = ({ rows, columns, side }: MatrixTile) =>
  ((rows * columns) / side / side) * subgroupSize

/** Bytes of workgroup memory, at most. */
export const matrixTileBytes = ({ rows, columns }: MatrixTile) => 2 * (rows + columns) * (matrixDepth + padding)

export function matrixText(tile: MatrixTile, form: GemmForm, narrow: Narrow): string {
  const { rows, columns, side } = tile
  const { transposeB, wideOut, result } = form
  const invocations = matrixInvocations(tile)
  const across = columns / side
  const parts = range(side / edge)
  const a = filling('a', rows, true, narrow.rows, invocations, 0)
  const b = filling('b', columns, transposeB, narrow.columns, invocations, a.size)
  const stripRow = (side + resultPadding) / 4
  const stripSize = edge * stripRow
  const loadA = (i: number, k: number) =>
    `let a${i} = subgroupMatrixLoad<subgroup_matrix_left<f16, ${edge}, ${edge}>, row_major>(&tile, a_read + ${i * edge * a.stride + (k * edge) / matrixLoad}u, ${a.stride}u);`
  const loadB = (j: number, k: number) =>
    transposeB
      ? `let b${j} = subgroupMatrixLoad<subgroup_matrix_right<f16, ${edge}, ${edge}>, col_major>(&tile, b_read + ${j * edge * b.stride + (k * edge) / matrixLoad}u, ${b.stride}u);`
      : `let b${j} = subgroupMatrixLoad<subgroup_matrix_right<f16, ${edge}, ${edge}>, row_major>(&tile, b_read + ${k * edge * b.stride + (j * edge) / matrixLoad}u, ${b.stride}u);`
  const each = (text: (i: number, j: number) => string) =>
    parts.map((i) => parts.map((j) => text(i, j)).join(' ')).join('\n      ')
  const multiply = range(matrixDepth / edge)
    .map(
      (k) => `{
      ${parts.map((i) => loadA(i, k)).join('\n      ')}
      ${parts.map((j) => loadB(j, k)).join('\n      ')}
      ${each((i, j) => `acc${i}_${j} = subgroupMatrixMultiplyAccumulate(a${i}, b${j}, acc${i}_${j});`)}
    }`,
    )
    .join('\n    ')
  const one = (c: number) => result(`x[${c}]`, `at + ${c}u`, `(column + ${c}u)`)
  const storeFour = wideOut
    ? `out_set4(at, vec4<f32>(${range(4).map(one).join(', ')}));`
    : range(4)
        .map(
          (c) => `if (column + ${c}u >= first_column && column + ${c}u < args.N) { out_set(at + ${c}u, ${one(c)}); }`,
        )
        .join(' ')
  // A strip of results a subgroup: 16 rows of its part.
  const storeStrip = (i: number) => `
  workgroupBarrier();
  ${parts.map((j) => `subgroupMatrixStore<row_major>(&tile, strip_0 + ${(j * edge) / 4}u, acc${i}_${j}, ${stripRow}u);`).join('\n  ')}
  workgroupBarrier();
  for (var turn = 0u; turn < ${(edge * side) / 4 / subgroupSize}u; turn++) {
    let item = turn * ${subgroupSize}u + lane % ${subgroupSize}u;
    let row = row0 + row_part + ${i * edge}u + item / ${side / 4}u;
    let column = column0 + column_part + item % ${side / 4}u * 4u;
    if (row >= first_row && row < args.M && column + 3u >= first_column && column < args.N) {
      let x = bitcast<vec4<f32>>(tile[strip_0 + item / ${side / 4}u * ${stripRow}u + item % ${side / 4}u]);
      let at = out_0 + row * args.out_row + column;
      ${storeFour}
    }
  }`
  const fetch = (k0: string, guarded: boolean) => `${a.fetch(k0, guarded)}\n    ${b.fetch(k0, guarded)}`
  const store = `${a.store}\n    ${b.store}`
  // The last tile of an axis ends where the axis ends: what it repeats of the one before is not stored twice.
  const origin = (first: string, extent: number, limit: string, isNarrow: boolean) =>
    isNarrow ? first : `min(${first}, ${limit} - ${extent}u)`
  return `${special}
var<workgroup> tile: array<vec4<u32>, ${Math.max(a.size + b.size, (invocations / subgroupSize) * stripSize)}>;
@compute @workgroup_size(${invocations}) fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) wid: vec3<u32>) {
  ${gemmHead}
  let first_row = wid.y * ${rows}u;
  let first_column = wid.x * ${columns}u;
  let row0 = ${origin('first_row', rows, 'args.M', narrow.rows)};
  let column0 = ${origin('first_column', columns, 'args.N', narrow.columns)};
  let part_ = lane / ${subgroupSize}u;
  let row_part = part_ / ${across}u * ${side}u;
  let column_part = part_ % ${across}u * ${side}u;
  let a_read = row_part * ${a.stride}u;
  let b_read = ${b.base}u + ${transposeB ? `column_part * ${b.stride}u` : `column_part / ${matrixLoad}u`};
  let strip_0 = part_ * ${stripSize}u;
  ${each((i, j) => `var acc${i}_${j}: subgroup_matrix_result<f32, ${edge}, ${edge}>;`)}
  ${a.declare} ${b.declare}
  // Whole tiles of the inner axis, then what is left of it. The next tile is on its way while one is multiplied: a load
  // under a condition stays where it is written, where compilers move others down to their use.
  let k_whole = k_first + (max(k_last, k_first) - k_first) / ${matrixDepth}u * ${matrixDepth}u;
  if (k_whole > k_first) {
    ${fetch('k_first', false)}
    ${store}
    workgroupBarrier();
    for (var k0 = k_first; k0 < k_whole; k0 += ${matrixDepth}u) {
      let k_next = k0 + ${matrixDepth}u;
      if (k_next < k_whole) {
    ${fetch('k_next', false)}
      }
    ${multiply}
      workgroupBarrier();
    ${store}
      workgroupBarrier();
    }
  }
  if (k_whole < k_last) {
    ${fetch('k_whole', true)}
    ${store}
    workgroupBarrier();
    ${multiply}
  }
  ${parts.map(storeStrip).join('\n')}
}`
}
