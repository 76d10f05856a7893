// The causal depth-wise convolution over time of the Mamba mixers, with carried state.
import { launch } from '../../backend/kernels.js'
import { ShapeError } from '../../errors.js'
import { differentiable } from '../autograd.js'
import { sameShape } from '../shape.js'
import { empty, type Tensor } from '../tensor.js'
import { requireFloat } from './elementwise.js'
import { denseLast } from './shape.js'

export interface CausalConv1dOptions {
  /** (D). */
  bias?: Tensor | null
  /** Apply SiLU to the result. Default 'none'. */
  activation?: 'silu' | 'none'
  /** Run from the last step to the first: an output sees its own input and those after it. Default false. */
  reverse?: boolean
  /** (B, K, D): the last K inputs before this sequence, oldest first. Default zeros. */
  initialState?: Tensor | null
  /** (B, L) uint8: 1 where a new sequence starts. */
  resets?: Tensor | null
  /** Also return the last K inputs. Default false. */
  returnFinalState?: boolean
  /** Write the final state into this tensor (it may be `initialState`) instead of a new one. Not differentiable. */
  finalState?: Tensor | null
}

export interface WithState {
  readonly out: Tensor
  readonly finalState: Tensor | null
}

/**
 * out[b,t,d] = act(bias[d] + sum_k weight[d,0,k] input[b,t-K+1+k,d]).
 * input (B, L, D), weight (D, 1, K) in the layout of PyTorch's depth-wise Conv1d.
 */
export function causalConv1d(input: Tensor, weight: Tensor, options: CausalConv1dOptions = {}): WithState {
  requireFloat('causalConv1d', input, weight, options.bias)
  const { bias, initialState, resets } = options
  if (input.rank !== 3) throw new ShapeError('causalConv1d', [input.shape], 'expected input (B, L, D)')
  const [batch, , channels] = input.shape
  const width = weight.shape[2]
  if (!sameShape(weight.shape, [channels, 1, width]))
    throw new ShapeError('causalConv1d', [input.shape, weight.shape], 'expected weight (D, 1, K) for input (B, L, D)')
  if (initialState && !sameShape(initialState.shape, [batch, width, channels]))
    throw new ShapeError(
      'causalConv1d',
      [initialState.shape],
      `expected an initial state (${batch}, ${width}, ${channels})`,
    )
  if (resets && !sameShape(resets.shape, input.shape.slice(0, 2)))
    throw new ShapeError('causalConv1d', [resets.shape, input.shape], 'expected resets (B, L)')
  const x = denseLast(input)
  const numbers = { silu: options.activation === 'silu' ? 1 : 0, reverse: options.reverse ? 1 : 0 }
  const outputs = differentiable<readonly Tensor[]>({
    name: 'causalConv1d',
    inputs: [x, weight, bias, initialState],
    forward: () => {
      const out = empty(x.backend, x.shape, x.dtype)
      const finalState =
        options.finalState ??
        (options.returnFinalState ? empty(x.backend, [batch, width, channels], initialState?.dtype ?? x.dtype) : null)
      launch(x.backend, 'causalConv1d', { input: x, weight, bias, initialState, resets, out, finalState }, numbers)
      return finalState && finalState !== options.finalState ? [out, finalState] : [out]
    },
    save: () => [x, weight, bias, initialState, resets],
    backward: ([gradOut, gradFinalState], saved, needed) => {
      const tensors = [...saved]
      const [savedInput, savedWeight] = [tensors.shift()!, tensors.shift()!]
      const savedBias = bias ? tensors.shift()! : null
      const savedState = initialState ? tensors.shift()! : null
      const savedResets = resets ? tensors.shift()! : null
      const { backend } = savedInput
      const gradIn = empty(backend, savedInput.shape, savedInput.dtype)
      const gradWeight = empty(backend, savedWeight.shape, savedWeight.dtype)
      const gradBias = savedBias && empty(backend, savedBias.shape, savedBias.dtype)
      const gradInitialState = savedState && needed[3] ? empty(backend, savedState.shape, savedState.dtype) : null
      launch(
        backend,
        'causalConv1dGrad',
        {
          input: savedInput,
          weight: savedWeight,
          bias: savedBias,
          initialState: savedState,
          resets: savedResets,
          gradOut: gradOut ? denseLast(gradOut) : zerosLike(savedInput),
          gradFinalState,
          gradIn,
          gradWeight,
          gradBias,
          gradInitialState,
        },
        numbers,
      )
      return [gradIn, gradWeight, gradBias, gradInitialState]
    },
  })
  return { out: outputs[0], finalState: options.finalState ?? outputs[1] ?? null }
}

/** A tensor of zeros shaped as another. */
export function zerosLike(like: Tensor): Tensor {
  const out = empty(like.backend, like.shape, like.dtype)
  launch(like.backend, 'fill', { out }, { value: 0 })
  return out
}
