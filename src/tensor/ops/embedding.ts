// Table look-up by integer ids.
import { launch } from '../../backend/kernels.js'
import { DtypeError } from '../../errors.js'
import { differentiable } from '../autograd.js'
import { zeros } from '../create.js'
import { empty, type Tensor } from '../tensor.js'
import { asRows, dense, operand } from './raw.js'

/**
 * Rows of `table` (V, n) at `ids` (...) int32 -> (..., n). An id outside [0, V) raises IndexError at the next read-back.
 */
export function embedding(table: Tensor, ids: Tensor): Tensor {
  if (ids.dtype !== 'int32') throw new DtypeError('embedding', [ids.dtype], 'expected int32 ids')
  const n = table.shape[1]
  const flat = (t: Tensor) => operand(t, [ids.size], [1])
  return differentiable({
    name: 'embedding',
    inputs: [table],
    forward: () => {
      const out = empty(table.backend, [...ids.shape, n], table.dtype)
      launch(table.backend, 'gather', { table, ids: flat(dense(ids)), out: asRows(out) }, {})
      return out
    },
    save: () => [ids],
    backward: ([gradOut], [savedIds]) => {
      const grad = zeros(table.shape, { backend: gradOut!.backend })
      launch(grad.backend, 'scatterAdd', { rows: asRows(gradOut!), ids: flat(dense(savedIds)), table: grad }, {})
      return [grad]
    },
  })
}
