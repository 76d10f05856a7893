// Turns a dispatch (named operands, numbers, WGSL text) into a shader module. Operands in one buffer share a binding, so
// that any of them may be written; each operand gets accessors that hide its dtype:
//   x_get(i), x_set(i, v)    element i of operand x; floats as f32, integers and bool as i32
//   x_get4(i), x_set4(i, v)  elements i..i+3 where the operand was bound `wide` (offset and i multiples of 4)
//   x_get8(i)                the bits of float16 elements i..i+7 where it was bound by eights (multiples of 8)
// One- and two-byte elements live in u32 words. A wide store writes whole words; a single store exchanges its own bits
// by an atomic xor, which leaves the neighbours' bits to their writers.
import type { Dtype, Operand } from '../types.js'
import type { WebGpuBuffer } from './pool.js'

export interface Binding {
  readonly operand: Operand
  readonly access: 'r' | 'w' | 'rw' | 'errors'
  /** Elements are read and written by fours; or read by eights, as bits, which only float16 is, and a whole buffer. */
  readonly wide?: boolean | 'eights'
}

export interface Dispatch {
  /** Names the code: equal labels have equal `code` and number names. */
  readonly label: string
  readonly bindings: Readonly<Record<string, Binding>>
  /** u32 fields of `args`. */
  readonly integers: Readonly<Record<string, number>>
  /** f32 fields of `args`. */
  readonly floats?: Readonly<Record<string, number>>
  /** Does the code use subgroup functions? */
  readonly subgroups?: boolean
  /** Does it use subgroup matrices of float16? */
  readonly matrices?: boolean
  /** Declarations and the entry point `main`. */
  readonly code: () => string
  readonly workgroups: readonly [number, number, number]
}

/** A buffer as a shader binds it: `start` is the byte offset of the bound window. */
export interface Slot {
  readonly buffer: WebGpuBuffer
  readonly writable: boolean
  readonly start: number
  readonly bytes: number
  kind: SlotKind
}

type SlotKind =
  | 'f32'
  | 'i32'
  | 'f16'
  | 'u32'
  | 'atomic<u32>'
  | 'vec4<f32>'
  | 'vec4<i32>'
  | 'vec4<f16>'
  | 'vec2<u32>'
  | 'vec4<u32>'

/** The place of an operand: its slot, and its offset in elements from the slot's start. */
export interface Place {
  readonly name: string
  readonly binding: Binding
  readonly slot: number
}

const narrow = (dtype: Dtype) => dtype !== 'float32' && dtype !== 'int32'
export const isFloat = (dtype: Dtype) => dtype === 'float32' || dtype === 'float16' || dtype === 'bfloat16'
/** The WGSL type that accessors of a dtype speak. */
export const valueType = (dtype: Dtype) => (isFloat(dtype) ? 'f32' : 'i32')

/** The WGSL element type of a slot that holds these bindings. */
export function slotKind(bindings: readonly Binding[], nativeF16: boolean): SlotKind {
  if (bindings.some((b) => b.access === 'errors')) return 'atomic<u32>'
  if (bindings.some((b) => b.wide === 'eights')) return 'vec4<u32>'
  const { dtype } = bindings[0].operand
  const same = bindings.every((b) => b.operand.dtype === dtype)
  const wide = same && bindings.every((b) => b.wide)
  if (same && dtype === 'float32') return wide ? 'vec4<f32>' : 'f32'
  if (same && dtype === 'int32') return wide ? 'vec4<i32>' : 'i32'
  if (same && dtype === 'float16' && nativeF16) return wide ? 'vec4<f16>' : 'f16'
  if (wide) return dtype === 'float16' || dtype === 'bfloat16' ? 'vec2<u32>' : 'u32'
  return bindings.some((b) => b.access !== 'r' && narrow(b.operand.dtype)) ? 'atomic<u32>' : 'u32'
}

// pack2x16float of what float16 cannot hold is arbitrary, so infinities and NaN are made by hand.
const f16BitsFunction = `fn f16Bits(v: f32) -> u32 {
  let size = bitcast<u32>(v) & 0x7fffffffu;
  let special = select(0x7c00u, 0x7e00u, size > 0x7f800000u) | ((bitcast<u32>(v) >> 16u) & 0x8000u);
  return select(pack2x16float(vec2<f32>(v, 0.0)) & 0xffffu, special, size >= 0x477ff000u);
}`

