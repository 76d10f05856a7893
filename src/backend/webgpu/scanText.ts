// WGSL that the passes of the selective scan share: loops over the states, the walk over positions, the step size.
import type { Operand } from '../types.js'
import { elementwise } from './elementwise.wgsl.js'
import {
  alignedByFour,
  ceilDiv,
  contiguousStrides,
  type Launcher,
  linearEntry,
  linearGrid,
  range,
  read,
  write,
} from './launcher.js'
import type { Binding } from './program.js'

export const log2e = '1.4426950408889634'

/** Loops over n = 0..N-1: `each` passes the index and the names of per-state variables. */
export interface StateLoop {
  declare(name: string): string
  each(text: (n: string, of: (name: string) => string) => string): string
}

/** Up to `unrolled` states are named variables, more are arrays. */
export function stateLoop(N: number, unrolled: number): StateLoop {
  if (N <= unrolled) {
    return {
      declare: (name) =>
        range(N)
          .map((n) => `var ${name}${n} = 0.0;`)
          .join(' '),
      each: (text) =>
        range(N)
          .map((n) => `{ ${text(`${n}u`, (name) => `${name}${n}`)} }`)
          .join('\n    '),
    }
  }
  return {
    declare: (name) => `var ${name} = array<f32, ${N}>();`,
    each: (text) => `for (var n = 0u; n < ${N}u; n++) { ${text('n', (name) => `${name}[n]`)} }`,
  }
}

/** B or C: one row for each channel (fixed), or one for each position and group. */
export const isFixed = (operand: Operand) => operand.shape.length === 2
export const groupsOf = (operand: Operand) => (isFixed(operand) ? 1 : operand.shape[2])

/** Reads B and C by fours where rows allow it. */
export const projection = (operand: Operand): Binding => ({
  operand,
  access: 'r',
  wide: alignedByFour(operand) && operand.shape[operand.shape.length - 1] % 4 === 0,
})

/** Where the row of channel d of B or C begins. */
export const mapBase = (name: 'B' | 'C', operand: Operand, row: string) =>
  isFixed(operand)
    ? `d * args.${name}_s0`
    : `b * args.${name}_s0 + ${row} * args.${name}_s1 + d * args.${name}_groups / args.channels * args.${name}_s2`

/** Statements before a state loop, and the expression of element n inside it. */
export function projectionText(
  name: 'B' | 'C',
  { operand, wide }: Binding,
  N: number,
  unrolled: number,
): [string, (n: string) => string] {
  const base = mapBase(name, operand, 'row')
  const before = `let ${name}_0 = ${base};`
  if (!wide || N > unrolled) return [before, (n) => `${name}_get(${name}_0 + ${n})`]
  const loads = range(N / 4).map((q) => `let ${name}_q${q} = ${name}_get4(${name}_0 + ${4 * q}u);`)
  return [
    `${before} ${loads.join(' ')}`,
    (n) => `${name}_q${Number.parseInt(n, 10) >> 2}[${Number.parseInt(n, 10) & 3}]`,
  ]
}

/** The sequences of a scan that the directions of a path may share. */
type Sequence = 'u' | 'delta' | 'z' | 'g'

export interface WalkFlags {
  readonly softplus: number
  readonly reverse: number
  readonly byStep: number
  readonly path: boolean
  readonly resets: boolean
  readonly deltaBias: boolean
  /** Has the path two axes? */
  readonly directions: boolean
  readonly shared: readonly Sequence[]
  /** Steps of a window of the locally bidirectional scan; 0 where there are none. */
  readonly window: number
}

/** Sizes of a scan: `L` steps of each of K directions with `own` of the `channels`, over a map of `positions`. */
export interface WalkSizes {
  readonly batch: number
  readonly L: number
  readonly positions: number
  readonly channels: number
  readonly directions: number
  readonly own: number
  readonly N: number
}

interface WalkOperands {
  readonly u: Operand
  readonly delta: Operand
  readonly A: Operand
  readonly z?: Operand | null
  readonly deltaBias?: Operand | null
  readonly resets?: Operand | null
  readonly path?: Operand | null
  readonly gradOut?: Operand
}

export function walkOf(
  { u, delta, A, z, deltaBias, resets, path, gradOut }: WalkOperands,
  numbers: { readonly softplus: number; readonly reverse: number; readonly byStep: number; readonly window: number },
): { flags: WalkFlags; sizes: WalkSizes } {
  const [batch, positions] = u.shape
  const [channels, N] = A.shape
  const directions = path?.shape.length === 2 ? path.shape[0] : 1
  const L = path ? path.shape[path.shape.length - 1] : positions
  const own = channels / directions
  const widths = { u, delta, z, g: gradOut }
  const shared = directions > 1 ? (['u', 'delta', 'z', 'g'] as const).filter((x) => widths[x]?.shape[2] === own) : []
  const { softplus, reverse, byStep, window } = numbers
  return {
    flags: {
      ...{ softplus, reverse, byStep, shared, window: window > 1 ? window : 0 },
      ...{ path: !!path, resets: !!resets, deltaBias: !!deltaBias, directions: directions > 1 },
    },
    sizes: { batch, L, positions, channels, directions, own, N },
  }
}

