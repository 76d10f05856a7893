import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { CheckpointError, type CheckpointReader } from './checkpoint.js'
import { readCheckpoint } from './open.js'
import { openCheckpoint } from './open.node.js'
import { maxPickleBytes } from './pickle.js'
import { blobRanges, memoryRanges } from './ranges.js'
import {
  type ForgedEntry,
  type ForgedTensor,
  floats,
  latin1,
  legacyStorage,
  op,
  ordered,
  stateDictPickle,
  storage,
  tensor,
  torchLegacy,
  torchZip,
  zipOf,
} from './torch.forge.js'

const open = (bytes: Uint8Array) => readCheckpoint(memoryRanges(bytes, 'm.bin'))

async function refused(bytes: Uint8Array, fault: string, message: RegExp, name: string | null = null): Promise<void> {
  await assert.rejects(open(bytes), (error) => {
    assert.ok(error instanceof CheckpointError, String(error))
    assert.match(error.message, message)
    assert.deepEqual([error.fault, error.tensor], [fault, name], error.message)
    assert.ok(error.message.startsWith('m.bin: ') && !error.message.includes('\n'))
    return true
  })
}

const values = async (reader: CheckpointReader, name: string) => {
  const bytes = await reader.read(name)
  const parts = new Uint8Array(bytes.length)
  for (let at = 0; at < parts.length; at += 8) await reader.readInto(name, at, parts.subarray(at, at + 8))
  assert.deepEqual(parts, bytes)
  return [...new Float32Array(bytes.slice().buffer)]
}

