// The selective scan of Mamba (S6) as one differentiable operation that recomputes states instead of storing them.
import { launch } from '../../backend/kernels.js'
import { MambakitError, ShapeError } from '../../errors.js'
import { differentiable, isRecorded } from '../autograd.js'
import { zeros } from '../create.js'
import { type Shape, sameShape } from '../shape.js'
import { empty, type Tensor } from '../tensor.js'
import type { WithState } from './convolution.js'
import { requireFloat } from './elementwise.js'
import { operand } from './raw.js'
import { denseLast } from './shape.js'

export interface SelectiveScanOptions {
  /** Skip weight (D), float32. */
  D?: Tensor | null
  /** Gate (B, L, D), or (B, L, D/K) for all K directions: the output is multiplied by silu(z). */
  z?: Tensor | null
  /** (D) float32, added to delta. */
  deltaBias?: Tensor | null
  /** delta becomes softplus(delta + deltaBias). Default false. */
  deltaSoftplus?: boolean
  /** (B, D, N) float32. Default zeros. */
  initialState?: Tensor | null
  /** (B, L) uint8: 1 where a new sequence starts. */
  resets?: Tensor | null
  /** int32: (L), step t works at position path[t]; or (K, T), K directions of T steps each, none of which meets a position twice. */
  path?: Tensor | null
  /** Return the sum over the directions of `path`, (B, L, D/K), instead of every direction's output. Default false. */
  merge?: boolean
  /** delta, B and C, (B, T, ...), are those of step t instead of those of position path[t]. Default false. */
  byStep?: boolean
  /** Steps of a window of the locally bidirectional scan (2 to 32; LBMamba); 0 scans forward only. Default 0. */
  window?: number
  /** Run from the last step to the first. Default false. */
  reverse?: boolean
  returnFinalState?: boolean
  /** Write the final state into this tensor (it may be `initialState`) instead of a new one. Not differentiable. */
  finalState?: Tensor | null
  /** Also return every state, (B, L, D, N). Default false. */
  returnStates?: boolean
  /** Steps between stored states when a gradient is recorded, whole windows. Default 64; 16 on GPUs, which would rather store than recompute. */
  chunk?: number
}

export interface ScanResult extends WithState {
  /** Every state (B, L, D, N) float32, where asked for. */
  readonly states: Tensor | null
}

/** An optional operand's place among the saved tensors. */
const optionalNames = ['D', 'z', 'deltaBias', 'resets', 'path'] as const

/** The longest window that the kernels hold at once. */
const longestWindow = 32

/**
 * h = exp(dt A) h + dt B u; y = C.h + D u; out = y silu(z), in float32 arithmetic.
 * u, delta (B, L, D); A (D, N) float32; B, C (B, L, N), (B, L, G, N) with channel d in group floor(d G / D), or (D, N)
 * fixed in time. out (B, L, D) in u's dtype. Gradients flow to every input, the initial state included, and back
 * through the final state. mirrors: selective_scan_fn of state-spaces/mamba, time before channels.
 *
 * With K directions (`path` (K, T)) direction k has channels [k D/K, (k+1) D/K) of A, D, deltaBias and the states; u,
 * delta and z may have D/K channels, which all directions read; G is 1 or a multiple of K. With a `window` y also sees
 * what the rest of its window holds, by a second recurrence from the window's end (LBMamba, arXiv 2506.15976).
 */
