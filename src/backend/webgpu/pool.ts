// Device memory: buffers by size class. A released buffer is handed out again at once, because the queue runs in
// order. Buffers allocated while a capture records come from that capture's own pool and stay with it.
import { DeviceError } from '../../errors.js'
import type { DeviceBuffer, MemoryUse } from '../types.js'

// GPUBufferUsage and GPUMapMode are globals in browsers only.
export const usage = { mapRead: 0x1, copySource: 0x4, copyTarget: 0x8, uniform: 0x40, storage: 0x80 } as const
export const mapRead = 0x1

/** A GPUBuffer that outlives the tensors it serves. `id` names it in the cache of bind groups. */
interface Memory {
  readonly id: number
  readonly size: number
  readonly gpu: GPUBuffer
}

/** What a tensor holds: `bytes` of a memory, until released. */
export class WebGpuBuffer implements DeviceBuffer {
  live = true
  constructor(
    readonly bytes: number,
    readonly memory: Memory,
    readonly owner: SparePool,
  ) {}
}

/** Spare memories of one owner (the backend, or a capture). */
export class SparePool {
  readonly spare = new Map<number, Memory[]>()
  /** Who gets memories that are released after the owner is gone. */
  heir: SparePool | null = null
}

/** Multiples of 256 bytes; above 2 KiB eight classes an octave, so that at most an eighth is wasted. */
export function sizeClass(bytes: number): number {
  const step = Math.max(256, 2 ** (Math.floor(Math.log2(Math.max(bytes, 1))) - 3))
  return Math.max(step, Math.ceil(bytes / step) * step)
}

export class BufferPool {
  readonly main = new SparePool()
  /** Where allocations come from now. */
  current: SparePool = this.main
  private nextId = 0
  private inUse = 0
  private reserved = 0
  /** The most bytes in use since spare memories were last given up. */
  private peak = 0

  constructor(
    private readonly device: GPUDevice,
    private readonly beforeDestroy: () => void,
  ) {}

  allocate(bytes: number): WebGpuBuffer {
    const size = sizeClass(bytes)
    const memory = this.current.spare.get(size)?.pop() ?? this.create(size)
    this.inUse += bytes
    this.peak = Math.max(this.peak, this.inUse)
    return new WebGpuBuffer(bytes, memory, this.current)
  }

  release(buffer: DeviceBuffer): void {
    if (!(buffer instanceof WebGpuBuffer)) throw new DeviceError('webgpu: cannot release a buffer of another device')
    if (!buffer.live) throw new DeviceError('webgpu: this buffer was released before; release it once')
    buffer.live = false
    this.inUse -= buffer.bytes
    put(buffer.owner.heir ?? buffer.owner, buffer.memory)
  }

  /** Gives the memories of a disposed capture to the main pool; buffers still live follow when they are released. */
  absorb(pool: SparePool): void {
    for (const memories of pool.spare.values()) for (const memory of memories) put(this.main, memory)
    pool.spare.clear()
    pool.heir = this.main
  }

  memory(): MemoryUse {
    return { inUse: this.inUse, reserved: this.reserved }
  }

  destroy(): void {
    for (const memories of this.main.spare.values()) for (const memory of memories) memory.gpu.destroy()
    this.main.spare.clear()
  }

  private create(size: number): Memory {
    const { maxBufferSize } = this.device.limits
    if (size > maxBufferSize) {
      throw new DeviceError(
        `webgpu: a tensor of ${size} bytes exceeds this device's largest buffer, ${maxBufferSize} bytes; use smaller batches`,
      )
    }
    // Shapes that are gone for good must not hold memory for ever; what a step will want again stays.
    if (this.reserved + size > 1.25 * this.peak + 2 ** 29) {
      this.trim()
      this.peak = this.inUse
    }
    this.reserved += size
    const gpu = this.device.createBuffer({ size, usage: usage.storage | usage.copySource | usage.copyTarget })
    return { id: this.nextId++, size, gpu }
  }

  private trim(): void {
    this.beforeDestroy()
    for (const memories of this.main.spare.values()) {
      for (const memory of memories) {
        this.reserved -= memory.size
        memory.gpu.destroy()
      }
    }
    this.main.spare.clear()
  }
}

function put(pool: SparePool, memory: Memory): void {
  const spare = pool.spare.get(memory.size)
  if (spare) spare.push(memory)
  else pool.spare.set(memory.size, [memory])
}
