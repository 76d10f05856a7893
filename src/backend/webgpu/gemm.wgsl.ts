// Matrix multiplication: register tiles over workgroup memory, all transposes, batched, with bias and activation.
// Small outputs with a long inner axis are split along it, and the parts summed in a fixed order.
import { activations } from '../kernels.js'
import type { Operand } from '../types.js'
import { elementwise } from './elementwise.wgsl.js'
import { alignedByFour, ceilDiv, type Encoder, type Launcher, present, range, read, update, write } from './launcher.js'
import { activationText, special } from './math.wgsl.js'

interface Tile {
  /** Rows and columns of the workgroup's tile; each invocation keeps (rows/16) x (columns/16) results. */
  readonly rows: number
  readonly columns: number
  readonly depth: number
}

const invocations = 256
const small: Tile = { rows: 32, columns: 32, depth: 16 }
const medium: Tile = { rows: 64, columns: 64, depth: 16 }
const large: Tile = { rows: 128, columns: 128, depth: 16 }

/** The largest tile that still gives every core of a large device work. */
function tileFor(M: number, N: number, batch: number, filling: number): Tile {
  const groups = (tile: Tile) => ceilDiv(M, tile.rows) * ceilDiv(N, tile.columns) * batch
  const enough = filling / invocations
  return [large, medium].find((tile) => M >= tile.rows && N >= tile.columns && groups(tile) >= enough) ?? small
}

export const gemm: Encoder<'gemm'> = (launcher, { a, b, bias, out }, numbers) => {
  const { transposeA, transposeB, alpha, accumulate, activation } = numbers
  const [batch, M, N] = out.shape
  const K = transposeA ? a.shape[1] : a.shape[2]
  const tile = tileFor(M, N, batch, launcher.fillingInvocations)
  const grid = [ceilDiv(N, tile.columns), ceilDiv(M, tile.rows)]
  const wanted = launcher.fillingInvocations / invocations / (grid[0] * grid[1] * batch)
  const splits = Math.max(1, Math.min(Math.floor(wanted), Math.floor(K / 256), 64))
  const wideA = alignedByFour(a)
  const wideB = alignedByFour(b)
  const name = activations[activation]
  const flags = `${transposeA}${transposeB}${accumulate}${name}${wideA ? 'v' : 's'}${wideB ? 'v' : 's'}`
  const split = splits > 1
  const target = split ? launcher.scratch('float32', [splits * batch, M, N]) : out
  const perSplit = ceilDiv(ceilDiv(K, splits), tile.depth) * tile.depth
  launcher.dispatch({
    label: `gemm.${tile.rows}.${split}.${flags}`,
    bindings: present({
      a: read(a, wideA),
      b: read(b, wideB),
      bias: !split && bias && read(bias),
      out: split ? write(target) : accumulate ? update(target) : write(target),
    }),
    integers: {
      M,
      N,
      K,
      batches: batch,
      perSplit,
      a_batch: a.strides[0],
      a_row: a.strides[1],
      b_batch: b.strides[0],
      b_row: b.strides[1],
      out_batch: target.strides[0],
      out_row: target.strides[1],
    },
    floats: { alpha },
    code: () => gemmText(tile, numbers, wideA, wideB, !!bias && !split, split),
    workgroups: [grid[0], grid[1], batch * splits],
  })
  if (split) sumSplits(launcher, target, splits, bias, out, accumulate !== 0, name)
}

function sumSplits(
  launcher: Launcher,
  parts: Operand,
  splits: number,
  bias: Operand | null | undefined,
  out: Operand,
  accumulate: boolean,
  activation: string,
): void {
  const [batch, M, N] = out.shape
  const shape = [batch, M, N]
  elementwise(launcher, {
    label: `gemm.sum.${activation}.${accumulate}`,
    bindings: present({
      part: read({ ...parts, shape }),
      bias: bias && read({ ...bias, shape, strides: [0, 0, 1] }),
      out: accumulate ? update(out) : write(out),
    }),
    declarations: special,
    integers: { splits, step: batch * M * N },
    text: `var total = part;
    for (var s = 1u; s < args.splits; s++) { total += part_get(index + s * args.step); }
    out = ${accumulate ? 'out + total' : activationText[activation](bias ? '(total + bias)' : 'total')};`,
  })
}

