// The generator behind every kernel that works element by element: strided operands, collapsed to as few axes as their
// strides allow, one element an invocation or four where every last axis is aligned.
import type { Operand } from '../types.js'
import { alignedByFour, ceilDiv, type Launcher, linearEntry, linearGrid, size } from './launcher.js'
import { type Binding, valueType } from './program.js'

export interface Elementwise {
  /** Names the text below. */
  readonly label: string
  /** Operands of one shape, or broadcast to it by strides of 0. */
  readonly bindings: Readonly<Record<string, Binding>>
  /** Statements over scalars named like the operands; written ones are assigned. `index` is the linear element index. */
  readonly text: string
  readonly declarations?: string
  /** Statements that run once for four elements (or for one), before `text`; `index` is that of the first element, lane 0..3. */
  readonly once?: string
  readonly integers?: Readonly<Record<string, number>>
  readonly floats?: Readonly<Record<string, number>>
}

interface Axes {
  readonly shape: number[]
  readonly strides: number[][]
}

/** Merges neighbouring axes that every operand walks as one. */
export function collapse(operands: readonly Operand[]): Axes {
  const shape: number[] = []
  const strides: number[][] = operands.map(() => [])
  operands[0].shape.forEach((extent, axis) => {
    if (extent === 1) return
    const last = shape.length - 1
    const merges = last >= 0 && operands.every((o, k) => strides[k][last] === o.strides[axis] * extent)
    if (merges) {
      shape[last] *= extent
      for (let k = 0; k < operands.length; k++) strides[k][last] = operands[k].strides[axis]
    } else {
      shape.push(extent)
      operands.forEach((o, k) => {
        strides[k].push(o.strides[axis])
      })
    }
  })
  if (shape.length === 0) return { shape: [1], strides: operands.map(() => [0]) }
  return { shape, strides }
}

const invocations = 64

export function elementwise(launcher: Launcher, work: Elementwise): void {
  const names = Object.keys(work.bindings)
  const operands = names.map((name) => work.bindings[name].operand)
  const { shape, strides } = collapse(operands)
  const rank = shape.length
  const last = rank - 1
  const wide =
    shape[last] % 4 === 0 &&
    operands.every((o, k) => strides[k][last] === 0 || alignedByFour({ ...o, shape, strides: strides[k] }))
  const splat = names.map((name, k) => wide && strides[k][last] === 0 && work.bindings[name].access === 'r')
  const bindings = Object.fromEntries(
    names.map((name, k) => [name, { ...work.bindings[name], wide: wide && !splat[k] }]),
  )
  const counts = wide ? shape.map((extent, axis) => (axis === last ? extent / 4 : extent)) : shape
  const integers: Record<string, number> = { ...work.integers, count: size(counts) }
  for (let axis = 1; axis < rank; axis++) integers[`n${axis}`] = counts[axis]
  names.forEach((name, k) => {
    strides[k].forEach((stride, axis) => {
      integers[`${name}_s${axis}`] = wide && axis === last ? stride * 4 : stride
    })
  })
  launcher.dispatch({
    label: `${work.label}/${rank}${wide ? 'w' : ''}${splat.map((s) => (s ? 1 : 0)).join('')}`,
    bindings,
    integers,
    floats: work.floats,
    code: () => moduleOf(work, bindings, splat, rank, wide),
    workgroups: linearGrid(ceilDiv(integers.count, invocations)),
  })
}

function moduleOf(
  work: Elementwise,
  bindings: Readonly<Record<string, Binding>>,
  splat: readonly boolean[],
  rank: number,
  wide: boolean,
): string {
  const entries = Object.entries(bindings)
  const position: string[] = ['var rest = item;']
  for (let axis = rank - 1; axis > 0; axis--) {
    position.push(`let c${axis} = rest % args.n${axis}; rest = rest / args.n${axis};`)
  }
  position.push('let c0 = rest;')
  for (const [name] of entries) {
    const sum = Array.from({ length: rank }, (_, axis) => `c${axis} * args.${name}_s${axis}`).join(' + ')
    position.push(`let ${name}_i = ${sum};`)
  }
  const type = (b: Binding) => valueType(b.operand.dtype)
  const body: string[] = []
  if (wide) {
    entries.forEach(([name, b], k) => {
      if (splat[k]) body.push(`let ${name}_4 = vec4<${type(b)}>(${name}_get(${name}_i));`)
      else if (b.access === 'w') body.push(`var ${name}_4: vec4<${type(b)}>;`)
      else body.push(`var ${name}_4 = ${name}_get4(${name}_i);`)
    })
    body.push(work.once ? `let first = item * 4u; ${work.once}` : '')
    for (let lane = 0; lane < 4; lane++) {
      body.push(`{ let index = item * 4u + ${lane}u;`)
      for (const [name, b] of entries) {
        body.push(b.access === 'w' ? `var ${name}: ${type(b)};` : `var ${name} = ${name}_4[${lane}];`)
      }
      body.push(work.text)
      for (const [name, b] of entries) if (b.access !== 'r') body.push(`${name}_4[${lane}] = ${name};`)
      body.push('}')
    }
    for (const [name, b] of entries) if (b.access !== 'r') body.push(`${name}_set4(${name}_i, ${name}_4);`)
  } else {
    body.push('let index = item;', work.once ? `let first = item & ~3u; ${work.once}` : '')
    for (const [name, b] of entries) {
      body.push(b.access === 'w' ? `var ${name}: ${type(b)};` : `var ${name} = ${name}_get(${name}_i);`)
    }
    body.push(work.text)
    for (const [name, b] of entries) if (b.access !== 'r') body.push(`${name}_set(${name}_i, ${name});`)
  }
  return `${work.declarations ?? ''}
${linearEntry(invocations)}
  let item = group * ${invocations}u + lane;
  if (item >= args.count) { return; }
  ${position.join('\n  ')}
  ${body.join('\n  ')}
}`
}
