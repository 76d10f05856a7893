// What every checkpoint is to its readers: named tensors of known dtype and shape, whose bytes can be read in part.
// safetensors.ts and torch.ts open files as such; sharded.ts puts several together.
import { MambakitError } from '../errors.js'
import type { Ranges } from './ranges.js'

/** The dtypes that can stand in a file, with their bytes an element. I64 and F64 are read, never written. */
export const storedDtypes = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const
export type StoredDtype = keyof typeof storedDtypes

export interface StoredTensor {
  readonly dtype: StoredDtype
  readonly shape: readonly number[]
  /** Where a reader knows that tensors share their data: equal for those that do. */
  readonly data?: string
}

export interface TensorPlace {
  readonly ranges: Ranges
  /** First byte. */
  readonly begin: number
}

/** An open checkpoint. */
export interface CheckpointReader {
  /** The file or index that errors name. */
  readonly file: string
  /** In the order of their data, as they are best read. */
  readonly tensors: ReadonlyMap<string, StoredTensor>
  /** The bytes of one tensor, in memory aligned to its dtype. Throws CheckpointError where there is no such tensor. */
  read(name: string): Promise<Uint8Array>
  /** Fills `target` with the tensor's bytes from byte `offset`; the range must lie inside the tensor. */
  readInto(name: string, offset: number, target: Uint8Array): Promise<void>
  /** Where all bytes of a tensor lie in a row, so that neighbours can be read at once; null where they do not. */
  locate(name: string): TensorPlace | null
  close(): Promise<void>
}

/** A checkpoint does not hold what it should. `tensor` is null where the fault is not one tensor's. */
export class CheckpointError extends MambakitError {
  override name = 'CheckpointError'
  constructor(
    readonly file: string,
    readonly tensor: string | null,
    readonly fault: string,
    detail: string,
  ) {
    super(`${file}: ${tensor === null ? '' : `tensor ${quoted(tensor)}: `}${detail}`)
  }
}

/** Never NaN: a shape that overflows gives a number beyond every file size, except where an axis is 0. */
export function storedBytes({ dtype, shape }: StoredTensor): number {
  return shape.includes(0) ? 0 : shape.reduce((product, size) => product * size, storedDtypes[dtype])
}

/** Text from a file as errors show it: in quotes, control characters escaped, cut where long. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text)
}