function gemmText(
  { rows, columns, depth }: Tile,
  { transposeA, transposeB, accumulate, activation }: Parameters<typeof gemm>[2],
  wideA: boolean,
  wideB: boolean,
  hasBias: boolean,
  split: boolean,
): string {
  const RM = rows / 16
  const RN = columns / 16
  // An operand's tile is kept as [depth][extent], whichever of the two axes is dense in memory.
  const load = (x: 'a' | 'b', extent: number, denseDepth: boolean, wide: boolean) => {
    const limit = x === 'a' ? 'args.M' : 'args.N'
    const origin = x === 'a' ? 'row0' : 'column0'
    const perDense = (denseDepth ? depth : extent) / 4
    const steps = (extent * depth) / 4 / invocations
    const at = denseDepth
      ? `let q = (slot % ${perDense}u) * 4u; let o = slot / ${perDense}u; let dense = k0 + q; let other = ${origin} + o;`
      : `let q = (slot % ${perDense}u) * 4u; let o = slot / ${perDense}u; let dense = ${origin} + q; let other = k0 + o;`
    const [denseLimit, otherLimit] = denseDepth ? ['kEnd', limit] : [limit, 'kEnd']
    const store = denseDepth
      ? range(4).map((j) => `tile_${x}[(q + ${j}u) * ${extent + 1}u + o] = v[${j}];`)
      : range(4).map((j) => `tile_${x}[o * ${extent + 1}u + q + ${j}u] = v[${j}];`)
    const body = `${at}
      var v = vec4<f32>();
      if (other < ${otherLimit}) {
        let base = ${x}_0 + other * args.${x}_row + dense;
        ${wide ? `if (dense + 3u < ${denseLimit}) { v = ${x}_get4(base); } else {` : '{'}
          ${range(4)
            .map((j) => `if (dense + ${j}u < ${denseLimit}) { v[${j}] = ${x}_get(base + ${j}u); }`)
            .join(' ')}
        }
      }
      ${store.join(' ')}`
    if (steps < 1) return `if (lane < ${(extent * depth) / 4}u) { let slot = lane; ${body} }`
    return range(steps)
      .map((s) => `{ let slot = lane + ${s * invocations}u; ${body} }`)
      .join('\n')
  }
  const result = (i: number, j: number) => {
    const value = split
      ? `acc${i}[${j}] * args.alpha`
      : `(acc${i}[${j}] * args.alpha${hasBias ? ' + bias_get(column)' : ''})`
    const at = `out_0 + (row0 + ty + ${16 * i}u) * args.out_row + column`
    const text = split
      ? value
      : accumulate
        ? `out_get(${at}) + acc${i}[${j}] * args.alpha`
        : activationText[activations[activation]](value)
    return `if (column < args.N && row0 + ty + ${16 * i}u < args.M) { out_set(${at}, ${text}); }`
  }
  return `${special}
var<workgroup> tile_a: array<f32, ${depth * (rows + 1)}>;
var<workgroup> tile_b: array<f32, ${depth * (columns + 1)}>;
@compute @workgroup_size(${invocations}) fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) wid: vec3<u32>) {
  let batch = wid.z % args.batches;
  let part = wid.z / args.batches;
  let row0 = wid.y * ${rows}u;
  let column0 = wid.x * ${columns}u;
  let tx = lane % 16u;
  let ty = lane / 16u;
  let a_0 = batch * args.a_batch;
  let b_0 = batch * args.b_batch;
  let out_0 = wid.z * args.out_batch;
  let kStart = part * args.perSplit;
  let kEnd = min(args.K, kStart + args.perSplit);
  ${range(RM)
    .map((i) => `var acc${i} = array<f32, ${RN}>();`)
    .join(' ')}
  for (var k0 = kStart; k0 < kEnd; k0 += ${depth}u) {
    ${load('a', rows, !transposeA, wideA)}
    ${load('b', columns, !!transposeB, wideB)}
    workgroupBarrier();
    for (var k = 0u; k < ${depth}u; k++) {
      ${range(RM)
        .map((i) => `let a${i} = tile_a[k * ${rows + 1}u + ty + ${16 * i}u];`)
        .join(' ')}
      ${range(RN)
        .map((j) => `let b${j} = tile_b[k * ${columns + 1}u + tx + ${16 * j}u];`)
        .join(' ')}
      ${range(RM)
        .map((i) =>
          range(RN)
            .map((j) => `acc${i}[${j}] += a${i} * b${j};`)
            .join(' '),
        )
        .join('\n      ')}
    }
    workgroupBarrier();
  }
  ${range(RN)
    .map(
      (j) =>
        `{ let column = column0 + tx + ${16 * j}u; ${range(RM)
          .map((i) => result(i, j))
          .join('\n    ')} }`,
    )
    .join('\n  ')}
}`
}
