// The WebGPU queue: encodes dispatches into batched compute passes, moves bytes in and out in queue order, records and
// replays captures, and turns every asynchronous failure of the device into one error at the next wait.
import { DeviceError, IndexError, MissingKernelError } from '../../errors.js'
import { type KernelName, signatures } from '../kernels.js'
import type { Backend, Capture, DeviceBuffer, Dtype, MemoryUse, Operand, Operation } from '../types.js'
import { bytesPerElement } from '../types.js'
import { encoders } from './encoders.js'
import { kernelOfCode } from './errorCodes.js'
import { contiguousStrides, type DeviceTraits, type Encoder, type Launcher, size } from './launcher.js'
import { ParameterRing, parameterWords } from './parameters.js'
import { type BoundDispatch, Pipelines, type RecordedDispatch } from './pipelines.js'
import { BufferPool, mapRead, SparePool, usage, type WebGpuBuffer } from './pool.js'
import { type KernelTime, Profiler } from './profiler.js'
import type { Dispatch } from './program.js'
import { halves } from './slices.js'
import { assignSlots, bufferOf, gatherInArena } from './slots.js'

type Command =
  | {
      type: 'dispatch'
      pipeline: GPUComputePipeline
      group: GPUBindGroup
      offset: number
      grid: Dispatch['workgroups']
    }
  | BoundDispatch
  | { type: 'copy'; from: GPUBuffer; fromStart: number; to: GPUBuffer; toStart: number; bytes: number }

interface Recording {
  readonly commands: (Command | RecordedDispatch)[]
  readonly parameters: Uint32Array[]
  readonly pool: SparePool
}

/** Dispatches encoded before they are handed over unasked, so that the device works while the host encodes. */
const batchSize = 64
const errorBytes = 16

export class WebGpuBackend implements Backend {
  readonly device = 'webgpu'
  operationCount = 0
  /** Dispatches and submissions since the backend was opened. */
  dispatchCount = 0
  submissionCount = 0
  private profiler: Profiler | null = null
  /** While a profile by operation runs: who is shown each operation, and the kernel of the one being encoded. */
  private observer: ((operation: Operation) => void) | null = null
  private encoding: KernelName | null = null
  private readonly pool: BufferPool
  private readonly ring: ParameterRing
  private readonly pipelines: Pipelines
  private readonly constantBuffers = new Map<string, Operand>()
  private readonly staging: GPUBuffer[] = []
  private readonly errorWords: WebGpuBuffer
  private scratchBuffers: DeviceBuffer[] = []
  private encoder: GPUCommandEncoder | null = null
  private pass: GPUComputePassEncoder | null = null
  private pending = 0
  private recording: Recording | null = null
  private failure: DeviceError | null = null
  private closed = false
  private readonly launcher: Launcher
  private readonly nativeF16: boolean

  /** `instance` is kept because Dawn dies with the last reference to it. */
  constructor(
    readonly instance: GPU,
    private readonly gpu: GPUDevice,
    readonly description: string,
    private readonly maxBindings: number,
    traits: DeviceTraits,
  ) {
    this.nativeF16 = gpu.features.has('shader-f16')
    this.pool = new BufferPool(gpu, () => {
      this.flush()
      this.pipelines.forgetBuffers()
    })
    this.ring = new ParameterRing(gpu, batchSize)
    this.pipelines = new Pipelines(gpu, this.ring.layout)
    this.errorWords = this.pool.allocate(errorBytes)
    this.launcher = {
      dispatch: (dispatch) => this.dispatch(dispatch),
      scratch: (dtype, shape) => this.scratch(dtype, shape),
      constants: (key, words) => this.constants(key, words),
      errors: { operand: words(this.errorWords, errorBytes / 4), access: 'errors' },
      traits,
    }
    gpu.addEventListener('uncapturederror', (event) => {
      this.failure ??= new DeviceError(`webgpu: the device reported: ${event.error.message.split('\n')[0]}`)
      event.preventDefault()
    })
    gpu.lost.then(({ reason, message }) => {
      if (!this.closed)
        this.failure = new DeviceError(`webgpu: the device was lost (${reason || 'unknown'}): ${message}`)
    })
  }

