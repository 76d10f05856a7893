// Mixed precision: which dtype the linear maps, norms and losses of a forward pass store their results in, while
// parameters, sums and gradients of parameters stay float32.
import type { Dtype } from '../backend/types.js'
import type { NotPromise } from './scope.js'

let active: Dtype | null = null

/** The dtype of activations inside `autocast`, null outside. */
export const autocastDtype = (): Dtype | null => active

/**
 * Runs a synchronous forward pass in mixed precision: linear maps multiply in float16 (sums in float32), norms and losses
 * write it, and each parameter's gradient has the parameter's dtype. Small gradients need loss scaling.
 * mirrors: torch.autocast
 */
export function autocast<T>(dtype: 'float16' | null, body: () => NotPromise<T>): T {
  const before = active
  active = dtype
  try {
    return body() as T
  } finally {
    active = before
  }
}
