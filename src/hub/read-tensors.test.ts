import assert from 'node:assert/strict'
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { openDevice } from '../backend/open.js'
import type { Backend } from '../backend/types.js'
import type { CheckpointReader, StoredDtype } from './checkpoint.js'
import { readCheckpoint } from './open.js'
import { openCheckpoint } from './open.node.js'
import { memoryRanges, type Ranges } from './ranges.js'
import { pieceBytes, readTensors } from './read-tensors.js'
import { floats, stateDictPickle, tensor, torchZip } from './torch.forge.js'

/** A safetensors file with any dtypes, whose header may leave its data at any position. */
function forge(tensors: readonly [string, StoredDtype, Uint8Array, number][], pad: number): Uint8Array {
  let offset = 0
  const entries = tensors.map(([name, dtype, bytes, width]) => {
    const data_offsets = [offset, (offset += bytes.length)]
    return [name, { dtype, shape: [bytes.length / width], data_offsets }] as const
  })
  const text = JSON.stringify(Object.fromEntries(entries))
  const head = new TextEncoder().encode(text + ' '.repeat(((8 - (text.length % 8)) % 8) + pad))
  const out = new Uint8Array(8 + head.length + offset)
  new DataView(out.buffer).setBigUint64(0, BigInt(head.length), true)
  out.set(head, 8)
  let at = 8 + head.length
  for (const [, , bytes] of tensors) {
    out.set(bytes, at)
    at += bytes.length
  }
  return out
}

const noise = (length: number, seed: number) =>
  Uint8Array.from({ length }, (_, i) => (Math.imul(i + seed, 0x9e3779b1) >>> 13) & 0x3f)

describe('tensors of a checkpoint', () => {
  let folder = ''
  const devices: Backend[] = []
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mambakit-read-'))
    for (const name of ['cpu', 'wasm'] as const) devices.push((await openDevice(name)).backend)
  })
  after(async () => {
    for (const device of devices) await device.close()
    await rm(folder, { recursive: true })
  })

  const doubles = new Uint8Array(Float64Array.from({ length: 1000 }, (_, i) => i / 8).buffer)
  const content: [string, StoredDtype, Uint8Array, number][] = [
    ['small', 'F32', noise(40, 1), 4],
    ['long', 'F32', noise(2 * pieceBytes + 12, 2), 4],
    ['half', 'F16', noise(14, 3), 2],
    ['double', 'F64', doubles, 8],
    ['bytes', 'U8', noise(pieceBytes - 3, 4), 1],
    ['empty', 'F32', new Uint8Array(), 4],
    ['flags', 'BOOL', Uint8Array.of(1, 0, 1), 1],
    ['last', 'F32', noise(4, 5), 4],
  ]

  const check = async (reader: CheckpointReader, backend: Backend, map = false) => {
    const names = content.map(([name]) => name)
    const told: string[] = []
    const tensors = await readTensors(reader, names, { backend, map, announce: (line) => told.push(line) })
    for (const [i, [name, dtype, bytes]] of content.entries()) {
      const expected =
        dtype === 'F64' ? new Uint8Array(Float32Array.from({ length: 1000 }, (_, i) => i / 8).buffer) : bytes
      assert.deepEqual(Buffer.compare(await tensors[i].bytes(), expected), 0, name)
    }
    for (const each of tensors) each.dispose()
    assert.deepEqual(told, [`${reader.file}: tensor "double" is float64; read as float32, rounded`])
    await reader.close()
  }

  test('are the same mapped, read in pieces, and read where their data are not aligned', async () => {
    for (const pad of [0, 3]) {
      const bytes = forge(content, pad)
      const path = join(folder, `${pad}.safetensors`)
      await writeFile(path, bytes)
      for (const backend of devices) {
        await check(await openCheckpoint(path), backend)
        if (backend.mapRanges) await check(await openCheckpoint(path), backend, true)
        await check(await readCheckpoint(memoryRanges(bytes, 'memory')), backend)
      }
    }
  })

  test('are not mapped where the device cannot', async () => {
    const reader = await readCheckpoint(memoryRanges(forge(content, 0), 'memory'))
    await assert.rejects(
      readTensors(reader, [], { backend: devices[1], map: true }),
      /map: device wasm cannot share files/,
    )
  })

  test('neighbours are read at once', async () => {
    const bytes = forge(content, 0)
    const inner = memoryRanges(bytes, 'memory')
    let reads = 0
    const ranges: Ranges = {
      ...inner,
      readInto(target, position) {
        reads++
        return inner.readInto(target, position)
      },
    }
    const reader = await readCheckpoint(ranges)
    reads = 0
    await check(reader, devices[1])
    assert.ok(reads <= Math.ceil(bytes.length / pieceBytes) + 1, `${reads} reads`)
  })

  test('of a PyTorch file may be strided, and its headers are read over', async () => {
    const pickle = stateDictPickle({
      t: tensor({ shape: [3, 2], strides: [1, 3] }),
      a: tensor(),
      b: tensor({ key: '1', shape: [6], strides: [1] }),
    })
    const path = join(folder, 'model.bin')
    await writeFile(path, torchZip(pickle, { 0: floats, 1: floats }))
    for (const backend of devices) {
      const reader = await openCheckpoint(path)
      const tensors = await readTensors(reader, [...reader.tensors.keys()], { backend })
      const values = await Promise.all(tensors.map(async (each) => [...((await each.data()) as Float32Array)]))
      const named = Object.fromEntries([...reader.tensors.keys()].map((name, i) => [name, values[i]]))
      assert.deepEqual(named, { t: [1, 4, 2, 5, 3, 6], a: [1, 2, 3, 4, 5, 6], b: [1, 2, 3, 4, 5, 6] })
      for (const each of tensors) each.dispose()
      await reader.close()
    }
  })

  test('of a file that was cut since are refused by name, on every device', async () => {
    const path = join(folder, 'cut.safetensors')
    const ways = devices.flatMap((backend) =>
      (backend.mapRanges ? [false, true] : [false]).map((map) => ({ backend, map })),
    )
    for (const way of ways) {
      await writeFile(path, forge(content, 0))
      const reader = await openCheckpoint(path)
      await truncate(path, 1000)
      await assert.rejects(
        readTensors(reader, ['small', 'long', 'half'], way),
        /cut\.safetensors: tensor "long": expected data up to byte \d+, but the file now ends at 1000; it was changed/,
      )
      await reader.close()
    }
  })
})
