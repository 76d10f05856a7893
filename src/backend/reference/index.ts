// The reference backend: every kernel as its plainest loop in float64, run at once, in order. It is slow and exists to
// be right: finite differences check its gradients, and it checks the values of every other backend.
import { DeviceError, IndexError } from '../../errors.js'
import { type KernelName, signatures } from '../kernels.js'
import type { Backend, Capture, DeviceBuffer, MemoryUse, Operand, Operation } from '../types.js'
import { adamW } from './adamW.reference.js'
import { attention, attentionGrad } from './attention.reference.js'
import { causalConv1d, causalConv1dGrad } from './conv1d.reference.js'
import { convolution, convolutionGradInput, convolutionGradWeight } from './convolution.reference.js'
import { axpby, binary, copy, fill, select, unary, unaryGrad } from './elementwise.reference.js'
import { gather, scatterAdd } from './embedding.reference.js'
import { gatedActivation, gatedActivationGrad } from './gatedActivation.reference.js'
import { gemm } from './gemm.reference.js'
import { gridSample, gridSampleGrad } from './gridSample.reference.js'
import { groupNorm, groupNormGrad, groupStatistics } from './groupNorm.reference.js'
import { crossEntropy } from './losses.reference.js'
import { mambaStepIn, mambaStepScan } from './mambaStep.reference.js'
import { layerNorm, layerNormGrad, rmsNorm, rmsNormGrad } from './norms.reference.js'
import { dropout, random } from './random.reference.js'
import { reduce, softmax, softmaxGrad } from './reduce.reference.js'
import { maxPool, maxPoolGrad, resample } from './resample.reference.js'
import { rotary } from './rotary.reference.js'
import { sample } from './sample.reference.js'
import { selectiveScan, selectiveScanGrad } from './scan.reference.js'
import { ReferenceBuffer, type ReferenceKernel, View } from './view.js'

const table: { readonly [K in KernelName]: ReferenceKernel<K> } = {
  fill,
  copy,
  unary,
  unaryGrad,
  binary,
  select,
  axpby,
  reduce,
  softmax,
  softmaxGrad,
  rmsNorm,
  rmsNormGrad,
  layerNorm,
  layerNormGrad,
  groupStatistics,
  groupNorm,
  groupNormGrad,
  resample,
  maxPool,
  maxPoolGrad,
  gridSample,
  gridSampleGrad,
  gemm,
  crossEntropy,
  gather,
  scatterAdd,
  causalConv1d,
  causalConv1dGrad,
  convolution,
  convolutionGradInput,
  convolutionGradWeight,
  selectiveScan,
  selectiveScanGrad,
  mambaStepIn,
  mambaStepScan,
  attention,
  attentionGrad,
  rotary,
  gatedActivation,
  gatedActivationGrad,
  adamW,
  random,
  dropout,
  sample,
}

type UntypedKernel = (
  views: Record<string, View | null>,
  numbers: Record<string, number>,
  reportIndex: (index: number, size: number) => void,
) => void

export class ReferenceBackend implements Backend {
  readonly device = 'reference'
  readonly description = 'float64 loops in TypeScript'
  #operationCount = 0
  #inUse = 0
  #error: IndexError | null = null
  #recording: { operations: Operation[]; buffers: Set<ReferenceBuffer> } | null = null
  /** Buffers that live until their capture is disposed of. */
  readonly #captured = new Set<ReferenceBuffer>()

  get operationCount(): number {
    return this.#operationCount
  }

  allocate(bytes: number): ReferenceBuffer {
    const buffer = new ReferenceBuffer(bytes)
    this.#inUse += bytes
    if (this.#recording) {
      this.#recording.buffers.add(buffer)
      this.#captured.add(buffer)
    }
    return buffer
  }

  /** Throws DeviceError where the buffer was released before. */
  release(buffer: DeviceBuffer): void {
    const own = live(buffer)
    if (!this.#captured.has(own)) this.#free(own)
  }

  #free(buffer: ReferenceBuffer): void {
    buffer.released = true
    this.#inUse -= buffer.bytes
  }

  /** Runs the operation before it returns. Throws DeviceError where an operand's buffer was released. */
  enqueue(operation: Operation): void {
    this.#recording?.operations.push(operation)
    this.#run(operation)
  }

  #run({ kernel, operands, numbers }: Operation): void {
    const { operandNames, numberNames } = signatures[kernel]
    const run = table[kernel] as UntypedKernel
    this.#operationCount++
    const views = operandNames.map((name, i) => {
      const operand = operands[i]
      if (operand) live(operand.buffer)
      return [name, operand ? new View(operand) : null]
    })
    run(
      Object.fromEntries(views),
      Object.fromEntries(numberNames.map((name, i) => [name, numbers[i]])),
      (index, size) => {
        this.#error ??= new IndexError(kernel, index, size)
      },
    )
  }

  upload(buffer: DeviceBuffer, byteOffset: number, bytes: Uint8Array): void {
    live(buffer).write(byteOffset, bytes)
  }

  async download(buffer: DeviceBuffer, byteOffset: number, byteLength: number): Promise<ArrayBuffer> {
    const bytes = live(buffer).read(byteOffset, byteLength)
    this.#throwError()
    return bytes.buffer as ArrayBuffer
  }

  /** The operand's values in row-major order, in full precision. Throws the first error that a kernel reported. */
  values(operand: Operand): Float64Array {
    live(operand.buffer)
    this.#throwError()
    return new View(operand).values()
  }

  /** Sets an operand's elements, in row-major order, in full precision. */
  setValues(operand: Operand, values: ArrayLike<number>): void {
    live(operand.buffer)
    new View(operand).assign(values)
  }

  #throwError(): void {
    const error = this.#error
    this.#error = null
    if (error) throw error
  }

  flush(): void {}

  beginCapture(): void {
    if (this.#recording) throw new DeviceError('a capture is already being recorded; end it first')
    this.#recording = { operations: [], buffers: new Set() }
  }

  endCapture(): Capture {
    const recording = this.#recording
    if (!recording) throw new DeviceError('no capture is being recorded; begin one first')
    this.#recording = null
    return {
      replay: () => {
        for (const operation of recording.operations) this.#run(operation)
      },
      dispose: () => {
        for (const buffer of recording.buffers) {
          this.#captured.delete(buffer)
          this.#free(buffer)
        }
        recording.buffers.clear()
      },
    }
  }

  memory(): MemoryUse {
    return { inUse: this.#inUse, reserved: this.#inUse }
  }

  async close(): Promise<void> {}
}

function live(buffer: DeviceBuffer): ReferenceBuffer {
  const own = buffer as ReferenceBuffer
  if (own.released) throw new DeviceError(`a buffer of ${own.bytes} bytes was used after its release`)
  return own
}

/** Opens the float64 reference. It needs no device and no closing. */
export function openReference(): ReferenceBackend {
  return new ReferenceBackend()
}