/** Uniforms of the walk. */
export const walkFields = ({ L, channels, own }: WalkSizes) => ({ L, channels, own })

/** The channel of a sequence that channel `d` of the scan reads. */
export const channelText = ({ shared }: WalkFlags, name: Sequence, d = 'd') =>
  shared.includes(name) ? `(${d}) % args.own` : d

const stepText = ({ reverse }: WalkFlags, s: string) => (reverse ? `(args.L - 1u - (${s}))` : `(${s})`)
/** Where step `s` of the walk works, and where its delta, B and C lie; `d` is a channel of its direction. */
export function placeText(flags: WalkFlags, s: string, d = 'd'): string {
  const step = stepText(flags, s)
  const place = flags.directions ? `(${d}) / args.own * args.path_s0 + ${step}` : step
  return flags.path ? `u32(path_get(${place}))` : step
}
export const rowText = (flags: WalkFlags, s: string, d = 'd') =>
  flags.byStep ? stepText(flags, s) : placeText(flags, s, d)

/** `p`, `row` and `isReset` of the step `s`. */
export const positionText = (flags: WalkFlags) =>
  `let p = ${placeText(flags, 's')}; let row = ${flags.byStep ? rowText(flags, 's') : 'p'};${
    flags.resets ? ' let isReset = resets_get(b * args.resets_s0 + p) != 0;' : ''
  }`

/** Element of a sequence at the step at hand. */
export const sequenceText = (flags: WalkFlags, name: Exclude<Sequence, 'delta'>) =>
  `${name}_get(b * args.${name}_s0 + p * args.${name}_s1 + ${channelText(flags, name)})`

/** `dt` of the step at hand, and its value before softplus. */
export function stepSizeText(flags: WalkFlags): string {
  const delta = `delta_get(b * args.delta_s0 + row * args.delta_s1 + ${channelText(flags, 'delta')})`
  return `let raw = ${delta}${flags.deltaBias ? ' + bias' : ''};
    let dt = ${flags.softplus ? 'softplus(raw)' : 'raw'};`
}

export const flagKey = ({
  softplus,
  reverse,
  byStep,
  path,
  resets,
  deltaBias,
  directions,
  shared,
  window,
}: WalkFlags) =>
  `${softplus}${reverse}${byStep}${+path}${+resets}${+deltaBias}${+directions}${shared.join('')}${window}`

/** What kernels write for each direction and is then summed over the directions, and 0 where no direction comes. */
export interface PerDirection {
  /** (B, positions, K x own): where kernels write. */
  readonly into: Operand
  /** Sums what was written, where there is something to sum. */
  finish(): void
}

/**
 * A place for results of every direction whose `target` (along `axis` 2) has room for one or for all. `visited` says
 * whether every row of it is written.
 */
export function perDirection(
  launcher: Launcher,
  target: Operand,
  directions: number,
  all: number,
  visited: boolean,
): PerDirection {
  const own = all / directions
  const sums = directions > 1 && target.shape[2] === own
  const shape = [target.shape[0], target.shape[1], all, ...target.shape.slice(3)]
  const into = sums ? launcher.scratch('float32', shape) : target
  if (!visited) elementwise(launcher, { label: 'zero', bindings: { out: write(into) }, text: 'out = 0.0;' })
  return {
    into,
    finish() {
      if (!sums) return
      const parts = range(directions).map(
        (k): Operand => ({
          ...into,
          offset: into.offset + k * own * contiguousStrides(shape)[2],
          shape: target.shape,
        }),
      )
      elementwise(launcher, {
        label: `sum.${directions}`,
        bindings: { ...Object.fromEntries(parts.map((part, k) => [`x${k}`, read(part)])), out: write(target) },
        text: `out = ${parts.map((_, k) => `x${k}`).join(' + ')};`,
      })
    },
  }
}

/** Reports a place outside the map. */
export function checkPath(launcher: Launcher, path: Operand, positions: number, kernel: number): void {
  const bindings = { path: read(path), errors: launcher.errors }
  const count = path.shape.reduce((a, b) => a * b, 1)
  const steps = path.shape[path.shape.length - 1]
  launcher.dispatch({
    label: 'scan.path',
    bindings,
    integers: { count, steps, row: path.strides[0], kernel, positions },
    code: () => `${linearEntry(64)}
  let item = group * 64u + lane;
  if (item >= args.count) { return; }
  let p = path_get(item / args.steps * args.row + item % args.steps);
  if (u32(p) >= args.positions) { reportIndex(args.kernel, p, args.positions); }
}`,
    workgroups: linearGrid(ceilDiv(count, 64)),
  })
}