/**
 * The whole WGSL module of a dispatch. Numbers lie in group 0 and buffers in group 1; `joined` puts the numbers after
 * the buffers, all in group 0.
 */
export function moduleText(
  dispatch: Dispatch,
  places: readonly Place[],
  slots: readonly Slot[],
  groups: 'apart' | 'joined',
): string {
  const fields = [
    ...places.map(({ name }) => `${name}_at: u32`),
    ...Object.keys(dispatch.integers).map((name) => `${name}: u32`),
    ...Object.keys(dispatch.floats ?? {}).map((name) => `${name}: f32`),
  ]
  const usesF16 = dispatch.matrices || slots.some((slot) => slot.kind.includes('f16'))
  return [
    usesF16 ? 'enable f16;' : '',
    dispatch.subgroups ? 'enable subgroups;' : '',
    // Control flow around matrices depends on workgroups and numbers only.
    dispatch.matrices
      ? 'enable chromium_experimental_subgroup_matrix; diagnostic(off, chromium.subgroup_matrix_uniformity);'
      : '',
    `struct Args { ${fields.join(', ')} }`,
    `@group(0) @binding(${groups === 'joined' ? slots.length : 0}) var<uniform> args: Args;`,
    ...slots.map(
      ({ kind, writable }, i) =>
        `@group(${groups === 'joined' ? 0 : 1}) @binding(${i}) var<storage, ${writable ? 'read_write' : 'read'}> s${i}: array<${kind}>;`,
    ),
    f16BitsFunction,
    ...places.map((place) => accessors(place, slots[place.slot].kind)),
    dispatch.code(),
  ].join('\n')
}

function accessors({ name, binding, slot }: Place, kind: SlotKind): string {
  const s = `s${slot}`
  if (binding.access === 'errors') return reportFunction(s)
  const { dtype } = binding.operand
  if (kind === 'vec4<u32>') return `fn ${name}_get8(k: u32) -> vec4<u32> { return ${s}[(args.${name}_at + k) >> 3u]; }`
  const type = valueType(dtype)
  const head = `let i = args.${name}_at + k;`
  const text = [
    `fn ${name}_get(k: u32) -> ${type} { ${head} return ${elementText(dtype, kind, s)}; }`,
    `fn ${name}_get4(k: u32) -> vec4<${type}> { ${fourText(name, dtype, kind, s)} }`,
  ]
  if (binding.access === 'r') return text.join('\n')
  const isWide = kind.startsWith('vec') || (binding.wide && kind === 'u32' && narrow(dtype))
  if (!isWide) text.push(`fn ${name}_set(k: u32, v: ${type}) { ${head} ${storeText(dtype, kind, s)} }`)
  text.push(`fn ${name}_set4(k: u32, v: vec4<${type}>) { ${storeFourText(name, dtype, kind, s, !!isWide)} }`)
  return text.join('\n')
}

/** The first error of a queue wins; the host reads and clears it with the next download. */
function reportFunction(s: string): string {
  return `fn reportIndex(kernel: u32, index: i32, size: u32) {
  for (var tries = 0; tries < 8; tries++) {
    let old = atomicCompareExchangeWeak(&${s}[0], 0u, kernel);
    if (old.exchanged) { atomicStore(&${s}[1], bitcast<u32>(index)); atomicStore(&${s}[2], size); return; }
    if (old.old_value != 0u) { return; }
  }
}`
}

