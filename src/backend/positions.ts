// Where the elements of a strided view lie.
import type { Operand } from './types.js'

/** Element positions of a view in row-major order. */
export function positionsOf({ offset, shape, strides }: Pick<Operand, 'offset' | 'shape' | 'strides'>): Int32Array {
  const positions = new Int32Array(shape.reduce((n, extent) => n * extent, 1))
  const index = shape.map(() => 0)
  let position = offset
  for (let i = 0; i < positions.length; i++) {
    positions[i] = position
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      position += strides[axis]
      if (++index[axis] < shape[axis]) break
      position -= strides[axis] * shape[axis]
      index[axis] = 0
    }
  }
  return positions
}
