// Causal depth-wise convolution over time with carried state and packed sequences, and its gradient, in float64.
import { silu, siluDerivative } from './elementwise.reference.js'
import type { ReferenceKernel, View } from './view.js'

/** Whether an output at time t may see the input at time s <= t: no sequence starts in (s, t]. */
function sees(resets: View | null, b: number, s: number, t: number): boolean {
  if (resets) for (let i = Math.max(s + 1, 0); i <= t; i++) if (resets.at(b, i)) return false
  return true
}

/** The input at time s as seen from time t; times below 0 lie in the state, whose row K - 1 is time -1. */
function inputAt(
  input: View,
  state: View | null,
  resets: View | null,
  width: number,
  b: number,
  s: number,
  t: number,
  d: number,
) {
  if (!sees(resets, b, s, t)) return 0
  return s >= 0 ? input.at(b, s, d) : (state?.at(b, s + width, d) ?? 0)
}

/** The operands that have an axis of time, in the order in which steps run. */
function inOrder<V extends Readonly<Record<string, View | null>>>(views: V, reverse: number): V {
  if (!reverse) return views
  const timed = ['input', 'resets', 'out', 'gradOut', 'gradIn']
  const turned = Object.entries(views).map(([name, view]) => [name, timed.includes(name) ? view?.backwards(1) : view])
  return Object.fromEntries(turned) as V
}

export const causalConv1d: ReferenceKernel<'causalConv1d'> = (views, { silu: useSilu, reverse }) => {
  const { input, weight, bias, initialState, resets, out, finalState } = inOrder(views, reverse)
  const [batch, length, channels] = input.shape
  const width = weight.shape[2]
  for (let b = 0; b < batch; b++)
    for (let d = 0; d < channels; d++) {
      for (let t = 0; t < length; t++) {
        let y = bias?.at(d) ?? 0
        for (let k = 0; k < width; k++)
          y += weight.at(d, 0, k) * inputAt(input, initialState, resets, width, b, t - width + 1 + k, t, d)
        out.put(useSilu ? silu(y) : y, b, t, d)
      }
      const last = Array.from({ length: width }, (_, k) =>
        inputAt(input, initialState, resets, width, b, length - width + k, length - 1, d),
      )
      last.forEach((value, k) => {
        finalState?.put(value, b, k, d)
      })
    }
}

export const causalConv1dGrad: ReferenceKernel<'causalConv1dGrad'> = (views, { silu: useSilu, reverse }) => {
  const { input, weight, bias, initialState, resets, gradOut, gradFinalState, ...grads } = inOrder(views, reverse)
  const { gradIn, gradWeight, gradBias, gradInitialState } = grads
  const [batch, length, channels] = input.shape
  const width = weight.shape[2]
  for (const sum of [gradIn, gradWeight, gradBias, gradInitialState]) sum?.fill(0)
  for (let b = 0; b < batch; b++)
    for (let d = 0; d < channels; d++) {
      const passBack = (grad: number, s: number, t: number) => {
        if (!sees(resets, b, s, t)) return
        if (s >= 0) gradIn.add(grad, b, s, d)
        else gradInitialState?.add(grad, b, s + width, d)
      }
      for (let t = 0; t < length; t++) {
        const taps = Array.from({ length: width }, (_, k) =>
          inputAt(input, initialState, resets, width, b, t - width + 1 + k, t, d),
        )
        const y = taps.reduce((sum, x, k) => sum + weight.at(d, 0, k) * x, bias?.at(d) ?? 0)
        const grad = gradOut.at(b, t, d) * (useSilu ? siluDerivative(y) : 1)
        gradBias?.add(grad, d)
        taps.forEach((x, k) => {
          gradWeight.add(grad * x, d, 0, k)
          passBack(grad * weight.at(d, 0, k), t - width + 1 + k, t)
        })
      }
      if (gradFinalState)
        for (let k = 0; k < width; k++) passBack(gradFinalState.at(b, k, d), length - width + k, length - 1)
    }
}
