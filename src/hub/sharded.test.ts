import assert from 'node:assert/strict'
import { mkdtemp, rm, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { CheckpointError } from './checkpoint.js'
import { openCheckpoint } from './open.node.js'
import { serializeSafetensors, type TensorToWrite } from './safetensors.js'
import { parseShardIndex } from './sharded.js'
import { floats, legacyStorage, op, stateDictPickle, storage, tensor, torchLegacy, torchZip } from './torch.forge.js'

const bytes = (name: string, ...values: number[]): TensorToWrite => ({
  name,
  dtype: 'U8',
  shape: [values.length],
  bytes: async () => Uint8Array.from(values),
})

describe('a checkpoint in several files', () => {
  let folder = ''
  const index = () => join(folder, 'model.safetensors.index.json')
  const write = async (weight_map: unknown) => writeFile(index(), JSON.stringify({ metadata: {}, weight_map }))
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mambakit-sharded-'))
    await writeFile(join(folder, 'one.safetensors'), await serializeSafetensors([bytes('a', 1), bytes('b', 2, 3)]))
    await writeFile(join(folder, 'two.safetensors'), await serializeSafetensors([bytes('c', 4)]))
    await writeFile(join(folder, 'three.bin'), torchZip(stateDictPickle({ d: tensor(), e: tensor() })))
    const old = stateDictPickle({ f: tensor({}, storage({}, op.none)) })
    await writeFile(join(folder, 'four.bin'), torchLegacy(old, ['0'], legacyStorage(6, floats)))
  })
  after(() => rm(folder, { recursive: true }))

  const whole = {
    a: 'one.safetensors',
    c: 'two.safetensors',
    b: 'one.safetensors',
    d: 'three.bin',
    e: 'three.bin',
    f: 'four.bin',
  }

  test('is read as one, whatever form each file has', async () => {
    await write(whole)
    const reader = await openCheckpoint(index())
    assert.deepEqual([...reader.tensors.keys()].sort(), ['a', 'b', 'c', 'd', 'e', 'f'])
    assert.deepEqual([...(await reader.read('b'))], [2, 3])
    assert.deepEqual([...(await reader.read('c'))], [4])
    assert.deepEqual([...(await reader.read('f'))], [...floats])
    const part = new Uint8Array(1)
    await reader.readInto('b', 1, part)
    assert.deepEqual([...part], [3])
    const { tensors } = reader
    assert.equal(tensors.get('d')!.data, tensors.get('e')!.data)
    assert.notEqual(tensors.get('d')!.data, tensors.get('f')!.data, 'storage "0" of another file is another one')
    await assert.rejects(reader.read('z'), /tensor "z": no such tensor; the index names 6/)
    await reader.close()
  })

  test('whose index and files disagree is refused by the tensor', async () => {
    const wrong: [unknown, RegExp][] = [
      [
        { ...whole, b: 'two.safetensors' },
        /index\.json: tensor "b": is not in "two\.safetensors", where the index says/,
      ],
      [{ ...whole, b: undefined }, /tensor "b": is in "one\.safetensors" too; the index does not say so/],
      [{ ...whole, z: 'absent.bin' }, /1 of the 5 files it names are missing \("absent\.bin"\); put them beside it/],
    ]
    for (const [map, message] of wrong) {
      await write(map)
      await assert.rejects(openCheckpoint(index()), message)
    }
    await write(whole)
    await unlink(join(folder, 'two.safetensors'))
    await assert.rejects(openCheckpoint(index()), /the 4 files it names are missing \("two\.safetensors"\)/)
  })

  test('whose index leads out of its folder is refused', () => {
    for (const name of ['../x.safetensors', '/etc/passwd', 'a/b', 'a\\b', '..', '.', '', 'C:x', 'a\0', 'x'.repeat(300)])
      assert.throws(
        () => parseShardIndex(JSON.stringify({ weight_map: { w: name } }), 'index.json'),
        (error) => error instanceof CheckpointError && error.fault === 'index-outside' && error.tensor === 'w',
        name,
      )
  })

  test('whose index is no index is refused', () => {
    const wrong: [string, RegExp][] = [
      ['<html>', /^CheckpointError: i: expected a JSON object, got "<html>"$/],
      ['[]', /expected an object with weight_map/],
      ['{}', /expected an object with weight_map/],
      ['{"weight_map": []}', /expected an object with weight_map/],
      ['{"weight_map": {}}', /weight_map names no tensor/],
      ['{"weight_map": {"w": 3}}', /tensor "w": expected the name of a file, got 3/],
    ]
    for (const [text, message] of wrong) assert.throws(() => parseShardIndex(text, 'i'), message)
  })
})
