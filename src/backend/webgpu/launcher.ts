// What a kernel's encoder may use: dispatches, scratch memory, and the geometry that most kernels share.
import type { KernelName, NumbersOf, OperandsOf } from '../kernels.js'
import type { Dtype, Operand } from '../types.js'
import type { Tile } from './gemmText.wgsl.js'
import type { Binding, Dispatch } from './program.js'

export interface Launcher {
  dispatch(dispatch: Dispatch): void
  /** A contiguous tensor that lives until the encoder returns; its contents are arbitrary. */
  scratch(dtype: Dtype, shape: readonly number[]): Operand
  /** Constant words, uploaded once for each key and kept. */
  constants(key: string, words: () => Uint32Array): Operand
  /** The device's error words, for kernels that check indices. */
  readonly errors: Binding
  readonly traits: DeviceTraits
}

/** A tile of GEMM, how fast its inner loop is as a part of the fastest, and how many workgroups of it a core runs at a time. */
export interface TileChoice extends Tile {
  readonly speed: number
  readonly perCore: number
}

/** What suits a device, as far as kernels differ by it. */
export interface DeviceTraits {
  /** Invocations that fill the device; below it kernels split their work further. */
  readonly fillingInvocations: number
  /** States of a scan that are named variables in the text; a software adapter compiles loops faster and runs them as fast. */
  readonly unrolledStates: number
  /** May a workgroup share a row? Not where barriers are emulated: there an invocation takes a row alone. */
  readonly cheapBarriers: boolean
  /** How 32 neighbouring invocations exchange values: by a subgroup, by barriers (to test such kernels), or not at all. */
  readonly exchange: 'subgroup' | 'barriers' | 'none'
  /** Has it matrix units for float16 that sum in float32, by 16 x 16 x 16? */
  readonly matrices: boolean
  /** The tiles that GEMM may choose from, for whom tries others. */
  readonly tuning?: { readonly tiles?: readonly TileChoice[]; readonly matrixTiles?: readonly TileChoice[] }
  /** Bytes that a storage binding may have. */
  readonly bindingBytes: number
  /** Workgroup memory that a kernel may use, in bytes. */
  readonly workgroupBytes: number
}

export type Encoder<K extends KernelName> = (launcher: Launcher, operands: OperandsOf<K>, numbers: NumbersOf<K>) => void
export type Encoders = { readonly [K in KernelName]?: Encoder<K> }

export const read = (operand: Operand, wide: Binding['wide'] = false): Binding => ({ operand, access: 'r', wide })
export const write = (operand: Operand, wide = false): Binding => ({ operand, access: 'w', wide })
export const update = (operand: Operand, wide = false): Binding => ({ operand, access: 'rw', wide })

/** A binding for each operand that is there. */
export function present(bindings: Record<string, Binding | null | undefined | false>): Record<string, Binding> {
  return Object.fromEntries(Object.entries(bindings).filter(([, b]) => b)) as Record<string, Binding>
}

export const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1)
export const ceilDiv = (a: number, b: number) => Math.ceil(a / b)

/** The same memory seen as `shape` with contiguous strides; the operand must be contiguous. */
export function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length)
  for (let i = shape.length - 1, step = 1; i >= 0; i--) {
    strides[i] = step
    step *= shape[i]
  }
  return strides
}

/** A part of an operand that starts `elements` further on. */
export function shifted(operand: Operand, elements: number, shape: readonly number[]): Operand {
  return { ...operand, offset: operand.offset + elements, shape, strides: contiguousStrides(shape) }
}

/** May the last axis be read by `count` elements at a time, in every row? */
export function alignedBy(count: number, operand: Operand): boolean {
  const last = operand.shape.length - 1
  return (
    operand.offset % count === 0 &&
    operand.strides[last] === 1 &&
    operand.strides.every((stride, axis) => axis === last || stride % count === 0)
  )
}

export const alignedByFour = (operand: Operand) => alignedBy(4, operand)

/** A grid of `count` workgroups in the first two dimensions; `groupIndex` in WGSL gives the linear index. */
export function linearGrid(count: number): [number, number, number] {
  const x = Math.min(count, 65535)
  return [x, count === 0 ? 0 : ceilDiv(count, x), 1]
}

/** Dispatches a grid whose third dimension may exceed what a device takes; `args.z_first` is added to `wid.z`. */
export function dispatchLayers(launcher: Launcher, dispatch: Dispatch): void {
  const [x, y, layers] = dispatch.workgroups
  for (let first = 0; first < layers; first += 65535) {
    const integers = { ...dispatch.integers, z_first: first }
    launcher.dispatch({ ...dispatch, integers, workgroups: [x, y, Math.min(65535, layers - first)] })
  }
}

/** Entry parameters and the linear index of the workgroup, for code that uses `linearGrid`. */
export const linearEntry = (invocations: number) =>
  `@compute @workgroup_size(${invocations}) fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let group = wid.x + wid.y * grid.x;`

/** Integer fields `name_s0`, `name_s1`, ... for the strides of all axes but the dense last one. */
export function strideFields(bindings: Readonly<Record<string, Binding>>): Record<string, number> {
  const fields: Record<string, number> = {}
  for (const name in bindings) {
    const { operand, access } = bindings[name]
    if (access === 'errors') continue
    for (let axis = 0; axis < operand.shape.length - 1; axis++) fields[`${name}_s${axis}`] = operand.strides[axis]
  }
  return fields
}

/** Loops written out by the host. */
export const range = (count: number) => Array.from({ length: count }, (_, i) => i)
