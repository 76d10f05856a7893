import assert from 'node:assert/strict'
import { mkdtemp, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, mock, test } from 'node:test'
import { DiskFullError } from './atomic.node.js'
import { CheckpointError, type StoredDtype } from './checkpoint.js'
import { loadedDtype, narrowing, toTensorBytes } from './convert.js'
import {
  maxHeaderBytes,
  parseSafetensors,
  SafetensorsError,
  type SafetensorsFault,
  serializeSafetensors,
  type TensorToWrite,
} from './safetensors.js'
import { openSafetensors, writeSafetensors } from './safetensors.node.js'

const source = (name: string, dtype: TensorToWrite['dtype'], shape: number[], bytes: Uint8Array): TensorToWrite => ({
  name,
  dtype,
  shape,
  bytes: async () => bytes,
})

const floats = new Uint8Array(new Float32Array([1, -2.5, 3e38, Number.NaN, 0, 6]).buffer)
const example: TensorToWrite[] = [
  source('mask', 'BOOL', [3], Uint8Array.of(1, 0, 1)),
  source('halves', 'F16', [1, 2], Uint8Array.of(0, 60, 0, 188)),
  source('weight', 'F32', [2, 3], floats),
  source('empty', 'I32', [0, 4], new Uint8Array()),
  source('scalar', 'U8', [], Uint8Array.of(7)),
  source('__proto__', 'I8', [2], Uint8Array.of(255, 1)),
]

/** A file with any header, well-formed or not, followed by `dataBytes` zero bytes. */
function forge(header: unknown, dataBytes = 0): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header))
  const out = new Uint8Array(8 + json.length + dataBytes)
  new DataView(out.buffer).setBigUint64(0, BigInt(json.length), true)
  out.set(json, 8)
  return out
}

function fault(bytes: Uint8Array, expected: SafetensorsFault, message: RegExp, tensor: string | null = null): void {
  assert.throws(
    () => parseSafetensors(bytes, 'model.safetensors'),
    (error) => {
      assert.ok(error instanceof SafetensorsError, String(error))
      assert.equal(error.fault, expected, error.message)
      assert.equal(error.tensor, tensor)
      assert.match(error.message, message)
      assert.ok(error.message.startsWith('model.safetensors: '))
      assert.ok(!error.message.includes('\n'))
      return true
    },
  )
}