  allocate(bytes: number): DeviceBuffer {
    return this.pool.allocate(bytes)
  }

  release(buffer: DeviceBuffer): void {
    this.pool.release(buffer)
  }

  memory(): MemoryUse {
    return this.pool.memory()
  }

  enqueue(operation: Operation): void {
    const parts = halves(operation, this.launcher.traits.bindingBytes, (dtype, shape) => this.dense(dtype, shape))
    if (!parts) {
      this.enqueueFitting(operation)
      return
    }
    for (const part of parts.operations) this.enqueue(part)
    for (const { buffer } of parts.scratch) this.pool.release(buffer)
  }

  private enqueueFitting({ kernel, operands, numbers }: Operation): void {
    const encode = encoders[kernel] as Encoder<KernelName> | undefined
    if (!encode) throw new MissingKernelError(kernel, this.device)
    const { operandNames, numberNames } = signatures[kernel]
    const named: Record<string, Operand | null> = {}
    for (let i = 0; i < operandNames.length; i++) named[operandNames[i]] = operands[i] ?? null
    const named2: Record<string, number> = {}
    for (let i = 0; i < numberNames.length; i++) named2[numberNames[i]] = numbers[i]
    this.operationCount++
    if (this.observer) {
      this.observer({ kernel, operands, numbers })
      this.encoding = kernel
    }
    try {
      encode(this.launcher, named as Parameters<typeof encode>[1], named2 as Parameters<typeof encode>[2])
    } finally {
      for (const buffer of this.scratchBuffers) this.pool.release(buffer)
      this.scratchBuffers = []
    }
  }

  upload(buffer: DeviceBuffer, byteOffset: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return
    const target = bufferOf(words(buffer as WebGpuBuffer, 0))
    if (byteOffset + bytes.length > target.bytes) {
      throw new DeviceError(
        `webgpu: upload of ${bytes.length} bytes at ${byteOffset} exceeds a buffer of ${target.bytes}`,
      )
    }
    this.flush()
    const tail = byteOffset + bytes.length === target.bytes
    if (byteOffset % 4 === 0 && (tail || bytes.length % 4 === 0)) {
      this.gpu.queue.writeBuffer(target.memory.gpu, byteOffset, padded(bytes) as Uint8Array<ArrayBuffer>)
      return
    }
    // A part of a word: its other bytes belong to a neighbour, so the bytes go through the copy kernel.
    const staged = this.pool.allocate(bytes.length)
    this.gpu.queue.writeBuffer(staged.memory.gpu, 0, padded(bytes) as Uint8Array<ArrayBuffer>)
    const flat = { dtype: 'uint8', shape: [bytes.length], strides: [1] } as const
    this.enqueue({
      kernel: 'copy',
      operands: [
        { buffer: staged, offset: 0, ...flat },
        { buffer: target, offset: byteOffset, ...flat },
      ],
      numbers: [],
    })
    this.operationCount--
    this.pool.release(staged)
  }

  async download(buffer: DeviceBuffer, byteOffset: number, byteLength: number): Promise<ArrayBuffer> {
    this.throwFailure()
    const source = bufferOf(words(buffer as WebGpuBuffer, 0)).memory.gpu
    const start = Math.floor(byteOffset / 4) * 4
    const bytes = Math.ceil((byteOffset + byteLength - start) / 4) * 4
    const staging = this.takeStaging(errorBytes + bytes)
    const encoder = this.openEncoder()
    const errors = this.errorWords.memory.gpu
    encoder.copyBufferToBuffer(errors, 0, staging, 0, errorBytes)
    encoder.clearBuffer(errors, 0, errorBytes)
    if (bytes > 0) encoder.copyBufferToBuffer(source, start, staging, errorBytes, bytes)
    this.flush()
    try {
      await staging.mapAsync(mapRead, 0, errorBytes + bytes)
    } catch (error) {
      this.throwFailure()
      throw new DeviceError(`webgpu: reading back failed: ${(error as Error).message}`)
    }
    const mapped = staging.getMappedRange(0, errorBytes + bytes)
    const [code, index, extent] = new Int32Array(mapped.slice(0, errorBytes))
    const skip = errorBytes + byteOffset - start
    const result = mapped.slice(skip, skip + byteLength)
    staging.unmap()
    this.staging.push(staging)
    this.throwFailure()
    if (code !== 0) throw new IndexError(kernelOfCode(code), index, extent)
    return result
  }