export function selectiveScan(
  u: Tensor,
  delta: Tensor,
  A: Tensor,
  B: Tensor,
  C: Tensor,
  options: SelectiveScanOptions = {},
): ScanResult {
  const { D, deltaBias, initialState, resets, path, window = 0 } = options
  const usualChunk = u.backend.device === 'webgpu' ? 16 : 64
  const { chunk = window > 1 ? Math.ceil(usualChunk / window) * window : usualChunk } = options
  const z = options.z && denseLast(options.z)
  requireFloat('selectiveScan', u, delta, A, B, C, D, z, deltaBias, initialState)
  const { directions, steps } = checkShapes(u, delta, A, B, C, { ...options, chunk })
  const [batch, length] = u.shape
  const [channels, stateSize] = A.shape
  const outShape = [batch, length, options.merge ? channels / directions : channels]
  // (B, L, N) is one group to the kernel.
  const grouped = (x: Tensor) =>
    x.rank === 3 ? operand(x, [batch, x.shape[1], 1, stateSize], [x.strides[0], x.strides[1], stateSize, 1]) : x
  const { backend } = u
  const numbers = {
    softplus: options.deltaSoftplus ? 1 : 0,
    reverse: options.reverse ? 1 : 0,
    chunk,
    window,
    byStep: options.byStep ? 1 : 0,
  }
  const made = { chunkStates: null as Tensor | null }
  const inputs = [denseLast(u), denseLast(delta), A, denseLast(B), denseLast(C), D, z, deltaBias, initialState]
  const [uIn, deltaIn, AIn, BIn, CIn] = inputs as Tensor[]
  const recorded = isRecorded(inputs)
  const ownFinal = !options.finalState && options.returnFinalState
  const outputs = differentiable<readonly Tensor[]>({
    name: 'selectiveScan',
    inputs,
    forward: () => {
      const out = empty(backend, outShape, u.dtype)
      const finalState = options.finalState ?? (ownFinal ? empty(backend, [batch, channels, stateSize]) : null)
      const states = options.returnStates ? empty(backend, [batch, length, channels, stateSize]) : null
      // One chunk from zeros needs no states.
      if (recorded && (initialState || steps > chunk))
        made.chunkStates = empty(backend, [batch, Math.ceil(steps / chunk), stateSize, channels])
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
      const [su, sdelta, sA, sB, sC, ...others] = saved
      const chunkStates = made.chunkStates ? others.shift()! : null
      const rest = others
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
          gradOut: gradOut ? denseLast(gradOut) : zeros(outShape, { dtype: su.dtype, backend }),
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

/** Checks everything that shapes can tell; the number of directions, and the steps of each. */
function checkShapes(
  u: Tensor,
  delta: Tensor,
  A: Tensor,
  B: Tensor,
  C: Tensor,
  options: SelectiveScanOptions & { readonly chunk: number },
): { directions: number; steps: number } {
  const fail = (shapes: Shape[], expected: string): never => {
    throw new ShapeError('selectiveScan', shapes, expected)
  }
  const { path, z, window = 0, chunk } = options
  if (u.rank !== 3) fail([u.shape], 'expected u (B, L, D)')
  const [batch, length] = u.shape
  if (path && path.rank !== 2 && !sameShape(path.shape, [length]))
    fail([path.shape], `expected a path (${length}) or (K, T)`)
  const [directions, steps] = path?.rank === 2 ? path.shape : [1, length]
  if (steps > length) fail([u.shape, path!.shape], `expected a path of at most ${length} steps`)
  if (A.rank !== 2 || A.shape[0] % directions !== 0)
    fail([A.shape], `expected A (D, N) with D channels in ${directions} directions`)
  const [channels, stateSize] = A.shape
  if (stateSize > 256) throw new MambakitError(`selectiveScan: expected a state size of at most 256, got ${stateSize}`)
  const rows = options.byStep ? steps : length
  const own = channels / directions
  for (const [name, sequence, count] of [
    ['u', u, length],
    ['delta', delta, rows],
    ['z', z, length],
  ] as const)
    if (sequence && ![channels, own].some((width) => sameShape(sequence.shape, [batch, count, width])))
      fail(
        [sequence.shape, A.shape],
        `expected ${name} (${batch}, ${count}, ${own === channels ? own : `${own} or ${channels}`})`,
      )
  for (const map of [B, C]) {
    const perToken = sameShape(map.shape, [batch, rows, stateSize])
    const fixed = sameShape(map.shape, [channels, stateSize])
    const groups = map.rank === 4 ? map.shape[2] : 1
    const inGroups = map.rank === 4 && sameShape(map.shape, [batch, rows, groups, stateSize]) && groups <= channels
    if (!perToken && !fixed && !inGroups)
      fail([u.shape, map.shape], `expected B and C (B, ${rows}, N), (B, ${rows}, G, N) or (D, N) with N = ${stateSize}`)
    if (inGroups && groups > 1 && groups % directions !== 0)
      fail([map.shape], `expected groups in ${directions} directions`)
  }
  for (const vector of [options.D, options.deltaBias])
    if (vector && !sameShape(vector.shape, [channels])) fail([u.shape, vector.shape], 'expected D and deltaBias (D)')
  for (const state of [options.initialState, options.finalState])
    if (state && !sameShape(state.shape, [batch, channels, stateSize]))
      fail([state.shape], `expected a state (${batch}, ${channels}, ${stateSize})`)
  if (options.resets && !sameShape(options.resets.shape, [batch, length]))
    fail([options.resets.shape], `expected resets (${batch}, ${length})`)
  if (options.returnStates && steps < length)
    throw new MambakitError('selectiveScan: a path that leaves positions out has no states to return')
  if (!Number.isInteger(window) || window < 0 || window > longestWindow)
    throw new MambakitError(`selectiveScan: expected a window of 0 to ${longestWindow} steps, got ${window}`)
  if (window > 1 && (options.resets || options.returnStates))
    throw new MambakitError('selectiveScan: a window goes with neither resets nor returned states')
  if (window > 1 && chunk % window !== 0)
    throw new MambakitError(`selectiveScan: expected a chunk of whole windows of ${window} steps, got ${chunk}`)
  return { directions, steps }
}