describe('safetensors header', () => {
  const f32 = (begin: number, end: number, shape = [(end - begin) / 4]) => ({
    dtype: 'F32',
    shape,
    data_offsets: [begin, end],
  })

  test('reads a file laid out by hand', async () => {
    const bytes = forge({ __metadata__: { format: 'pt' }, b: f32(8, 12, [1, 1]), a: f32(0, 8) }, 12)
    bytes[bytes.length - 1] = 0x40
    const file = parseSafetensors(bytes)
    assert.deepEqual(file.metadata, { format: 'pt' })
    assert.deepEqual([...file.tensors.keys()], ['a', 'b'])
    assert.deepEqual(file.tensors.get('b')?.shape, [1, 1])
    assert.deepEqual([...(await file.read('b'))], [0, 0, 0, 0x40])
  })

  test('refuses lengths that lie', () => {
    fault(new Uint8Array(5), 'header-length', /at least 8 bytes, got 5/)
    const beyond = forge({})
    new DataView(beyond.buffer).setBigUint64(0, 4096n, true)
    fault(beyond, 'header-length', /4096 is beyond the file's 10 bytes/)
    for (const huge of [BigInt(maxHeaderBytes) + 1n, 2n ** 64n - 1n]) {
      new DataView(beyond.buffer).setBigUint64(0, huge, true)
      fault(beyond, 'header-length', /over the limit/)
    }
  })

  test('refuses headers that are not a JSON object', () => {
    fault(forge('{"a":'), 'header-json', /not JSON/)
    fault(forge('[1]'), 'header-json', /JSON object, got "\[1\]"/)
    fault(forge('null'), 'header-json', /JSON object/)
    fault(forge('   {}'), 'header-json', /JSON object/)
    const notUtf8 = forge('{"aa":1}')
    notUtf8[10] = 0xff
    fault(notUtf8, 'header-json', /not UTF-8/)
  })

  test('refuses entries that are not entries', () => {
    fault(forge({ __metadata__: 3 }), 'metadata', /got 3/)
    fault(forge({ __metadata__: { a: 1 } }), 'metadata', /got 1 at "a"/)
    fault(forge({ a: 5 }), 'entry', /got 5/, 'a')
    fault(forge({ a: null }), 'entry', /got null/, 'a')
    fault(forge({ a: { ...f32(0, 4), dtype: 'F31' } }, 4), 'dtype', /F32.*got "F31"/, 'a')
    fault(forge({ a: { ...f32(0, 4), dtype: 'toString' } }, 4), 'dtype', /got "toString"/, 'a')
    fault(forge({ a: { shape: [1], data_offsets: [0, 4] } }, 4), 'dtype', /got nothing/, 'a')
    for (const shape of [[-1], [1.5], ['1'], 1, [2 ** 60], null]) {
      fault(forge({ a: { ...f32(0, 4), shape } }, 4), 'shape', /list of sizes/, 'a')
    }
    for (const offsets of [[0], [0, 4, 8], [-4, 0], [0, '4'], 'x', [0, 2 ** 63]]) {
      fault(forge({ a: { ...f32(0, 4), data_offsets: offsets } }, 4), 'offsets', /\[begin, end\]/, 'a')
    }
    fault(forge({ a: { ...f32(0, 4), data_offsets: [4, 0] } }, 4), 'offsets', /backwards/, 'a')
    fault(forge({ a: f32(0, 8) }, 4), 'offsets', /beyond the file's 4 bytes/, 'a')
  })

  test('refuses sizes, overlaps and holes', () => {
    fault(forge({ a: f32(0, 8, [3]) }, 8), 'size', /expected 12 bytes for F32 \[3\], got 8/, 'a')
    fault(forge({ a: f32(0, 8, [2 ** 52, 2 ** 52, 2 ** 52]) }, 8), 'size', /got 8/, 'a')
    fault(forge({ a: f32(0, 8), b: f32(4, 8) }, 8), 'overlap', /begin at 4, inside the data of "a"/, 'b')
    fault(forge({ a: f32(0, 4), b: f32(8, 12) }, 12), 'hole', /begin at 8, expected 4/, 'b')
    fault(forge({ a: f32(4, 8) }, 8), 'hole', /begin at 4, expected 0/, 'a')
    fault(forge({ a: f32(0, 4) }, 6), 'hole', /2 bytes follow/)
  })

  test('refuses a name that stands twice, however it is written', () => {
    const entry = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
    fault(forge(`{"a":${entry},"b":${entry},"a":${entry}}`, 1), 'duplicate-name', /"a" stands twice/)
    fault(forge(`{"a":${entry},"\\u0061" : ${entry}}`, 1), 'duplicate-name', /"a" stands twice/)
    fault(forge('{"a":{"dtype":"U8","dtype":"I8"}}', 1), 'duplicate-name', /"dtype" stands twice/)
    const values = parseSafetensors(forge('{"__metadata__":{"x":"y","y":"x:{","z":"\\""}}'))
    assert.deepEqual(values.metadata, { x: 'y', y: 'x:{', z: '"' })
  })
})

describe('safetensors files', () => {
  let folder = ''
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mambakit-safetensors-'))
  })
  after(() => rm(folder, { recursive: true }))

  test('come back as they were written, on disk and in memory, aligned to their dtype', async () => {
    const path = join(folder, 'example.safetensors')
    await writeSafetensors(path, example, { step: '12', ключ: '値' })
    const bytes = new Uint8Array(await readFile(path))
    assert.deepEqual(bytes, await serializeSafetensors(example, { step: '12', ключ: '値' }))
    assert.equal(new DataView(bytes.buffer).getUint32(0, true) % 8, 0)
    const shifted = new Uint8Array(bytes.length + 1)
    shifted.set(bytes, 1)
    for (const file of [await openSafetensors(path), parseSafetensors(bytes), parseSafetensors(shifted.subarray(1))]) {
      assert.deepEqual(file.metadata, { step: '12', ключ: '値' })
      assert.deepEqual([...file.tensors.keys()].sort(), example.map(({ name }) => name).sort())
      for (const { name, dtype, shape, bytes: expected } of example) {
        const entry = file.tensors.get(name)!
        assert.deepEqual([entry.dtype, entry.shape], [dtype, shape])
        assert.deepEqual(new Uint8Array(await file.read(name)), await expected())
      }
      const weight = await file.read('weight')
      assert.equal(new Float32Array(weight.buffer, weight.byteOffset, 6)[1], -2.5)
      assert.equal(file.tensors.get('weight')!.begin % 4, 0)
      await assert.rejects(file.read('wieght'), /tensor "wieght": no such tensor; the file holds 6 /)
      await file.close()
    }
  })

  test('a cut-off file is an error when opened, and when it shrinks while open', async () => {
    const path = join(folder, 'cut.safetensors')
    await writeSafetensors(path, example)
    const file = await openSafetensors(path)
    const { begin } = file.tensors.get('weight')!
    await truncate(path, begin + 8)
    await assert.rejects(file.read('weight'), (error) => {
      assert.ok(error instanceof SafetensorsError && error.fault === 'truncated' && error.tensor === 'weight')
      return true
    })
    await file.close()
    await assert.rejects(openSafetensors(path), /cut\.safetensors: tensor ".*cut off/)
    await truncate(path, 3)
    await assert.rejects(openSafetensors(path), /at least 8 bytes, got 3/)
    await assert.rejects(openSafetensors(join(folder, 'absent')), { code: 'ENOENT' })
    await assert.rejects(openSafetensors(folder), /: expected a file, got a folder$/)
  })

  test('a writer that fails leaves the old file and no other', async () => {
    const path = join(folder, 'kept', 'old.safetensors')
    await assert.rejects(writeSafetensors(path, example), { code: 'ENOENT' })
    const kept = await mkdtemp(join(folder, 'kept-'))
    const old = join(kept, 'old.safetensors')
    await writeFile(old, 'old')
    const short = source('short', 'F32', [2], new Uint8Array(4))
    await assert.rejects(writeSafetensors(old, [...example, short]), /tensor "short": expected 8 bytes/)
    await assert.rejects(writeSafetensors(old, [short, short]), /each name once/)
    await assert.rejects(writeSafetensors(old, [{ ...short, name: '__metadata__' }]), /not __metadata__/)

    const handle = await open(old, 'r')
    const handles = Object.getPrototypeOf(handle)
    await handle.close()
    const full = mock.method(handles, 'write', async () => {
      throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
    })
    await assert.rejects(writeSafetensors(old, example), (error) => {
      assert.ok(error instanceof DiskFullError)
      assert.match(error.message, /old\.safetensors: the disk is full; nothing was overwritten/)
      return true
    })
    full.mock.restore()
    assert.deepEqual(await readdir(kept), ['old.safetensors'])
    assert.equal(await readFile(old, 'utf8'), 'old')
  })

  test('a write that stops short is continued', async () => {
    const path = join(folder, 'slow.safetensors')
    const probe = await open(path, 'w')
    const handles = Object.getPrototypeOf(probe)
    await probe.close()
    const write = handles.write
    const slow = mock.method(
      handles,
      'write',
      function (this: unknown, bytes: Uint8Array, from: number, length: number) {
        return write.call(this, bytes, from, Math.min(length, 5))
      },
    )
    await writeSafetensors(path, example)
    assert.ok(slow.mock.callCount() > 20)
    slow.mock.restore()
    assert.deepEqual(new Uint8Array(await readFile(path)), await serializeSafetensors(example))
  })
})

describe('the border to tensor dtypes', () => {
  const convert = (dtype: StoredDtype, bytes: Uint8Array) => {
    const source = { file: 'm', name: 't', dtype }
    return { dtype: loadedDtype(dtype), bytes: toTensorBytes(source, bytes), told: narrowing(source) }
  }
  const wide = (...values: bigint[]) => new Uint8Array(BigInt64Array.from(values).buffer)
  const double = (...values: number[]) => new Uint8Array(Float64Array.from(values).buffer)

  test('int64 becomes int32 where every value fits, and says so', () => {
    const { dtype, bytes, told } = convert('I64', wide(-(2n ** 31n), 2n ** 31n - 1n, 5n))
    assert.equal(dtype, 'int32')
    assert.deepEqual([...new Int32Array(bytes.buffer)], [-(2 ** 31), 2 ** 31 - 1, 5])
    assert.match(told!, /m: tensor "t" is int64; read as int32/)
    assert.throws(
      () => convert('I64', wide(1n, 2n ** 31n)),
      /m: tensor "t": element 1 is 2147483648; expected an int64/,
    )
    assert.throws(() => convert('I64', wide(-(2n ** 63n))), CheckpointError)
  })

  test('float64 becomes float32 within its range, and says so', () => {
    const { dtype, bytes, told } = convert('F64', double(0.1, Number.POSITIVE_INFINITY, Number.NaN))
    assert.equal(dtype, 'float32')
    assert.deepEqual([...new Float32Array(bytes.buffer)], [Math.fround(0.1), Number.POSITIVE_INFINITY, Number.NaN])
    assert.match(told!, /float64; read as float32/)
    assert.throws(() => convert('F64', double(1e39)), /element 0 is 1e\+39; expected a float64 within/)
  })

  test('other dtypes pass as they are; a BOOL holds 0 and 1 only', () => {
    const halves = Uint8Array.of(1, 2)
    assert.deepEqual(convert('BF16', halves), { dtype: 'bfloat16', bytes: halves, told: null })
    assert.equal(convert('BOOL', Uint8Array.of(0, 1)).dtype, 'bool')
    assert.throws(() => convert('BOOL', Uint8Array.of(0, 2)), /element 1 is 2; expected 0 or 1/)
  })
})