  flush(): void {
    this.throwFailure()
    if (!this.encoder) return
    this.endPass()
    this.profiler?.endBatch(this.encoder)
    const commands = this.encoder.finish()
    this.encoder = null
    this.pending = 0
    this.ring.upload()
    this.gpu.queue.submit([commands])
    this.submissionCount++
    this.profiler?.collect()
  }

  /**
   * Times each dispatch that `run` enqueues by the device's clock, in a pass of its own, and sums by kernel text; or, where
   * `observe` is shown the operations, by kernel of the table.
   */
  async profile(run: () => void | Promise<void>, observe?: (operation: Operation) => void): Promise<KernelTime[]> {
    if (!this.gpu.features.has('timestamp-query')) {
      throw new DeviceError('webgpu: this device has no timestamp queries; a profile needs them')
    }
    this.flush()
    const profiler = new Profiler(this.gpu, batchSize)
    this.profiler = profiler
    this.observer = observe ?? null
    try {
      await run()
      this.flush()
    } finally {
      this.profiler = null
      this.observer = null
      this.encoding = null
    }
    return profiler.times()
  }

  beginCapture(): void {
    if (this.recording) throw new DeviceError('webgpu: a capture is being recorded; end it before the next begins')
    this.recording = { commands: [], parameters: [], pool: new SparePool() }
    this.pool.current = this.recording.pool
  }

  endCapture(): Capture {
    const recording = this.recording
    if (!recording) throw new DeviceError('webgpu: no capture is being recorded; call beginCapture first')
    this.recording = null
    this.pool.current = this.pool.main
    const { commands, pool } = recording
    const parameters = this.ring.freeze(recording.parameters)
    let index = 0
    const bound = commands.map((command) =>
      command.type === 'recorded' ? this.pipelines.bind(command, parameters, index++) : command,
    )
    let disposed = false
    return {
      replay: () => {
        if (disposed) throw new DeviceError('webgpu: this capture was disposed; record it again')
        this.throwFailure()
        for (const command of bound) this.encode(command)
      },
      dispose: () => {
        if (disposed) return
        disposed = true
        this.flush()
        parameters.destroy()
        this.pool.absorb(pool)
      },
    }
  }

  async close(): Promise<void> {
    if (this.closed) return
    if (!this.failure) this.flush()
    await this.gpu.queue.onSubmittedWorkDone()
    this.closed = true
    this.pool.destroy()
    this.gpu.destroy()
  }

  private throwFailure(): void {
    if (this.closed) throw new DeviceError('webgpu: the device was closed; open it again')
    if (this.failure) throw this.failure
  }

  private dense(dtype: Dtype, shape: readonly number[]): Operand {
    const buffer = this.pool.allocate(size(shape) * bytesPerElement[dtype])
    return { buffer, offset: 0, dtype, shape, strides: contiguousStrides(shape) }
  }

  private scratch(dtype: Dtype, shape: readonly number[]): Operand {
    const operand = this.dense(dtype, shape)
    this.scratchBuffers.push(operand.buffer)
    return operand
  }

