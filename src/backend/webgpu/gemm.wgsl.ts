// Matrix multiplication: register tiles over workgroup memory, all transposes, batched, with bias and activation. Small
// outputs with a long inner axis are split along it, and the parts summed in a fixed order; few rows have a form of
// their own.
import { activations } from '../kernels.js'
import type { Operand } from '../types.js'
import { elementwise } from './elementwise.wgsl.js'
import { depth, type GemmForm, type Tile, tiledText } from './gemmText.wgsl.js'
import { thinInvocations, thinText } from './gemmThin.wgsl.js'
import {
  alignedByFour,
  ceilDiv,
  dispatchLayers,
  type Encoder,
  type Launcher,
  linearGrid,
  present,
  read,
  update,
  write,
} from './launcher.js'
import { activationText, special } from './math.wgsl.js'

const small: Tile = { rows: 32, columns: 32, side: 8 }
const medium: Tile = { rows: 64, columns: 64, side: 8 }
const large: Tile = { rows: 128, columns: 128, side: 16 }
/** Invocations of which a workgroup of the large tile consists. */
const groupInvocations = 256
/** The largest tile that still gives every core of the device work. */
function tileFor(M: number, N: number, batch: number, filling: number): Tile {
  const groups = (tile: Tile) => ceilDiv(M, tile.rows) * ceilDiv(N, tile.columns) * batch
  const enough = filling / groupInvocations
  return [large, medium].find((tile) => 2 * M > tile.rows && 2 * N > tile.columns && groups(tile) >= enough) ?? small
}

/** Outputs so small that a tile would be mostly empty. */
const isThin = (M: number, N: number) => M <= 4 || N <= 4 || M * N <= 256

export const gemm: Encoder<'gemm'> = (launcher, { a, b, bias, out }, numbers) => {
  const { alpha, accumulate, activation } = numbers
  const { fillingInvocations, cheapBarriers } = launcher.traits
  const [batch, M, N] = out.shape
  const K = numbers.transposeA ? a.shape[1] : a.shape[2]
  const thin = isThin(M, N)
  const tile = tileFor(M, N, batch, fillingInvocations)
  const grid = [ceilDiv(N, tile.columns), ceilDiv(M, tile.rows)]
  const wanted = fillingInvocations / groupInvocations / (grid[0] * grid[1] * batch)
  const splits = thin ? 1 : Math.max(1, Math.min(Math.floor(wanted), Math.floor(K / 256), 64))
  const split = splits > 1
  const name = activations[activation]
  const scaled = (x: string) => `${x} * args.alpha`
  const form: GemmForm = {
    transposeA: !!numbers.transposeA,
    transposeB: !!numbers.transposeB,
    wideA: alignedByFour(a),
    wideB: alignedByFour(b),
    result: (x, at) => {
      if (split) return scaled(x)
      if (accumulate) return `out_get(${at}) + ${scaled(x)}`
      return activationText[name](`(${scaled(x)}${bias ? ' + bias_get(column)' : ''})`)
    },
  }
  const key = `${+form.transposeA}${+form.transposeB}${+form.wideA}${+form.wideB}.${accumulate}.${name}`
  const target = split ? launcher.scratch('float32', [splits * batch, M, N]) : out
  const work = {
    bindings: present({
      a: read(a, form.wideA),
      b: read(b, form.wideB),
      bias: !split && bias && read(bias),
      out: accumulate && !split ? update(target) : write(target),
    }),
    integers: {
      M,
      N,
      K,
      batches: batch,
      per_split: ceilDiv(ceilDiv(K, splits), depth) * depth,
      a_batch: a.strides[0],
      a_row: a.strides[1],
      b_batch: b.strides[0],
      b_row: b.strides[1],
      out_batch: target.strides[0],
      out_row: target.strides[1],
    },
    floats: { alpha },
  }
  if (thin) {
    const lanes = cheapBarriers && K >= 64 ? Math.min(thinInvocations, K >= 512 ? 32 : 8) : 1
    launcher.dispatch({
      ...work,
      label: `gemm.thin${lanes}.${key}`,
      code: () => thinText(lanes, form),
      workgroups: linearGrid(ceilDiv(batch * M * N * lanes, thinInvocations)),
    })
    return
  }
  dispatchLayers(launcher, {
    ...work,
    label: `gemm.${tile.rows}.${split}.${key}`,
    code: () => tiledText(tile, form),
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
