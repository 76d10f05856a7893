// WAV: RIFF files of PCM or float samples, as one channel of numbers in [-1, 1].
import { DataError } from './bytes.js'

export interface Sound {
  /** Samples a second. */
  readonly rate: number
  /** The mean of all channels, in [-1, 1]. */
  readonly samples: Float32Array
}

interface Format {
  readonly code: number
  readonly channels: number
  readonly rate: number
  readonly bits: number
}

const pcm = 1
const float = 3
const extensible = 0xfffe

/** Reads 8-, 16-, 24- and 32-bit PCM and 32- and 64-bit float. Throws DataError that says what was expected where. */
export function readWav(name: string, bytes: Uint8Array): Sound {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const tag = (at: number) => String.fromCharCode(...bytes.subarray(at, at + 4))
  if (bytes.length < 12 || tag(0) !== 'RIFF' || tag(8) !== 'WAVE')
    throw new DataError(name, "expected a WAV file, which starts with 'RIFF' and 'WAVE'")
  let format: Format | null = null
  for (let at = 12; at + 8 <= bytes.length; ) {
    const id = tag(at)
    const size = view.getUint32(at + 4, true)
    const body = at + 8
    if (id === 'fmt ') format = readFormat(name, view, body, size)
    else if (id === 'data') {
      if (!format) throw new DataError(name, "expected the 'fmt ' chunk before the 'data' chunk")
      // Writers that stream leave the size open; what is there counts.
      return { rate: format.rate, samples: readSamples(name, view, body, Math.min(size, bytes.length - body), format) }
    }
    at = body + size + (size % 2)
  }
  throw new DataError(name, `expected a '${format ? 'data' : 'fmt '}' chunk, the file has none`)
}

function readFormat(name: string, view: DataView, at: number, size: number): Format {
  if (size < 16 || at + size > view.byteLength)
    throw new DataError(name, `expected a 'fmt ' chunk of at least 16 bytes inside the file, got ${size}`)
  const declared = view.getUint16(at, true)
  // The extensible form keeps the code at the head of its sub-format.
  const code = declared === extensible && size >= 26 ? view.getUint16(at + 24, true) : declared
  const format = {
    code,
    channels: view.getUint16(at + 2, true),
    rate: view.getUint32(at + 4, true),
    bits: view.getUint16(at + 14, true),
  }
  const known = code === pcm ? [8, 16, 24, 32] : code === float ? [32, 64] : []
  if (!known.includes(format.bits))
    throw new DataError(
      name,
      `expected PCM of 8, 16, 24 or 32 bits or float of 32 or 64, got format ${code} of ${format.bits} bits; convert it first`,
    )
  if (format.channels < 1 || format.rate < 1)
    throw new DataError(name, `expected channels and samples a second, got ${format.channels} and ${format.rate}`)
  return format
}

function readSamples(name: string, view: DataView, at: number, size: number, format: Format): Float32Array {
  const { channels, bits, code } = format
  const width = bits / 8
  const count = Math.floor(size / (width * channels))
  if (count === 0) throw new DataError(name, 'expected samples, found none')
  const read = sampleReader(view, code, bits)
  const samples = new Float32Array(count)
  for (let t = 0; t < count; t++) {
    let sum = 0
    for (let c = 0; c < channels; c++) sum += read(at + (t * channels + c) * width)
    const mean = sum / channels
    // NaN and what lies outside become silence and the nearest end.
    samples[t] = Math.min(1, Math.max(-1, Number.isNaN(mean) ? 0 : mean))
  }
  return samples
}

function sampleReader(view: DataView, code: number, bits: number): (at: number) => number {
  if (code === float) return bits === 32 ? (at) => view.getFloat32(at, true) : (at) => view.getFloat64(at, true)
  switch (bits) {
    case 8:
      return (at) => (view.getUint8(at) - 128) / 128
    case 16:
      return (at) => view.getInt16(at, true) / 32768
    case 24:
      return (at) => (view.getInt8(at + 2) * 65536 + view.getUint16(at, true)) / 8388608
    default:
      return (at) => view.getInt32(at, true) / 2147483648
  }
}
