// Dense operands on a reference backend, in full precision, for tests.
import { type HostOperand, valuesOf } from '../suite/operands.js'
import { bytesPerElement, type Operand } from '../types.js'
import type { ReferenceBackend } from './index.js'

export function placing(backend: ReferenceBackend) {
  const blank = (shape: readonly number[], dtype: Operand['dtype'] = 'float32'): Operand => {
    const size = shape.reduce((n, extent) => n * extent, 1)
    const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((n, extent) => n * extent, 1))
    return { buffer: backend.allocate(size * bytesPerElement[dtype]), offset: 0, dtype, shape, strides }
  }
  /** A dense operand with the values of a host operand; null where there is none. */
  const place = <T extends HostOperand | null | undefined>(host: T): T extends HostOperand ? Operand : null => {
    if (!host) return null as never
    const operand = blank(host.shape, host.dtype)
    backend.setValues(operand, valuesOf(host))
    return operand as never
  }
  return { blank, place }
}
