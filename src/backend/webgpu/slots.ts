// Assigns the operands of a dispatch to storage bindings. A buffer is bound once however many operands lie in it
// (WebGPU forbids a second, writable binding of the same memory); where a device has fewer bindings than a kernel has
// buffers, the smallest ranges are gathered in one arena, by copies before and after the dispatch.
import { DeviceError } from '../../errors.js'
import { bytesPerElement, type Operand } from '../types.js'
import { WebGpuBuffer } from './pool.js'
import { type Binding, type Dispatch, type Place, type Slot, slotKind } from './program.js'

interface Range {
  readonly buffer: WebGpuBuffer
  readonly names: string[]
  start: number
  end: number
  writable: boolean
  movable: boolean
}

export interface Assignment {
  readonly slots: readonly Slot[]
  readonly places: readonly Place[]
  /** Offset of each place in elements, from the start of its slot's window. */
  readonly offsets: readonly number[]
}

export interface ArenaCopy {
  readonly buffer: WebGpuBuffer
  readonly start: number
  readonly arenaStart: number
  readonly bytes: number
  readonly writeBack: boolean
}

/** The buffer of an operand, checked to be a live one of this device. */
export function bufferOf(operand: Operand): WebGpuBuffer {
  const { buffer } = operand
  if (!(buffer instanceof WebGpuBuffer)) {
    throw new DeviceError('webgpu: an operand lies on another device; move it with .to("webgpu") first')
  }
  if (!buffer.live) throw new DeviceError('webgpu: an operand was released before it was used')
  return buffer
}

function byteRange(operand: Operand): [number, number] {
  const step = bytesPerElement[operand.dtype]
  // Strides are negative where a kernel walks an axis from its end.
  const reach = operand.shape.map((extent, axis) => (extent - 1) * operand.strides[axis])
  const first = reach.reduce((sum, far) => sum + Math.min(0, far), operand.offset)
  const last = reach.reduce((sum, far) => sum + Math.max(0, far), operand.offset)
  return [first * step, (last + 1) * step]
}

function rangesOf(bindings: Dispatch['bindings']): Range[] {
  const ranges: Range[] = []
  for (const name in bindings) {
    const { operand, access } = bindings[name]
    const buffer = bufferOf(operand)
    const [start, end] = byteRange(operand)
    const writable = access !== 'r'
    const range = ranges.find((r) => r.buffer.memory === buffer.memory)
    if (range) {
      range.names.push(name)
      range.start = Math.min(range.start, start)
      range.end = Math.max(range.end, end)
      range.writable ||= writable
      range.movable &&= access !== 'errors'
    } else ranges.push({ buffer, names: [name], start, end, writable, movable: access !== 'errors' })
  }
  return ranges
}

/** Slots in the order of first use. A buffer larger than a binding may be is bound by the part that is used. */
export function assignSlots(dispatch: Dispatch, maxBindingBytes: number, nativeF16: boolean): Assignment {
  const ranges = rangesOf(dispatch.bindings)
  const slots = ranges.map(({ buffer, names, start, end, writable }): Slot => {
    const { size } = buffer.memory
    const whole = size <= maxBindingBytes
    const windowStart = whole ? 0 : Math.floor(start / 256) * 256
    const bytes = whole ? size : Math.ceil((end - windowStart) / 16) * 16
    if (bytes > maxBindingBytes) {
      throw new DeviceError(
        `webgpu: ${dispatch.label} needs ${bytes} bytes in one binding, this device allows ${maxBindingBytes}; use smaller batches`,
      )
    }
    const kind = slotKind(
      names.map((name) => dispatch.bindings[name]),
      nativeF16,
    )
    return { buffer, writable, start: windowStart, bytes, kind }
  })
  const places = Object.entries(dispatch.bindings).map(([name, binding]): Place => {
    return { name, binding, slot: ranges.findIndex((r) => r.names.includes(name)) }
  })
  const offsets = places.map(
    ({ binding, slot }) => binding.operand.offset - slots[slot].start / bytesPerElement[binding.operand.dtype],
  )
  return { slots, places, offsets }
}

/** Where a dispatch uses more buffers than there are bindings: the same dispatch over an arena, and the copies around it. */
export function gatherInArena(
  dispatch: Dispatch,
  maxBindings: number,
  allocate: (bytes: number) => WebGpuBuffer,
): { dispatch: Dispatch; arena: WebGpuBuffer; copies: ArenaCopy[] } | null {
  const names = Object.keys(dispatch.bindings)
  if (names.length <= maxBindings) return null
  const ranges = rangesOf(dispatch.bindings)
  const excess = ranges.length - maxBindings
  if (excess <= 0) return null
  const moved = ranges
    .filter((range) => range.movable)
    .sort((a, b) => a.end - a.start - (b.end - b.start))
    .slice(0, excess + 1)
  let total = 0
  const copies = moved.map((range): ArenaCopy => {
    const start = Math.floor(range.start / 16) * 16
    const bytes = Math.max(16, Math.ceil((range.end - start) / 16) * 16)
    const arenaStart = total
    total += bytes
    return { buffer: range.buffer, start, arenaStart, bytes, writeBack: range.writable }
  })
  const arena = allocate(total)
  const bindings = { ...dispatch.bindings }
  moved.forEach((range, index) => {
    const { start, arenaStart } = copies[index]
    for (const name of range.names) {
      const { operand, access, wide } = bindings[name]
      const offset = operand.offset + (arenaStart - start) / bytesPerElement[operand.dtype]
      bindings[name] = { operand: { ...operand, buffer: arena, offset }, access, wide } satisfies Binding
    }
  })
  return { dispatch: { ...dispatch, bindings }, arena, copies }
}
