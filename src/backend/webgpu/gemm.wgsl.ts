// Matrix multiplication: register tiles over workgroup memory, all transposes, batched, with bias and activation. Small
// outputs with a long inner axis are split along it, and the parts summed in a fixed order; few rows have a form of
// their own.
import { activations } from '../kernels.js'
import type { Operand } from '../types.js'
import { elementwise } from './elementwise.wgsl.js'
import { matrixDepth, matrixLoad, matrixText, matrixTileBytes } from './gemmMatrices.wgsl.js'
import { depth, type GemmForm, tileBytes, tiledText } from './gemmText.wgsl.js'
import { thinInvocations, thinText } from './gemmThin.wgsl.js'
import {
  alignedBy,
  alignedByFour,
  ceilDiv,
  type DeviceTraits,
  dispatchLayers,
  type Encoder,
  type Launcher,
  linearGrid,
  present,
  read,
  type TileChoice,
  update,
  write,
} from './launcher.js'
import { activationText, special } from './math.wgsl.js'
import { transposed } from './transpose.wgsl.js'

const tiles: readonly TileChoice[] = [
  { rows: 128, columns: 128, side: 16, speed: 1, perCore: 2 },
  { rows: 64, columns: 64, side: 8, speed: 0.8, perCore: 8 },
  { rows: 32, columns: 32, side: 8, speed: 0.4, perCore: 12 },
]
/** The same for matrix units; `side` is a subgroup's. */
const matrixTiles: readonly TileChoice[] = [
  { rows: 128, columns: 128, side: 64, speed: 1, perCore: 2 },
  { rows: 64, columns: 64, side: 32, speed: 0.5, perCore: 4 },
]
/** Invocations that a core of a GPU holds. */
const perCore = 2048
/** Multiplications of one core in the time in which a device of one core writes and reads an element of a split. */
const splitCost = 72
/** Multiplications of one core in the time that a dispatch of its own for the sum of a split takes. */
const splitLaunch = 2e6
/** How many times faster matrix units multiply. */
const matrixSpeed = 6

interface Plan {
  readonly tile: TileChoice
  readonly splits: number
}

/**
 * The tile and the number of parts of the inner axis that should take the least time; where the `reader` of the product
 * sums the parts, those are of one size, and no kernel of their own is needed.
 */
function planFor(
  [M, N, K, batch]: readonly [number, number, number, number],
  matrices: boolean,
  { fillingInvocations, workgroupBytes, bindingBytes, tuning }: DeviceTraits,
  summedBy: 'kernel' | 'reader' = 'kernel',
): Plan {
  const choices = matrices ? (tuning?.matrixTiles ?? matrixTiles) : (tuning?.tiles ?? tiles)
  const bytes = matrices ? matrixTileBytes : tileBytes
  const cores = Math.max(1, Math.floor(fillingInvocations / perCore))
  let best: Plan = { tile: choices[choices.length - 1], splits: 1 }
  let least = Number.POSITIVE_INFINITY
  for (const tile of choices.filter((tile) => bytes(tile) <= workgroupBytes)) {
    const groups = ceilDiv(M, tile.rows) * ceilDiv(N, tile.columns) * batch
    const work = (tile.rows * tile.columns * tile.perCore) / tile.speed
    const most = Math.min(64, Math.floor(K / 128), Math.floor(bindingBytes / (4 * batch * M * N)))
    for (let splits = 1; splits <= Math.max(1, most); splits++) {
      if (summedBy === 'reader' && K % (splits * matrixLoad) !== 0 && splits > 1) continue
      const waves = Math.ceil((groups * splits) / (cores * tile.perCore))
      const launch = summedBy === 'kernel' ? splitLaunch : 0
      const sum = splits > 1 ? (splits * batch * M * N * splitCost) / cores + launch : 0
      const time = (waves * work * K) / splits + sum * (matrices ? matrixSpeed : 1)
      if (time < least) {
        least = time
        best = { tile, splits }
      }
    }
  }
  return best
}

/** Outputs so small that a tile would be mostly empty. */
const isThin = (M: number, N: number) => M <= 4 || N <= 4 || M * N <= 256

