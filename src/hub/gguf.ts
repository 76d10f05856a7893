// The GGUF container, written: typed metadata, tensor descriptions, aligned data; float32 and Q8_0 blocks. Knows nothing of
// files (gguf.node.ts) or of models (gguf-mamba.ts).
//
// The format (version 3, little-endian): "GGUF", version, counts of tensors and of metadata; each metadata entry a name, a
// type and a value; each tensor a name, its axes fastest first, a type and where its data begin; then the data, everything
// on 32-byte borders.
import { toHost } from '../backend/hostFormat.js'
import { MambakitError } from '../errors.js'

/** The types of data that are written, with the numbers that stand for them in a file. */
export const ggufTypes = { F32: 0, Q8_0: 8 } as const
export type GgufType = keyof typeof ggufTypes

export type GgufValue =
  | { readonly uint32: number }
  | { readonly float32: number }
  | { readonly bool: boolean }
  | { readonly string: string }
  | { readonly strings: readonly string[] }
  | { readonly int32s: readonly number[] }

export interface GgufTensor {
  readonly name: string
  /** Slowest axis first, as everywhere here. The last one is a multiple of 32 for Q8_0. */
  readonly shape: readonly number[]
  readonly type: GgufType
  /** Called once, when the writer has come to this tensor, so that no more than one tensor is in memory. */
  readonly values: () => Promise<Float32Array>
}

export interface GgufLayout {
  /** Everything before the data, padded. */
  readonly head: Uint8Array
  /** Bytes of each tensor with its padding, in order. */
  readonly bytes: readonly number[]
}

/** Values a block of Q8_0, which holds a float16 scale and one byte a value. */
const blockSize = 32
const alignment = 32
const aligned = (bytes: number) => Math.ceil(bytes / alignment) * alignment
const count = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1)

function dataBytes({ name, shape, type }: GgufTensor): number {
  if (type === 'F32') return 4 * count(shape)
  if (shape.length === 0 || shape[shape.length - 1] % blockSize !== 0)
    throw new MambakitError(`${name}: expected rows of a multiple of ${blockSize} for Q8_0, got [${shape}]`)
  return (count(shape) / blockSize) * (2 + blockSize)
}

/** Lays out a file: what stands before the data, and how much room each tensor takes. */
export function layoutGguf(tensors: readonly GgufTensor[], metadata: Readonly<Record<string, GgufValue>>): GgufLayout {
  const out = new Bytes()
  out.raw(new TextEncoder().encode('GGUF'))
  out.uint32(3)
  out.uint64(tensors.length)
  out.uint64(Object.keys(metadata).length)
  for (const [key, value] of Object.entries(metadata)) {
    out.string(key)
    out.value(value)
  }
  const bytes = tensors.map((tensor) => aligned(dataBytes(tensor)))
  let offset = 0
  for (const [i, { name, shape, type }] of tensors.entries()) {
    out.string(name)
    out.uint32(shape.length)
    for (const extent of [...shape].reverse()) out.uint64(extent)
    out.uint32(ggufTypes[type])
    out.uint64(offset)
    offset += bytes[i]
  }
  return { head: out.padded(), bytes }
}

/** The data of a tensor, padded. */
export async function ggufData(tensor: GgufTensor): Promise<Uint8Array> {
  const values = await tensor.values()
  if (values.length !== count(tensor.shape))
    throw new MambakitError(`${tensor.name}: expected ${count(tensor.shape)} values, got ${values.length}`)
  const data = tensor.type === 'F32' ? toHost(values, 'float32') : quantizeQ8(values)
  const out = new Uint8Array(aligned(data.length))
  out.set(data)
  return out
}

/** Blocks of 32 values: the largest magnitude is 127 steps of the block's scale. */
export function quantizeQ8(values: Float32Array): Uint8Array {
  const blocks = values.length / blockSize
  const scales = new Float32Array(blocks)
  const out = new Uint8Array(blocks * (2 + blockSize))
  const steps = new Int8Array(out.buffer)
  for (let block = 0; block < blocks; block++) {
    const first = block * blockSize
    let largest = 0
    for (let i = first; i < first + blockSize; i++) largest = Math.max(largest, Math.abs(values[i]))
    scales[block] = largest / 127
    const inverse = largest === 0 ? 0 : 127 / largest
    const to = block * (2 + blockSize) + 2
    for (let i = 0; i < blockSize; i++) {
      const x = values[first + i] * inverse
      // Halves go away from zero, as the format's own quantiser rounds them.
      steps[to + i] = Math.sign(x) * Math.floor(Math.abs(x) + 0.5)
    }
  }
  const halves = toHost(scales, 'float16')
  for (let block = 0; block < blocks; block++)
    out.set(halves.subarray(2 * block, 2 * block + 2), block * (2 + blockSize))
  return out
}

/** Bytes that grow. */
class Bytes {
  #bytes = new Uint8Array(1 << 16)
  #length = 0

  #room(more: number): DataView {
    if (this.#length + more > this.#bytes.length) {
      const grown = new Uint8Array(2 * (this.#length + more))
      grown.set(this.#bytes)
      this.#bytes = grown
    }
    this.#length += more
    return new DataView(this.#bytes.buffer, this.#length - more, more)
  }
  raw(bytes: Uint8Array): void {
    this.#room(bytes.length)
    this.#bytes.set(bytes, this.#length - bytes.length)
  }
  uint32(value: number): void {
    this.#room(4).setUint32(0, value, true)
  }
  uint64(value: number): void {
    this.#room(8).setBigUint64(0, BigInt(value), true)
  }
  string(text: string): void {
    const bytes = new TextEncoder().encode(text)
    this.uint64(bytes.length)
    this.raw(bytes)
  }
  /** The number of the type, then the value. */
  value(value: GgufValue): void {
    if ('uint32' in value) {
      this.uint32(4)
      this.uint32(value.uint32)
    } else if ('float32' in value) {
      this.uint32(6)
      this.#room(4).setFloat32(0, value.float32, true)
    } else if ('bool' in value) {
      this.uint32(7)
      this.#room(1).setUint8(0, value.bool ? 1 : 0)
    } else if ('string' in value) {
      this.uint32(8)
      this.string(value.string)
    } else if ('strings' in value) {
      this.uint32(9)
      this.uint32(8)
      this.uint64(value.strings.length)
      for (const text of value.strings) this.string(text)
    } else {
      this.uint32(9)
      this.uint32(5)
      this.uint64(value.int32s.length)
      for (const number of value.int32s) this.#room(4).setInt32(0, number, true)
    }
  }
  padded(): Uint8Array {
    this.#room(aligned(this.#length) - this.#length)
    return this.#bytes.slice(0, this.#length)
  }
}