  private constants(key: string, make: () => Uint32Array): Operand {
    const known = this.constantBuffers.get(key)
    if (known) return known
    const values = make()
    // A constant outlives the capture in which it is first needed.
    const { current } = this.pool
    this.pool.current = this.pool.main
    const buffer = this.pool.allocate(values.byteLength)
    this.pool.current = current
    this.upload(buffer, 0, new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
    const operand = words(buffer, values.length)
    this.constantBuffers.set(key, operand)
    return operand
  }

  private dispatch(dispatch: Dispatch): void {
    if (dispatch.workgroups.includes(0)) return
    const gathered = gatherInArena(dispatch, this.maxBindings, (bytes) => this.pool.allocate(bytes))
    if (!gathered) {
      this.dispatchFitting(dispatch)
      return
    }
    const { arena, copies } = gathered
    const space = arena.memory.gpu
    for (const { buffer, start, arenaStart, bytes } of copies) {
      this.record({ type: 'copy', from: buffer.memory.gpu, fromStart: start, to: space, toStart: arenaStart, bytes })
    }
    this.dispatchFitting(gathered.dispatch)
    for (const { buffer, start, arenaStart, bytes, writeBack } of copies) {
      if (!writeBack) continue
      this.record({ type: 'copy', from: space, fromStart: arenaStart, to: buffer.memory.gpu, toStart: start, bytes })
    }
    this.pool.release(arena)
  }

  private dispatchFitting(dispatch: Dispatch): void {
    const assignment = assignSlots(dispatch, this.launcher.traits.bindingBytes, this.nativeF16)
    const program = this.pipelines.program(dispatch, assignment)
    const group = this.pipelines.bindGroup(program, assignment)
    const { integers, floats = {} } = dispatch
    const values = parameterWords(assignment.offsets, integers, floats)
    const offset = this.ring.append(values)
    const command: Command = { type: 'dispatch', pipeline: program.pipeline, group, offset, grid: dispatch.workgroups }
    this.encode(command)
    if (this.recording) {
      this.recording.commands.push({ type: 'recorded', dispatch, assignment })
      this.recording.parameters.push(values)
    }
  }

  private record(command: Command): void {
    this.encode(command)
    this.recording?.commands.push(command)
  }

  private encode(command: Command): void {
    if (command.type === 'copy') {
      const { from, fromStart, to, toStart, bytes } = command
      this.openEncoder().copyBufferToBuffer(from, fromStart, to, toStart, bytes)
      return
    }
    this.encoder ??= this.gpu.createCommandEncoder()
    if (this.profiler) this.pass = this.profiler.beginPass(this.encoder, this.encoding ?? command.pipeline.label)
    this.pass ??= this.encoder.beginComputePass()
    this.pass.setPipeline(command.pipeline)
    if (command.type === 'bound') this.pass.setBindGroup(0, command.group)
    else {
      this.pass.setBindGroup(0, this.ring.group, [command.offset])
      this.pass.setBindGroup(1, command.group)
    }
    this.pass.dispatchWorkgroups(...command.grid)
    this.dispatchCount++
    if (this.profiler) this.endPass()
    if (++this.pending >= batchSize) this.flush()
  }

  /** The encoder, outside any pass. */
  private openEncoder(): GPUCommandEncoder {
    this.endPass()
    this.encoder ??= this.gpu.createCommandEncoder()
    return this.encoder
  }

  private endPass(): void {
    this.pass?.end()
    this.pass = null
  }

  private takeStaging(bytes: number): GPUBuffer {
    const at = this.staging.findIndex((buffer) => buffer.size >= bytes && buffer.size <= 4 * Math.max(bytes, 4096))
    if (at >= 0) return this.staging.splice(at, 1)[0]
    if (this.staging.length > 8) this.staging.shift()?.destroy()
    const size = Math.max(256, 2 ** Math.ceil(Math.log2(bytes)))
    return this.gpu.createBuffer({
      size: Math.min(size, Math.max(bytes, 2 ** 28)),
      usage: usage.mapRead | usage.copyTarget,
    })
  }
}

const words = (buffer: WebGpuBuffer, count: number): Operand => ({
  buffer,
  offset: 0,
  dtype: 'int32',
  shape: [count],
  strides: [1],
})

function padded(bytes: Uint8Array): Uint8Array {
  if (bytes.length % 4 === 0) return bytes
  const whole = new Uint8Array(Math.ceil(bytes.length / 4) * 4)
  whole.set(bytes)
  return whole
}