/** Float16 operands whose rows are read 16 bytes at a time, from buffers that no other operand is in. */
function suitsMatrices({ a, b, bias, out }: Parameters<typeof gemm>[1], transposeA: boolean): boolean {
  const suits = (operand: Operand) => operand.shape[2] % matrixLoad === 0 && alignedBy(matrixLoad, operand)
  const apart = [bias, out].every((other) => other?.buffer !== a.buffer && other?.buffer !== b.buffer)
  const half = a.dtype === 'float16' && b.dtype === 'float16'
  return half && (transposeA ? a.shape[1] % matrixLoad === 0 : suits(a)) && suits(b) && apart
}

/** In how many parts of the inner axis a (M, K) times the transpose of b (N, K) is best made, for a reader that sums them. */
export function innerPartsFor({ traits }: Launcher, a: Operand, b: Operand): number {
  const [M, K] = a.shape
  const half = a.dtype === 'float16' && b.dtype === 'float16'
  return planFor([M, b.shape[0], K, 1], half && traits.matrices, traits, 'reader').splits
}

export const gemm: Encoder<'gemm'> = (launcher, operands, numbers) => {
  const { b, bias, out } = operands
  const { alpha, accumulate, activation } = numbers
  const { cheapBarriers, exchange, unrolledStates, workgroupBytes } = launcher.traits
  const [batch, M, N] = out.shape
  const K = operands.a.shape[numbers.transposeA ? 1 : 2]
  const thin = isThin(M, N)
  const matrices = !thin && launcher.traits.matrices && suitsMatrices(operands, !!numbers.transposeA)
  const transposeA = numbers.transposeA && !matrices
  const a = numbers.transposeA && matrices ? transposed(launcher, operands.a) : operands.a
  const { tile, splits } = thin ? { tile: tiles[0], splits: 1 } : planFor([M, N, K, batch], matrices, launcher.traits)
  const step = matrices ? matrixDepth : depth
  const grid = [ceilDiv(N, tile.columns), ceilDiv(M, tile.rows)]
  const split = splits > 1
  const name = activations[activation]
  const scaled = (x: string) => `${x} * args.alpha`
  const target = split ? launcher.scratch('float32', [splits * batch, M, N]) : out
  const form: GemmForm = {
    transposeA: !!transposeA,
    transposeB: !!numbers.transposeB,
    wideA: alignedByFour(a) && a.shape[2] % 4 === 0,
    wideB: alignedByFour(b) && b.shape[2] % 4 === 0,
    wideOut: !thin && N % 4 === 0 && alignedByFour(target),
    result: (x, at, column) => {
      if (split) return scaled(x)
      if (accumulate) return `out_get(${at}) + ${scaled(x)}`
      return activationText[name](`(${scaled(x)}${bias ? ` + bias_get(${column})` : ''})`)
    },
  }
  const key = `${+form.transposeA}${+form.transposeB}${+form.wideA}${+form.wideB}${+form.wideOut}.${accumulate}.${name}`
  const work = {
    bindings: present({
      a: read(a, matrices ? 'eights' : form.wideA),
      b: read(b, matrices ? 'eights' : form.wideB),
      bias: !split && bias && read(bias),
      out: accumulate && !split ? update(target, form.wideOut) : write(target, form.wideOut),
    }),
    integers: {
      M,
      N,
      K,
      batches: batch,
      per_split: ceilDiv(ceilDiv(K, splits), step) * step,
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
    const shared = cheapBarriers && K >= 32
    const lanes = shared ? (K >= 512 ? 32 : K >= 128 ? 16 : 8) : 1
    const subgroups = exchange === 'subgroup'
    launcher.dispatch({
      ...work,
      label: `gemm.thin${lanes}.${key}`,
      code: () => thinText(lanes, form, subgroups),
      subgroups,
      workgroups: linearGrid(ceilDiv(batch * M * N * lanes, thinInvocations)),
    })
    return
  }
  const narrow = { rows: M < tile.rows, columns: N < tile.columns }
  dispatchLayers(launcher, {
    ...work,
    label: `gemm${matrices ? `.matrices${+narrow.rows}${+narrow.columns}` : ''}.${tile.rows}.${split}.${key}`,
    code: () =>
      matrices
        ? matrixText(tile, form, narrow)
        : tiledText(tile, form, 2 * tileBytes(tile) <= workgroupBytes ? 2 : 1, unrolledStates > 0),
    matrices,
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
