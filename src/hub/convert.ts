// The border between a file's dtypes and the tensors': names, and the two conversions that 64-bit data need. Both are
// announced, and a value that would not survive is an error.
import type { Dtype } from '../backend/types.js'
import { CheckpointError, type StoredDtype, storedDtypes } from './checkpoint.js'
import type { TensorToWrite } from './safetensors.js'

const tensorDtypes: Readonly<Record<StoredDtype, Dtype>> = {
  F64: 'float32',
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  I64: 'int32',
  I32: 'int32',
  I8: 'int8',
  U8: 'uint8',
  BOOL: 'bool',
}

/** The dtype that a tensor has once it is loaded: int64 becomes int32, float64 becomes float32, others stay. */
export function loadedDtype(dtype: StoredDtype): Dtype {
  return tensorDtypes[dtype]
}

const fileDtypes: Readonly<Record<Dtype, TensorToWrite['dtype']>> = {
  float32: 'F32',
  float16: 'F16',
  bfloat16: 'BF16',
  int8: 'I8',
  int32: 'I32',
  uint8: 'U8',
  bool: 'BOOL',
}

/** The name that a tensor's dtype has in a file. */
export function storedDtype(dtype: Dtype): TensorToWrite['dtype'] {
  return fileDtypes[dtype]
}

/** A tensor of a file, as errors and announcements name it. */
export interface TensorSource {
  readonly file: string
  readonly name: string
  readonly dtype: StoredDtype
}

/** What is to be told of a tensor that loading narrows; null where it keeps its dtype. */
export function narrowing({ file, name, dtype }: TensorSource): string | null {
  if (dtype === 'I64') return `${file}: tensor "${name}" is int64; read as int32, every value fits`
  if (dtype === 'F64') return `${file}: tensor "${name}" is float64; read as float32, rounded`
  return null
}

/**
 * Turns bytes of a tensor, from its element `first` on, into those of the tensor dtype.
 * Throws CheckpointError where a value does not fit.
 */
export function toTensorBytes(source: TensorSource, given: Uint8Array, first = 0): Uint8Array {
  const isWide = storedDtypes[source.dtype] === 8
  const bytes = isWide && given.byteOffset % 8 !== 0 ? given.slice() : given
  const fail = (index: number, detail: string) =>
    new CheckpointError(source.file, source.name, 'value', `element ${first + index} ${detail}`)
  if (source.dtype === 'I64') {
    const wide = new BigInt64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8)
    const narrow = new Int32Array(wide.length)
    wide.forEach((value, i) => {
      narrow[i] = Number(value)
      if (BigInt(narrow[i]) !== value) throw fail(i, `is ${value}; expected an int64 that fits into int32`)
    })
    return new Uint8Array(narrow.buffer)
  }
  if (source.dtype === 'F64') {
    const wide = new Float64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8)
    const narrow = new Float32Array(wide)
    wide.forEach((value, i) => {
      if (Number.isFinite(value) && !Number.isFinite(narrow[i])) {
        throw fail(i, `is ${value}; expected a float64 within the range of float32`)
      }
    })
    return new Uint8Array(narrow.buffer)
  }
  if (source.dtype === 'BOOL') {
    const bad = bytes.findIndex((value) => value > 1)
    if (bad !== -1) throw fail(bad, `is ${bytes[bad]}; expected 0 or 1 in a BOOL tensor`)
  }
  return bytes
}
