// The selective scan of Mamba (S6) as one differentiable operation that recomputes states instead of storing them.
import { launch } from '../../backend/kernels.js'
import { MambakitError, ShapeError } from '../../errors.js'
import { differentiable, isRecorded } from '../autograd.js'
import { type Shape, sameShape } from '../shape.js'
import { empty, type Tensor } from '../tensor.js'
import { type WithState, zerosLike } from './convolution.js'
import { requireFloat } from './elementwise.js'
import { operand } from './raw.js'
import { denseLast } from './shape.js'

export interface SelectiveScanOptions {
  /** Skip weight (D), float32. */
  D?: Tensor | null
  /** Gate (B, L, D): the output is multiplied by silu(z). */
  z?: Tensor | null
  /** (D) float32, added to delta. */
  deltaBias?: Tensor | null
  /** delta becomes softplus(delta + deltaBias). Default false. */
  deltaSoftplus?: boolean
  /** (B, D, N) float32. Default zeros. */
  initialState?: Tensor | null
  /** (B, L) uint8: 1 where a new sequence starts. */
  resets?: Tensor | null
  /** (L) int32: step t works at this position. */
  path?: Tensor | null
  /** Run from the last step to the first. Default false. */
  reverse?: boolean
  returnFinalState?: boolean
  /** Write the final state into this tensor (it may be `initialState`) instead of a new one. Not differentiable. */
  finalState?: Tensor | null
  /** Also return every state, (B, L, D, N). Default false. */
  returnStates?: boolean
  /** Steps between stored states when a gradient is recorded. Default 64; 16 on GPUs, which would rather store than recompute. */
  chunk?: number
}

export interface ScanResult extends WithState {
  /** Every state (B, L, D, N) float32, where asked for. */
  readonly states: Tensor | null
}

/** An optional operand's place among the saved tensors. */
const optionalNames = ['D', 'z', 'deltaBias', 'resets', 'path'] as const

/**
 * h = exp(dt A) h + dt B u; y = C.h + D u; out = y silu(z), in float32 arithmetic.
 * u, delta (B, L, D); A (D, N) float32; B, C (B, L, N), (B, L, G, N) with channel d in group floor(d G / D), or (D, N)
 * fixed in time. out (B, L, D) in u's dtype. Gradients flow to every input, the initial state included, and back
 * through the final state. mirrors: selective_scan_fn of state-spaces/mamba, time before channels.
 */
