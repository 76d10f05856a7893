// WGSL that the passes of the selective scan share: loops over the states, the walk over positions, the step size.
import type { Operand } from '../types.js'
import { alignedByFour, range } from './launcher.js'
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

/** Statements before a state loop, and the expression of element n inside it. */
export function projectionText(
  name: 'B' | 'C',
  { operand, wide }: Binding,
  N: number,
  unrolled: number,
): [string, (n: string) => string] {
  const base = isFixed(operand)
    ? `d * args.${name}_s0`
    : `b * args.${name}_s0 + p * args.${name}_s1 + d * args.${name}_groups / args.channels * args.${name}_s2`
  const before = `let ${name}_0 = ${base};`
  if (!wide || N > unrolled) return [before, (n) => `${name}_get(${name}_0 + ${n})`]
  const loads = range(N / 4).map((q) => `let ${name}_q${q} = ${name}_get4(${name}_0 + ${4 * q}u);`)
  return [
    `${before} ${loads.join(' ')}`,
    (n) => `${name}_q${Number.parseInt(n, 10) >> 2}[${Number.parseInt(n, 10) & 3}]`,
  ]
}

export interface WalkFlags {
  readonly softplus: number
  readonly reverse: number
  readonly path: boolean
  readonly resets: boolean
  readonly deltaBias: boolean
}

/** `p` and `isReset` of the step `s`. */
export function positionText({ reverse, path, resets }: WalkFlags): string {
  const step = reverse ? 'args.L - 1u - s' : 's'
  return `let p = ${path ? `u32(path_get(${step}))` : step};${resets ? ' let isReset = resets_get(b * args.resets_s0 + p) != 0;' : ''}`
}

/** `dt` of the position `p`, and its value before softplus. */
export function stepSizeText({ softplus, deltaBias }: WalkFlags): string {
  return `let raw = delta_get(b * args.delta_s0 + p * args.delta_s1 + d)${deltaBias ? ' + bias' : ''};
    let dt = ${softplus ? 'softplus(raw)' : 'raw'};`
}

export const flagKey = (flags: WalkFlags) =>
  `${flags.softplus}${flags.reverse}${+flags.path}${+flags.resets}${+flags.deltaBias}`
