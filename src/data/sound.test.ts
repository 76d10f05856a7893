import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { zipSync } from 'fflate'
import { DataError } from './bytes.js'
import { decodeMuLaw, encodeMuLaw } from './mu-law.js'
import { readWav } from './wav.js'
import { readZip } from './zip.js'

interface WavParts {
  code?: number
  channels?: number
  rate?: number
  bits?: number
  data?: Uint8Array
  /** The extensible form of the header. */
  extensible?: boolean
  /** A chunk of three bytes, and so a byte of padding, before the data. */
  extra?: boolean
}

function wav({
  code = 1,
  channels = 1,
  rate = 8000,
  bits = 16,
  data = new Uint8Array(4),
  extensible,
  extra,
}: WavParts) {
  const format = new DataView(new ArrayBuffer(extensible ? 40 : 16))
  format.setUint16(0, extensible ? 0xfffe : code, true)
  format.setUint16(2, channels, true)
  format.setUint32(4, rate, true)
  format.setUint32(8, (rate * channels * bits) / 8, true)
  format.setUint16(12, (channels * bits) / 8, true)
  format.setUint16(14, bits, true)
  if (extensible) format.setUint16(24, code, true)
  const ascii = (text: string) => [...text].map((c) => c.charCodeAt(0))
  const length = (n: number) => [n & 255, (n >> 8) & 255, (n >> 16) & 255, (n >> 24) & 255]
  const body = [
    ...ascii('WAVE'),
    ...ascii('fmt '),
    ...length(format.byteLength),
    ...new Uint8Array(format.buffer),
    ...(extra ? [...ascii('LIST'), ...length(3), 1, 2, 3, 0] : []),
    ...ascii('data'),
    ...length(data.length),
    ...data,
  ]
  return Uint8Array.from([...ascii('RIFF'), ...length(body.length), ...body])
}
const bytesOf = (values: ArrayBufferView) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength)

test('PCM and float of every width become numbers in [-1, 1]', () => {
  const half = { 8: [192], 16: [0, 64], 24: [0, 0, 64], 32: [0, 0, 0, 64] }
  for (const [bits, data] of Object.entries(half)) {
    const sound = readWav('x.wav', wav({ bits: Number(bits), data: Uint8Array.from(data) }))
    assert.deepEqual([sound.rate, ...sound.samples], [8000, 0.5], `${bits} bits`)
  }
  const lowest = readWav('x.wav', wav({ bits: 24, data: Uint8Array.from([0, 0, 128]) }))
  assert.deepEqual([...lowest.samples], [-1])
  for (const values of [Float32Array.of(0.25, 7, Number.NaN), Float64Array.of(0.25, 7, Number.NaN)]) {
    const data = bytesOf(values)
    const sound = readWav('x.wav', wav({ code: 3, bits: 8 * values.BYTES_PER_ELEMENT, data, extensible: true }))
    assert.deepEqual([...sound.samples], [0.25, 1, 0])
  }
})

test('channels are averaged, other chunks passed over, and an open size is what is there', () => {
  const data = bytesOf(Int16Array.of(16384, -16384, 16384, 16384))
  const stereo = wav({ channels: 2, data, extra: true })
  assert.deepEqual([...readWav('x.wav', stereo).samples], [0, 0.5])
  const open = stereo.slice()
  open.set([255, 255, 255, 255], open.length - data.length - 4)
  assert.deepEqual([...readWav('x.wav', open).samples], [0, 0.5])
})

test('what is no sound we read is refused with what was expected', () => {
  const refuse = (bytes: Uint8Array, message: RegExp) => assert.throws(() => readWav('x.wav', bytes), message)
  refuse(new Uint8Array(20), /x\.wav: expected a WAV file, which starts with 'RIFF' and 'WAVE'/)
  refuse(wav({ code: 2, bits: 4 }), /expected PCM of 8, 16, 24 or 32 bits or float of 32 or 64, got format 2 of 4 bits/)
  refuse(wav({ channels: 0 }), /expected channels and samples a second, got 0 and 8000/)
  refuse(wav({ data: new Uint8Array(0) }), /expected samples, found none/)
  refuse(wav({}).slice(0, 30), /expected a 'fmt ' chunk of at least 16 bytes inside the file/)
  refuse(wav({}).slice(0, 36), /expected a 'data' chunk, the file has none/)
})

test('mutants of a WAV file are read or refused by name, and nothing else', () => {
  const valid = wav({ channels: 2, data: bytesOf(Int16Array.of(1, 2, 3, 4, 5, 6)), extra: true })
  const changes = fc.array(fc.tuple(fc.nat(valid.length - 1), fc.integer({ min: 0, max: 255 })), { maxLength: 4 })
  const seen = { read: 0, refused: 0 }
  fc.assert(
    fc.property(changes, fc.integer({ min: 0, max: valid.length }), fc.boolean(), (list, cut, whole) => {
      const mutant = valid.slice(0, whole ? valid.length : cut)
      for (const [at, byte] of list) if (at < mutant.length) mutant[at] = byte
      try {
        const { samples } = readWav('x.wav', mutant)
        assert.ok(samples.length > 0 && samples.every((x) => x >= -1 && x <= 1))
        seen.read++
      } catch (error) {
        assert.ok(error instanceof DataError, `${error}`)
        seen.refused++
      }
    }),
    { numRuns: 3000, seed: 1 },
  )
  assert.ok(seen.read > 300 && seen.refused > 300, JSON.stringify(seen))
})

test('mu-law keeps every level, is odd about silence and finest near it', () => {
  const levels = Uint8Array.from({ length: 256 }, (_, i) => i)
  const samples = decodeMuLaw(levels)
  assert.deepEqual([...encodeMuLaw(samples)], [...levels])
  for (let i = 0; i < 256; i++) assert.ok(Math.abs(samples[i] + samples[255 - i]) < 1e-6)
  assert.deepEqual([samples[0], samples[255]], [-1, 1])
  assert.ok(samples[129] - samples[128] < (samples[255] - samples[254]) / 100)
  assert.deepEqual([...encodeMuLaw(Float32Array.of(-1, 0, 1))], [0, 128, 255])
})

test('a zip gives the files that are wanted; what is none is refused', () => {
  const packed = zipSync({ 'a.wav': Uint8Array.of(1, 2), folder: { 'b.txt': [Uint8Array.of(3), { level: 0 }] } })
  assert.deepEqual([...readZip('x.zip', packed).keys()], ['a.wav', 'folder/b.txt'])
  assert.deepEqual([...readZip('x.zip', packed, (path) => path.endsWith('.wav'))], [['a.wav', Uint8Array.of(1, 2)]])
  assert.throws(() => readZip('x.zip', Uint8Array.of(1, 2, 3)), /x\.zip: expected a zip archive/)
  assert.throws(() => readZip('x.zip', packed.slice(0, 40)), /x\.zip: expected a zip archive/)
})
