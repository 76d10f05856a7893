// The numbers of dispatches (offsets, shapes, constants) in one uniform buffer, addressed by a dynamic offset. The host
// copy of a batch is uploaded right before the batch is submitted, which the queue orders after all earlier work.
import { usage } from './pool.js'

/** What the numbers of a dispatch take, a multiple of every alignment that a device may ask for. */
export const blockBytes = 512

export class ParameterRing {
  readonly layout: GPUBindGroupLayout
  readonly group: GPUBindGroup
  private readonly buffer: GPUBuffer
  private readonly host: Uint32Array<ArrayBuffer>
  private used = 0

  /** `batchSize` is the most dispatches between two uploads. */
  constructor(
    private readonly device: GPUDevice,
    batchSize: number,
  ) {
    this.host = new Uint32Array((blockBytes / 4) * batchSize)
    const buffer = { type: 'uniform', hasDynamicOffset: true, minBindingSize: blockBytes } as const
    this.layout = device.createBindGroupLayout({ entries: [{ binding: 0, visibility: 4, buffer }] })
    this.buffer = device.createBuffer({ size: this.host.byteLength, usage: usage.uniform | usage.copyTarget })
    this.group = this.groupOf(this.buffer)
  }

  /** Adds the numbers of one dispatch and returns their byte offset. */
  append(values: Uint32Array): number {
    if (values.byteLength > blockBytes) throw new RangeError(`a dispatch has ${values.length} numbers, at most 128 fit`)
    const offset = this.used++ * blockBytes
    this.host.set(values, offset / 4)
    return offset
  }

  upload(): void {
    if (this.used === 0) return
    this.device.queue.writeBuffer(this.buffer, 0, this.host, 0, (this.used * blockBytes) / 4)
    this.used = 0
  }

  /** A buffer of its own for the numbers of a capture, a block each. */
  freeze(parameters: readonly Uint32Array[]): GPUBuffer {
    const buffer = this.device.createBuffer({
      size: Math.max(1, parameters.length) * blockBytes,
      usage: usage.uniform,
      mappedAtCreation: true,
    })
    const host = new Uint32Array(buffer.getMappedRange())
    for (const [i, values] of parameters.entries()) host.set(values, (i * blockBytes) / 4)
    buffer.unmap()
    return buffer
  }

  private groupOf(buffer: GPUBuffer): GPUBindGroup {
    return this.device.createBindGroup({
      layout: this.layout,
      entries: [{ binding: 0, resource: { buffer, size: blockBytes } }],
    })
  }
}

/** The numbers of a dispatch in the order of its `Args`: offsets of operands, integers, floats. */
export function parameterWords(
  offsets: readonly number[],
  integers: Readonly<Record<string, number>>,
  floats: Readonly<Record<string, number>>,
): Uint32Array {
  const values: number[] = [...offsets]
  for (const name in integers) values.push(integers[name])
  const result = new Uint32Array(values.length + Object.keys(floats).length)
  result.set(values)
  new Float32Array(result.buffer, values.length * 4).set(Object.values(floats))
  return result
}