describe('a PyTorch zip file', () => {
  test('gives its tensors: whole, views, transposed, shared, parameters, scalars and empty ones', async () => {
    const parameter = op.call(op.global('torch._utils', '_rebuild_parameter'), op.tuple(tensor(), '\x88', ordered))
    const pickle = stateDictPickle({
      plain: tensor(),
      parameter,
      row: tensor({ offset: 3, shape: [3], strides: [1] }),
      transposed: tensor({ shape: [3, 2], strides: [1, 3] }),
      scalar: tensor({ offset: 5, shape: [], strides: [] }),
      empty: tensor({ shape: [0, 4], strides: [4, 1] }),
      one: tensor({ shape: [1, 2], strides: [99, 1] }),
    })
    for (const reader of [
      await open(torchZip(pickle)),
      await readCheckpoint(blobRanges(new Blob([torchZip(pickle) as Uint8Array<ArrayBuffer>]), 'm.bin')),
    ]) {
      assert.deepEqual(await values(reader, 'plain'), [1, 2, 3, 4, 5, 6])
      assert.deepEqual(await values(reader, 'parameter'), [1, 2, 3, 4, 5, 6])
      assert.deepEqual(await values(reader, 'row'), [4, 5, 6])
      assert.deepEqual(await values(reader, 'transposed'), [1, 4, 2, 5, 3, 6])
      assert.deepEqual(await values(reader, 'scalar'), [6])
      assert.deepEqual(await values(reader, 'empty'), [])
      assert.deepEqual(await values(reader, 'one'), [1, 2])
      const { tensors } = reader
      assert.deepEqual(tensors.get('transposed')!.shape, [3, 2])
      assert.equal(tensors.get('plain')!.data, tensors.get('parameter')!.data)
      assert.notEqual(tensors.get('plain')!.data, tensors.get('transposed')!.data)
      await assert.rejects(
        reader.read('absent'),
        /^TorchError: m\.bin: tensor "absent": no such tensor; the file holds 7$/,
      )
      await reader.close()
    }
  })

  test('may have 64-bit sizes, a comment, and folders', async () => {
    const entries: ForgedEntry[] = [
      { name: 'archive/', data: new Uint8Array() },
      { name: 'archive/data.pkl', data: latin1(stateDictPickle({ w: tensor() })), wide: true },
      { name: 'archive/byteorder', data: latin1('little') },
      { name: 'archive/data/0', data: floats, wide: true },
    ]
    for (const options of [{ wide: true }, { comment: 'saved today PK\x05\x06' }])
      assert.deepEqual(await values(await open(zipOf(entries, options)), 'w'), [1, 2, 3, 4, 5, 6])
  })

  test('that is damaged as a zip file is refused', async () => {
    const pickle: ForgedEntry = { name: 'a/data.pkl', data: latin1(stateDictPickle({ w: tensor() })) }
    const data: ForgedEntry = { name: 'a/data/0', data: floats }
    const zip = zipOf([pickle, data])
    await refused(zip.subarray(0, zip.length - 30), 'zip-cut-off', /no directory at its end; the file is cut off/)
    await refused(zipOf([pickle, { ...data, method: 8 }]), 'zip-compressed', /"a\/data\/0" is compressed \(method 8\)/)
    await refused(zipOf([pickle, { ...data, flags: 1 }]), 'zip-encrypted', /is encrypted/)
    await refused(zipOf([pickle, { ...data, bytes: 1e6 }]), 'zip-range', /would end at byte \d+, beyond/)
    await refused(zipOf([pickle, { ...data, shift: 1e6 }]), 'zip-range', /outside the file's \d+ bytes/)
    await refused(zipOf([pickle, { ...data, shift: -1 }]), 'zip', /header of entry "a\/data\/0" is not at byte/)
    await refused(zipOf([pickle, { ...data, wide: true, bytes: 2 ** 60 }]), 'zip-range', /no file is that long/)
    await refused(zipOf([pickle, data, data]), 'zip-duplicate', /stands twice/)
    const inside = zipOf([{ ...pickle, bytes: pickle.data.length + 8 }, data])
    await refused(inside, 'zip-range', /"a\/data\/0" begins inside the data of "a\/data\.pkl"/)
    await refused(zipOf([data]), 'torch-layout', /holds no data\.pkl/)
  })

  test('whose tensors reach beyond their storage, overlap, or have no data is refused by their name', async () => {
    const one = (forged: ForgedTensor) => torchZip(stateDictPickle({ w: tensor(forged) }))
    await refused(one({ offset: 1 }), 'torch-range', /"w": reaches element 6 of storage "0", which has 6/, 'w')
    await refused(one({ shape: [2 ** 31 - 1, 3] }), 'torch-range', /reaches element/, 'w')
    await refused(one({ shape: [3, 3], strides: [1, 1] }), 'torch-range', /its 9 elements overlap \(strides 1,1\)/, 'w')
    await refused(one({ offset: -1 }), 'torch-shape', /expected an offset, sizes and strides, got -1,/, 'w')
    await refused(one({ shape: [6] }), 'torch-shape', /got 0,\(6\),\(3, 1\)/, 'w')
    await refused(one({ elements: 7 }), 'torch-storage', /storage "0": expected 28 bytes \(7 of F32\), got 24/)
    await refused(one({ key: '../0' }), 'torch-storage', /storage "\.\.\/0": the zip file holds no data for it/)
    await refused(one({ type: 'ShortStorage' }), 'torch-dtype', /torch\.ShortStorage is not read; expected one of/, 'w')
    const twice = stateDictPickle({ w: tensor(), v: tensor({ type: 'IntStorage' }) })
    await refused(torchZip(twice), 'torch-storage', /"0" is described in two ways/, 'v')
  })

  test('of a training run gives the weights in it, under model or state_dict', async () => {
    const weights = op.dict(op.text('w'), tensor(), op.text('row'), tensor({ offset: 3, shape: [3], strides: [1] }))
    for (const key of ['model', 'state_dict']) {
      const pickle = stateDictPickle({ epoch: op.int(3), [key]: weights, model_ema: op.dict(op.text('w'), op.none) })
      const reader = await open(torchZip(pickle))
      assert.deepEqual([...reader.tensors.keys()].sort(), ['row', 'w'])
      assert.deepEqual(await values(reader, 'row'), [4, 5, 6])
    }
  })

  test('of a training run gives the only state dict in it, and where there are several asks for one', async () => {
    const weights = op.dict(op.text('w'), tensor())
    const other = op.dict(op.text('v'), tensor({ key: '1' }))
    const optimizer = op.dict(op.text('state'), op.dict(op.int(0), op.dict(op.text('exp_avg'), tensor({ key: '1' }))))
    const storages = { 0: floats, 1: floats }
    const inside = stateDictPickle({ epoch: op.int(3), net: op.dict(op.text('weights'), weights), optimizer })
    const reader = await open(torchZip(inside, storages))
    assert.deepEqual([...reader.tensors.keys()], ['w'])
    const data = legacyStorage(6, floats) + legacyStorage(6, Uint8Array.from(floats).reverse())
    const older = await open(torchLegacy(inside, ['1', '0'], data))
    assert.notDeepEqual(await values(older, 'w'), [1, 2, 3, 4, 5, 6])
    assert.deepEqual(await values(await open(torchLegacy(inside, ['0', '1'], data)), 'w'), [1, 2, 3, 4, 5, 6])
    await refused(
      torchZip(stateDictPickle({ netG: weights, nets: op.dict(op.text('D'), other) }), storages),
      'torch-not-a-dict',
      /holds 2 state dicts: \["netG"\], \["nets"\]\["D"\]; save the one to take by itself: torch\.save\(torch\.load\(file\)\["netG"\], \.\.\.\)/,
    )
    await refused(
      torchZip(stateDictPickle({ model: op.dict(op.text('w'), tensor(), op.text('n'), op.int(3)) })),
      'torch-not-a-tensor',
      /"n": expected a tensor, got 3/,
      'n',
    )
  })

  test('that is no state dict is refused', async () => {
    const zip = (value: string) => torchZip(op.begin + value + op.end)
    await refused(zip(op.list()), 'torch-not-a-dict', /expected a state dict, got a list; save model\.state_dict\(\)/)
    await refused(zip(op.dict(op.int(1), tensor())), 'torch-not-a-dict', /expected names of tensors, got 1/)
    const pickle = (value: string) => torchZip(stateDictPickle({ epoch: value }))
    for (const [value, shown] of [
      [op.int(3), '3'],
      [op.none, 'None'],
      [op.dict(), 'a dict'],
      [op.text('x'), '"x"'],
      [storage({}), 'a storage'],
      [op.tuple(op.text('x')), 'a tuple'],
      ['\x88', 'true'],
    ])
      await refused(pickle(value), 'torch-not-a-tensor', new RegExp(`expected a tensor, got ${shown};`), 'epoch')
    await refused(
      pickle(tensor({}, op.int(3))),
      'torch-storage',
      /expected a storage with type, key and length/,
      'epoch',
    )
    const big = torchZip(stateDictPickle({ w: tensor() }), { 0: floats }, [
      { name: 'archive/byteorder', data: latin1('big') },
    ])
    await refused(big, 'torch-byte-order', /expected little-endian data, got byte order "big"/)
  })
})

describe('a pickle', () => {
  const zip = (pickle: string) => torchZip(pickle)
  test('that names anything but tensors, storages and OrderedDict is refused by that name, called or not', async () => {
    const names: [string, string][] = [
      ['os', 'system'],
      ['builtins', 'eval'],
      ['torch', 'load'],
      ['torch', 'FloatStorage.x'],
      ['torch._utils', '_rebuild_tensor'],
      ['collections', 'Counter'],
    ]
    for (const [module, name] of names) {
      const global = op.global(module, name)
      const shown = new RegExp(
        `the pickle names "${module}\\.${name}"; only tensors, storages and OrderedDict are read`,
      )
      await refused(zip(op.begin + global + op.end), 'pickle-global', shown)
      await refused(zip(op.begin + op.call(global, op.tuple(op.text('id'))) + op.end), 'pickle-global', shown)
      const stacked = `${op.text(module)}${op.text(name)}\x93`
      await refused(zip(op.begin + stacked + op.end), 'pickle-global', shown)
    }
  })

  test('with opcodes that run code or that torch.save never writes is refused', async () => {
    for (const opcode of ['i', 'o', '\x81', '\x92', '\x82', 'P', 'S', '\x97'])
      await refused(
        zip(op.begin + opcode + op.end),
        'pickle-opcode',
        /opcode 0x[0-9a-f]{2} at byte 2 of the pickle; torch\.save writes none such/,
      )
  })

  test('that is malformed is refused where it goes wrong', async () => {
    const wrong: [string, RegExp][] = [
      ['\x80\x00N.', /expected protocol 2 to 5, got 0/],
      [`${op.begin}.`, /expected a value on the stack, found none/],
      [`${op.begin}0.`, /expected a value on the stack, found none/],
      [`${op.begin}t.`, /expected a mark on the stack, found none/],
      [`${op.begin}h\x05.`, /nothing was remembered under 5/],
      [`${op.begin}NNs.`, /expected a value on the stack/],
      [`${op.begin}NNNs.`, /expected a dict and pairs to set in it/],
      [`${op.begin}NNa.`, /expected a list to append to/],
      [`${op.begin}NNR.`, /expected a call of a named function with a tuple/],
      [`${op.begin}NN\x93.`, /expected the name of a global/],
      [`${op.begin}NNb.`, /expected attributes of an OrderedDict only/],
      [`${op.begin}${op.call(op.global('collections', 'OrderedDict'), op.tuple(op.int(1)))}.`, /expected an empty/],
      [`${op.begin}${op.call(op.global('torch', 'FloatStorage'), ')')}.`, /expected it as the type of a storage/],
      [`${op.begin}X\x01\x00\x00\x00\xff.`, /bytes that are not UTF-8/],
      [`${op.begin}${'N0'.repeat(1 << 19)}N.`, /more than 1048576 operations; this is no state dict/],
    ]
    for (const [pickle, message] of wrong) await refused(zip(pickle), 'pickle', message)
    for (const cut of [`${op.begin}N`, `${op.begin}X\xff\xff\xff\xffabc.`, `${op.begin}cos`, '\x80'])
      await refused(zip(cut), 'pickle-cut-off', /is cut off/)
    await refused(zip('N'.repeat(maxPickleBytes + 1)), 'torch-layout', /data\.pkl takes \d+ bytes/)
  })

  test('may use newer opcodes, numbers of any size, and values remembered', async () => {
    const noise = [
      `\x8a\x09${'\xff'.repeat(9)}`,
      `G${'\0'.repeat(8)}`,
      'M\x01\x02',
      'K\x07',
      '\x8c\x01z',
      '\x88',
      ')',
      'N\x85',
    ]
    const pickle = `${op.begin}\x95${'\0'.repeat(8)}(${noise.join('')}1}\x94${op.text('w')}q\x05${tensor()}s0h\x00.`
    assert.deepEqual(await values(await open(zip(pickle)), 'w'), [1, 2, 3, 4, 5, 6])
  })
})

describe("PyTorch's older form", () => {
  const pickle = stateDictPickle({
    w: tensor({}, storage({}, op.none)),
    v: tensor({ key: '1', shape: [6], strides: [1] }),
  })
  const data =
    legacyStorage(6, floats) +
    legacyStorage(
      6,
      floats.map((byte) => byte),
    )
  test('gives its tensors', async () => {
    const reader = await open(torchLegacy(pickle, ['1', '0'], data))
    assert.deepEqual(await values(reader, 'w'), [1, 2, 3, 4, 5, 6])
    assert.deepEqual(await values(reader, 'v'), [1, 2, 3, 4, 5, 6])
  })

  test('that is damaged is refused', async () => {
    await refused(latin1(`${op.begin}N.`), 'torch-layout', /not one of torch\.save/)
    await refused(torchLegacy(pickle, ['1'], data), 'torch-storage', /storage "0": the file holds no data for it/)
    await refused(torchLegacy(pickle, ['1', '1'], data), 'torch-storage', /list of storages does not fit/)
    await refused(torchLegacy(pickle, ['1', '2'], data), 'torch-storage', /list of storages does not fit/)
    await refused(torchLegacy(pickle, ['1', '0'], data.slice(0, -1)), 'torch-storage', /expected 6 elements inside/)
    await refused(torchLegacy(pickle, ['1', '0'], legacyStorage(5, floats)), 'torch-storage', /got 5 at byte/)
    await refused(torchLegacy(pickle, ['1', '0'], ''), 'truncated', /cut off at byte/)
    await refused(torchLegacy(pickle, [], '').subarray(0, 60), 'pickle-cut-off', /cut off/)
    const big = op.dict(op.text('little_endian'), '\x89')
    await refused(torchLegacy(pickle, ['1', '0'], data, big), 'torch-byte-order', /byte order "big"/)
    const view = stateDictPickle({ w: tensor({}, storage({}, op.tuple(op.text('9'), op.int(0), op.int(6)))) })
    await refused(torchLegacy(view, ['0'], data), 'torch-storage', /its storage is a view of another one/, 'w')
  })
})

test('other files are refused by what they are', async () => {
  for (const [text, what] of [
    ['GGUF\x03\0\0\0', 'a GGUF file, which is not read'],
    ['<!DOCTYPE html><html>', 'a web page; download the file itself'],
    ['version https://git-lfs.github.com/spec/v1', 'the pointer of a Git LFS file; run `git lfs pull`'],
  ])
    await refused(latin1(text), 'format', new RegExp(`expected safetensors or a PyTorch \\.bin, got ${what}`))
})

const python = ['/usr/bin/python3', 'python3'].find((each) => spawnSync(each, ['-c', 'import torch']).status === 0)
const skip = python ? false : 'no Python with torch'
describe('what torch.save itself writes', { skip }, () => {
  let folder = ''
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mambakit-torch-'))
  })
  after(() => rm(folder, { recursive: true }))

  const save = (options: string, file: string) =>
    execFileSync(python!, ['-c', writer, join(folder, file), options], { encoding: 'utf8' })
  const writer = `
import sys, json, torch
from collections import OrderedDict
torch.manual_seed(1)
model = torch.nn.Sequential(torch.nn.Embedding(7, 4), torch.nn.Linear(4, 7), torch.nn.BatchNorm1d(7))
model[1].weight = model[0].weight
state = model.state_dict()
state['parameter'] = torch.nn.Parameter(torch.randn(3))
state['transposed'] = torch.randn(5, 3).t()
state['middle'] = torch.randn(6, 4)[2:4, 1:3]
state['half'], state['bfloat'] = torch.randn(3).half(), torch.randn(3).bfloat16()
state['bytes'], state['flags'] = torch.tensor([1, 255], dtype=torch.uint8), torch.tensor([True, False])
state['wide'] = torch.randn(2).double()
torch.save(state, sys.argv[1], **json.loads(sys.argv[2]))
raw = {}
for name, t in state.items():
    t = t.detach().contiguous()
    t = t.view(torch.int16) if t.dtype == torch.bfloat16 else t
    raw[name] = [list(t.shape), t.numpy().tobytes().hex()]
print(json.dumps(raw))
`

  test('reads back bit by bit, in both forms and with the newer pickle protocol', async () => {
    const forms = ['{}', '{"pickle_protocol": 4}', '{"_use_new_zipfile_serialization": false}']
    for (const [i, options] of forms.entries()) {
      const expected: Record<string, [number[], string]> = JSON.parse(save(options, `${i}.bin`))
      const reader = await openCheckpoint(join(folder, `${i}.bin`))
      assert.deepEqual([...reader.tensors.keys()].sort(), Object.keys(expected).sort())
      for (const [name, [shape, hex]] of Object.entries(expected)) {
        assert.deepEqual(reader.tensors.get(name)!.shape, shape, name)
        assert.equal(Buffer.from(await reader.read(name)).toString('hex'), hex, `${options} ${name}`)
      }
      assert.equal(reader.tensors.get('0.weight')!.data, reader.tensors.get('1.weight')!.data)
      await reader.close()
    }
  })

  test('gives the weights beside an optimizer, in both forms', async () => {
    const training = `
import sys, json, torch
net = torch.nn.Linear(3, 2)
adam = torch.optim.AdamW(net.parameters())
net(torch.randn(4, 3)).sum().backward()
adam.step()
schedule = torch.optim.lr_scheduler.StepLR(adam, 2)
torch.save({'net': net.state_dict(), 'optimizer': adam.state_dict(), 'schedule': schedule.state_dict(), 'epoch': 3,
            'best': 0.5}, sys.argv[1], **json.loads(sys.argv[2]))
print(net.weight.detach().numpy().tobytes().hex())
`
    for (const options of ['{}', '{"_use_new_zipfile_serialization": false}']) {
      const path = join(folder, 'training.pt')
      const expected = execFileSync(python!, ['-c', training, path, options], { encoding: 'utf8' })
      const reader = await openCheckpoint(path)
      assert.deepEqual([...reader.tensors.keys()].sort(), ['bias', 'weight'])
      assert.equal(Buffer.from(await reader.read('weight')).toString('hex'), expected.trim())
      await reader.close()
    }
  })

  test('is refused where it is cut off, and where it shrinks while open', async () => {
    save('{}', 'cut.bin')
    const path = join(folder, 'cut.bin')
    const whole = await readFile(path)
    const reader = await openCheckpoint(path)
    await truncate(path, 100)
    await assert.rejects(reader.read('wide'), /tensor "wide": the file ends inside this tensor/)
    await reader.close()
    await assert.rejects(openCheckpoint(path), /no directory at its end; the file is cut off/)
    for (let at = 0; at < whole.length; at += 97)
      await assert.rejects(open(whole.subarray(0, at)), CheckpointError, `cut at ${at}`)
  })

  test('a whole module, which is code, is refused by name', async () => {
    const path = join(folder, 'module.bin')
    execFileSync(python!, ['-c', 'import sys, torch; torch.save(torch.nn.Linear(2, 2), sys.argv[1])', path])
    await assert.rejects(openCheckpoint(path), /the pickle names "torch\.nn\.modules\.linear\.Linear"/)
  })
})
