// What a model costs: floating-point operations and state updates, counted on the operations that run (on the meta
// device), and memory. One multiply-add counts as two operations, one scan update as nine, and one more a channel
// and step for the skip (as the specifications count).

import type { KernelName } from '../backend/kernels.js'
import { MetaBackend } from '../backend/meta.js'
import type { Operation } from '../backend/types.js'

export interface Cost {
  /** Floating-point operations of one forward pass. */
  flops: number
  /** As image papers count one forward pass: a multiply-add is one operation, a scan 9 B L D N + B L D. */
  publishedFlops: number
  /** Scan updates of one forward pass: B L D N. */
  stateUpdates: number
  /** Operations enqueued. */
  kernelCalls: number
  /** Most bytes that tensors held at once, weights included. */
  peakBytes: number
}

type Counter = (shapes: readonly (readonly number[])[]) => { flops: number; stateUpdates?: number }
const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1)

/** Kernels whose arithmetic counts by the field's convention; element-wise work does not. Shapes are in operand order. */
const counters: Partial<Record<KernelName, Counter>> = {
  // K is what a has beside its rows.
  gemm: ([a, , , out]) => ({ flops: 2 * size(out) * ((a[1] * a[2]) / out[1]) }),
  causalConv1d: ([input, weight]) => ({ flops: 2 * size(input) * weight[2] }),
  convolution: ([, weight, , out]) => ({ flops: 2 * size(out) * (size(weight) / weight[0]) }),
  convolutionGradInput: ([gradOut, weight]) => ({ flops: 2 * size(gradOut) * (size(weight) / weight[0]) }),
  convolutionGradWeight: ([, gradOut, weight]) => ({ flops: 2 * size(gradOut) * (size(weight) / weight[0]) }),
  // A has a row for each channel of each direction, each of which takes its own steps; u may be shared by directions.
  selectiveScan: ([u, , A, , , , , , , , path]) => {
    const steps = u[0] * (path.at(-1) ?? u[1])
    return { flops: steps * (9 * size(A) + A[0]), stateUpdates: steps * size(A) }
  },
  mambaStepIn: ([stream, , weight, , taps, , , xWeight]) => ({
    flops: 2 * stream[1] * (size(weight) + size(taps) + size(xWeight)),
  }),
  mambaStepScan: ([xz, , dtWeight, , A]) => ({
    flops: xz[0] * (2 * size(dtWeight) + 9 * size(A)),
    stateUpdates: xz[0] * size(A),
  }),
  // Scores and weighted sums over every key; causal attention does half of it and is counted so.
  attention: ([q, k]) => ({ flops: 4 * size(q) * k[1] }),
}

/** The arithmetic of an operation, as `Cost` counts it; null where it is not counted. */
export function operationCost({
  kernel,
  operands,
  numbers,
}: Operation): { flops: number; stateUpdates?: number } | null {
  const counted = counters[kernel]?.(operands.map((operand) => operand?.shape ?? []))
  if (!counted) return null
  const causal = kernel === 'attention' && numbers[1] === 1
  return causal ? { ...counted, flops: counted.flops / 2 } : counted
}

/** Runs `forward` on a meta device and counts what it enqueues. */
export function countCost(forward: (backend: MetaBackend) => void): Cost {
  const cost = { flops: 0, publishedFlops: 0, stateUpdates: 0, kernelCalls: 0, peakBytes: 0 }
  const backend = new MetaBackend((operation) => {
    const counted = operationCost(operation)
    if (!counted) return
    const { flops, stateUpdates = 0 } = counted
    cost.flops += flops
    cost.publishedFlops += stateUpdates > 0 ? flops : flops / 2
    cost.stateUpdates += stateUpdates
  })
  forward(backend)
  return { ...cost, kernelCalls: backend.operationCount, peakBytes: backend.peakBytes }
}