export function selectiveScan(
  u: Tensor,
  delta: Tensor,
  A: Tensor,
  B: Tensor,
  C: Tensor,
  options: SelectiveScanOptions = {},
): ScanResult {
  const { D, deltaBias, initialState, resets, path, chunk = u.backend.device === 'webgpu' ? 16 : 64 } = options
  const z = options.z && denseLast(options.z)
  requireFloat('selectiveScan', u, delta, A, B, C, D, z, deltaBias, initialState)
  checkShapes(u, delta, A, B, C, options)
  const [batch, length, channels] = u.shape
  const stateSize = A.shape[1]
  // (B, L, N) is one group to the kernel.
  const grouped = (x: Tensor) =>
    x.rank === 3 ? operand(x, [batch, length, 1, stateSize], [x.strides[0], x.strides[1], stateSize, 1]) : x
  const { backend } = u
  const numbers = { softplus: options.deltaSoftplus ? 1 : 0, reverse: options.reverse ? 1 : 0, chunk }
  const made = { chunkStates: null as Tensor | null }
  const inputs = [denseLast(u), denseLast(delta), A, denseLast(B), denseLast(C), D, z, deltaBias, initialState]
  const [uIn, deltaIn, AIn, BIn, CIn] = inputs as Tensor[]
  const recorded = isRecorded(inputs)
  const ownFinal = !options.finalState && options.returnFinalState
  const outputs = differentiable<readonly Tensor[]>({
    name: 'selectiveScan',
    inputs,
    forward: () => {
      const out = empty(backend, u.shape, u.dtype)
      const finalState = options.finalState ?? (ownFinal ? empty(backend, [batch, channels, stateSize]) : null)
      const states = options.returnStates ? empty(backend, [batch, length, channels, stateSize]) : null
      if (recorded) made.chunkStates = empty(backend, [batch, Math.ceil(length / chunk), stateSize, channels])
      launch(
        backend,
        'selectiveScan',
        {
          u: uIn,
          delta: deltaIn,
          A: AIn,
          B: grouped(BIn),
          C: grouped(CIn),
          D,
          z,
          deltaBias,
          initialState,
          resets,
          path,
          out,
          finalState,
          states,
          chunkStates: made.chunkStates,
        },
        numbers,
      )
      return [out, ...(ownFinal ? [finalState!] : []), ...(states ? [states] : [])]
    },
    save: () => [uIn, deltaIn, AIn, BIn, CIn, made.chunkStates, D, z, deltaBias, resets, path],
    backward: (gradOuts, saved, needed) => {
      const [su, sdelta, sA, sB, sC, chunkStates, ...rest] = saved
      const present = optionalNames.filter((name) => options[name])
      const optional = Object.fromEntries(present.map((name, i) => [name, rest[i]])) as Partial<
        Record<(typeof optionalNames)[number], Tensor>
      >
      const like = (x: Tensor) => empty(backend, x.shape, x.dtype)
      const gradB = empty(backend, sB.shape, 'float32')
      const gradC = empty(backend, sC.shape, 'float32')
      const grads = {
        gradU: like(su),
        gradDelta: like(sdelta),
        gradA: like(sA),
        gradD: optional.D && like(optional.D),
        gradZ: optional.z && like(optional.z),
        gradDeltaBias: optional.deltaBias && like(optional.deltaBias),
        gradInitialState: needed[8] ? empty(backend, [batch, channels, stateSize]) : null,
      }
      const [gradOut] = gradOuts
      launch(
        backend,
        'selectiveScanGrad',
        {
          u: su,
          delta: sdelta,
          A: sA,
          B: grouped(sB),
          C: grouped(sC),
          ...optional,
          chunkStates,
          gradOut: gradOut ? denseLast(gradOut) : zerosLike(su),
          gradFinalState: ownFinal ? gradOuts[1] : null,
          gradStates: options.returnStates ? gradOuts[ownFinal ? 2 : 1] : null,
          ...grads,
          gradB: grouped(gradB),
          gradC: grouped(gradC),
        },
        numbers,
      )
      return [
        grads.gradU,
        grads.gradDelta,
        grads.gradA,
        gradB,
        gradC,
        grads.gradD ?? null,
        grads.gradZ ?? null,
        grads.gradDeltaBias ?? null,
        grads.gradInitialState,
      ]
    },
  })
  return {
    out: outputs[0],
    finalState: options.finalState ?? (ownFinal ? outputs[1] : null),
    states: options.returnStates ? outputs[outputs.length - 1] : null,
  }
}

function checkShapes(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, options: SelectiveScanOptions): void {
  const fail = (shapes: Shape[], expected: string): never => {
    throw new ShapeError('selectiveScan', shapes, expected)
  }
  if (u.rank !== 3) fail([u.shape], 'expected u (B, L, D)')
  const [batch, length, channels] = u.shape
  if (A.rank !== 2 || A.shape[0] !== channels) fail([u.shape, A.shape], 'expected A (D, N) for u (B, L, D)')
  const stateSize = A.shape[1]
  if (stateSize > 256) throw new MambakitError(`selectiveScan: expected a state size of at most 256, got ${stateSize}`)
  for (const like of [delta, options.z])
    if (like && !sameShape(like.shape, u.shape)) fail([u.shape, like.shape], 'expected delta and z of the shape of u')
  for (const map of [B, C]) {
    const perToken = sameShape(map.shape, [batch, length, stateSize])
    const fixed = sameShape(map.shape, [channels, stateSize])
    const groups = map.rank === 4 ? map.shape[2] : 1
    const inGroups = map.rank === 4 && sameShape(map.shape, [batch, length, groups, stateSize]) && groups <= channels
    if (!perToken && !fixed && !inGroups)
      fail([u.shape, map.shape], `expected B and C (B, L, N), (B, L, G, N) or (D, N) with N = ${stateSize}`)
  }
  for (const vector of [options.D, options.deltaBias])
    if (vector && !sameShape(vector.shape, [channels])) fail([u.shape, vector.shape], 'expected D and deltaBias (D)')
  for (const state of [options.initialState, options.finalState])
    if (state && !sameShape(state.shape, [batch, channels, stateSize]))
      fail([state.shape], `expected a state (${batch}, ${channels}, ${stateSize})`)
  if (options.resets && !sameShape(options.resets.shape, [batch, length]))
    fail([options.resets.shape], `expected resets (${batch}, ${length})`)
  if (options.path && !sameShape(options.path.shape, [length]))
    fail([options.path.shape], `expected a path (${length})`)
}