function elementText(dtype: Dtype, kind: SlotKind, s: string): string {
  if (kind === 'vec4<f16>') return `f32(${s}[i >> 2u][i & 3u])`
  if (kind === 'vec4<f32>' || kind === 'vec4<i32>') return `${s}[i >> 2u][i & 3u]`
  if (kind === 'f16') return `f32(${s}[i])`
  if (kind === 'f32' || kind === 'i32') return `${s}[i]`
  const word = (index: string) => (kind === 'atomic<u32>' ? `atomicLoad(&${s}[${index}])` : `${s}[${index}]`)
  const half = kind === 'vec2<u32>' ? `${s}[i >> 2u][(i >> 1u) & 1u]` : word('i >> 1u')
  switch (dtype) {
    case 'float32':
      return `bitcast<f32>(${word('i')})`
    case 'int32':
      return `bitcast<i32>(${word('i')})`
    case 'float16':
      return `unpack2x16float(${half})[i & 1u]`
    case 'bfloat16':
      return `bitcast<f32>((${half} << (16u * (1u - (i & 1u)))) & 0xffff0000u)`
    case 'int8':
      return `extractBits(bitcast<i32>(${word('i >> 2u')}), 8u * (i & 3u), 8u)`
    default:
      return `bitcast<i32>(extractBits(${word('i >> 2u')}, 8u * (i & 3u), 8u))`
  }
}

function fourText(name: string, dtype: Dtype, kind: SlotKind, s: string): string {
  const index = `let i = (args.${name}_at + k) >> 2u;`
  if (kind === 'vec4<f32>' || kind === 'vec4<i32>') return `${index} return ${s}[i];`
  if (kind === 'vec4<f16>') return `${index} return vec4<f32>(${s}[i]);`
  if (kind === 'vec2<u32>') {
    const pair =
      dtype === 'float16'
        ? 'vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y))'
        : 'bitcast<vec4<f32>>(vec4<u32>(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u))'
    return `${index} let w = ${s}[i]; return ${pair};`
  }
  return `return vec4<${valueType(dtype)}>(${[0, 1, 2, 3].map((j) => `${name}_get(k + ${j}u)`).join(', ')});`
}

const bf16Bits = (v: string) =>
  `select((bitcast<u32>(${v}) + 0x7fffu + ((bitcast<u32>(${v}) >> 16u) & 1u)) >> 16u, (bitcast<u32>(${v}) >> 16u) | 0x40u, (bitcast<u32>(${v}) & 0x7fffffffu) > 0x7f800000u)`
const f16Bits = (v: string) => `f16Bits(${v})`

function bitsOf(dtype: Dtype, v: string): string {
  if (dtype === 'float16') return f16Bits(v)
  if (dtype === 'bfloat16') return bf16Bits(v)
  if (dtype === 'bool') return `select(0u, 1u, ${v} != 0)`
  return `(bitcast<u32>(${v}) & 0xffu)`
}

function storeText(dtype: Dtype, kind: SlotKind, s: string): string {
  if (kind === 'f32' || kind === 'i32') return `${s}[i] = v;`
  if (kind === 'f16') return `${s}[i] = f16(v);`
  if (!narrow(dtype)) return kind === 'u32' ? `${s}[i] = bitcast<u32>(v);` : `atomicStore(&${s}[i], bitcast<u32>(v));`
  const [wordShift, lane, width, mask] =
    dtype === 'float16' || dtype === 'bfloat16' ? ['1u', '1u', '16u', '0xffffu'] : ['2u', '3u', '8u', '0xffu']
  return `let at = i >> ${wordShift}; let shift = ${width} * (i & ${lane}); let bits = ${bitsOf(dtype, 'v')} << shift;
  let old = atomicLoad(&${s}[at]) & (${mask} << shift); atomicXor(&${s}[at], old ^ bits);`
}

function storeFourText(name: string, dtype: Dtype, kind: SlotKind, s: string, isWide: boolean): string {
  if (!isWide) return [0, 1, 2, 3].map((j) => `${name}_set(k + ${j}u, v[${j}]);`).join(' ')
  const index = `let i = (args.${name}_at + k) >> 2u;`
  if (kind === 'vec4<f32>' || kind === 'vec4<i32>') return `${index} ${s}[i] = v;`
  if (kind === 'vec4<f16>') return `${index} ${s}[i] = vec4<f16>(v);`
  const bits = ['x', 'y', 'z', 'w'].map((lane) => bitsOf(dtype, `v.${lane}`))
  if (kind === 'vec2<u32>') {
    return `${index} ${s}[i] = vec2<u32>(${bits[0]} | (${bits[1]} << 16u), ${bits[2]} | (${bits[3]} << 16u));`
  }
  return `${index} ${s}[i] = ${bits.map((b, j) => `(${b} << ${8 * j}u)`).join(' | ')};`
}
