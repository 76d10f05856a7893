// How elements of each dtype lie in host memory: exact conversions between raw little-endian bytes and numbers.
// Half-precision values round to the nearest, ties to even.
import { bytesPerElement, type Dtype } from './types.js'

const float = new Float32Array(1)
const bits = new Uint32Array(float.buffer)

function float16Bits(value: number): number {
  float[0] = value
  const sign = (bits[0] >>> 16) & 0x8000
  const magnitude = bits[0] & 0x7fffffff
  if (magnitude > 0x7f800000) return sign | 0x7e00
  if (magnitude >= 0x477ff000) return sign | 0x7c00
  // Below 2^-14 the steps are 2^-24 wide; adding and taking away 2^52 rounds to a whole number of them.
  if (magnitude < 0x38800000) return sign | (Math.abs(float[0]) * 2 ** 24 + 2 ** 52 - 2 ** 52)
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13)
}

function float16Value(half: number): number {
  const sign = half & 0x8000 ? -1 : 1
  const exponent = (half >>> 10) & 31
  const mantissa = half & 1023
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1 + mantissa / 1024) * 2 ** (exponent - 15)
}

function bfloat16Bits(value: number): number {
  float[0] = value
  if (Number.isNaN(value)) return 0x7fc0
  return (bits[0] + 0x7fff + ((bits[0] >>> 16) & 1)) >>> 16
}

function bfloat16Value(half: number): number {
  bits[0] = half << 16
  return float[0]
}

/** The bytes of `values` in `dtype`. Values must lie in the range of an integer dtype; bool is 1 where a value is not 0. */
export function toHost(values: ArrayLike<number>, dtype: Dtype): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(values.length * bytesPerElement[dtype])
  const into = elements(bytes, dtype)
  for (let i = 0; i < values.length; i++) {
    const value = values[i]
    if (dtype === 'float16') into[i] = float16Bits(value)
    else if (dtype === 'bfloat16') into[i] = bfloat16Bits(value)
    else if (dtype === 'bool') into[i] = value !== 0 ? 1 : 0
    else into[i] = value
  }
  return bytes
}

/** The numbers that `bytes` of `dtype` stand for. */
export function fromHost(bytes: Uint8Array, dtype: Dtype): Float64Array {
  // A copy, since the bytes may not be aligned to the element size.
  const raw = elements(bytes.slice(), dtype)
  if (dtype === 'float16') return Float64Array.from(raw, float16Value)
  if (dtype === 'bfloat16') return Float64Array.from(raw, bfloat16Value)
  return Float64Array.from(raw)
}

function elements(bytes: Uint8Array<ArrayBuffer>, dtype: Dtype) {
  const { buffer } = bytes
  const count = Math.floor(bytes.byteLength / bytesPerElement[dtype])
  if (dtype === 'float32') return new Float32Array(buffer, 0, count)
  if (dtype === 'int32') return new Int32Array(buffer, 0, count)
  if (dtype === 'int8') return new Int8Array(buffer, 0, count)
  if (dtype === 'float16' || dtype === 'bfloat16') return new Uint16Array(buffer, 0, count)
  return bytes.subarray(0, count)
}
