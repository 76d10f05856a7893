// GGUF files read back by a plain reader of the format: what is in them, and where.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fromHost } from '../backend/hostFormat.js'
import { openReference } from '../backend/reference/index.js'
import { type MambaLMConfig, mambaDefaults } from '../models/mamba-config.js'
import { MambaLM } from '../models/mamba-lm.js'
import type { MambaMixer } from '../ssm/mamba.js'
import { TimeInvariantMixer } from '../ssm/time-invariant.js'
import { type GgufTensor, type GgufValue, ggufData, layoutGguf, quantizeQ8 } from './gguf.js'
import { byteVocabulary, ggufMetadata, ggufTensors, vocabularyOf } from './gguf-mamba.js'

interface ReadTensor {
  readonly dims: readonly number[]
  readonly type: number
  readonly offset: number
}

/** Reads the head of a file by the book. */
function readHead(bytes: Uint8Array) {
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  let at = 0
  const u32 = () => view.getUint32((at += 4) - 4, true)
  const u64 = () => Number(view.getBigUint64((at += 8) - 8, true))
  const text = () => {
    const length = u64()
    return new TextDecoder().decode(bytes.subarray((at += length) - length, at))
  }
  const value = (type: number): unknown => {
    if (type === 4) return u32()
    if (type === 5) return view.getInt32((at += 4) - 4, true)
    if (type === 6) return view.getFloat32((at += 4) - 4, true)
    if (type === 7) return view.getUint8(at++) === 1
    if (type === 8) return text()
    assert.equal(type, 9)
    const element = u32()
    return Array.from({ length: u64() }, () => value(element))
  }
  const magic = new TextDecoder().decode(bytes.subarray(at, (at += 4)))
  const version = u32()
  const [tensorCount, metadataCount] = [u64(), u64()]
  const metadata = new Map(Array.from({ length: metadataCount }, () => [text(), value(u32())] as const))
  const tensors = new Map<string, ReadTensor>()
  for (let i = 0; i < tensorCount; i++) {
    const name = text()
    const dims = Array.from({ length: u32() }, u64)
    tensors.set(name, { dims, type: u32(), offset: u64() })
  }
  return { magic, version, metadata, tensors, end: at }
}

test('a file holds its metadata and tensors where the format says', async () => {
  const values = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i))
  const tensors: GgufTensor[] = [
    { name: 'a', shape: [3], type: 'F32', values: async () => values.slice(0, 3) },
    { name: 'b.weight', shape: [2, 32], type: 'Q8_0', values: async () => values },
    { name: 'c', shape: [4, 2], type: 'F32', values: async () => values.slice(0, 8) },
  ]
  const metadata: Record<string, GgufValue> = {
    text: { string: 'é' },
    count: { uint32: 7 },
    ratio: { float32: 0.5 },
    yes: { bool: true },
    words: { strings: ['a', ''] },
    kinds: { int32s: [1, -2] },
  }
  const { head, bytes } = layoutGguf(tensors, metadata)
  const read = readHead(head)
  assert.deepEqual([read.magic, read.version], ['GGUF', 3])
  assert.deepEqual(Object.fromEntries(read.metadata), {
    text: 'é',
    count: 7,
    ratio: 0.5,
    yes: true,
    words: ['a', ''],
    kinds: [1, -2],
  })
  assert.ok(head.length % 32 === 0 && head.length - read.end < 32)
  assert.deepEqual(read.tensors.get('a'), { dims: [3], type: 0, offset: 0 })
  assert.deepEqual(read.tensors.get('b.weight'), { dims: [32, 2], type: 8, offset: 32 })
  assert.deepEqual(read.tensors.get('c'), { dims: [2, 4], type: 0, offset: 128 })
  assert.deepEqual(bytes, [32, 96, 32])
  for (const [i, tensor] of tensors.entries()) assert.equal((await ggufData(tensor)).length, bytes[i])
  const short: GgufTensor = { name: 'x', shape: [3], type: 'F32', values: async () => values }
  await assert.rejects(ggufData(short), /^MambakitError: x: expected 3 values, got 64$/)
  assert.throws(
    () => layoutGguf([{ ...short, shape: [2, 33], type: 'Q8_0' }], {}),
    /x: expected rows of a multiple of 32/,
  )
})

test('Q8_0 blocks come back within half a step, and zeros as zeros', () => {
  const block = fc.array(fc.float({ min: -50, max: 50, noNaN: true }), { minLength: 32, maxLength: 32 })
  fc.assert(
    fc.property(fc.array(block, { minLength: 1, maxLength: 3 }), (blocks) => {
      const bytes = quantizeQ8(Float32Array.from(blocks.flat()))
      assert.equal(bytes.length, 34 * blocks.length)
      for (const [b, values] of blocks.entries()) {
        const [scale] = fromHost(bytes.slice(34 * b, 34 * b + 2), 'float16')
        const steps = new Int8Array(bytes.slice(34 * b + 2, 34 * b + 34).buffer)
        const step = Math.max(...values.map(Math.abs)) / 127
        values.forEach((value, i) => {
          // Half a step, and what rounding the scale to float16 moves 127 steps by.
          const tolerance = 0.5 * step + 127 * Math.max(step * 2 ** -11, 2 ** -25) + 1e-9
          assert.ok(Math.abs(steps[i] * scale - value) <= tolerance, `${value} came back as ${steps[i] * scale}`)
        })
      }
    }),
  )
  assert.deepEqual(quantizeQ8(new Float32Array(32)), new Uint8Array(34))
})

const config: MambaLMConfig = { ...mambaDefaults, dModel: 32, nLayer: 2, vocabSize: 264 }

test("a model has llama.cpp's names, shapes and metadata; A is stored as -exp(A_log)", async () => {
  const backend = openReference()
  for (const layout of ['state-spaces', 'huggingface'] as const) {
    const model = new MambaLM({ ...config, layout, tieEmbeddings: layout === 'huggingface' }).initialize({ backend })
    const tensors = ggufTensors(model, 'Q8_0')
    const shapes = Object.fromEntries(tensors.map(({ name, shape, type }) => [name, `${type} ${shape}`]))
    assert.deepEqual(shapes['token_embd.weight'], 'Q8_0 264,32')
    assert.equal(shapes['output.weight'], layout === 'huggingface' ? undefined : 'Q8_0 264,32')
    assert.equal(shapes['output_norm.weight'], 'F32 32')
    const layer = Object.entries(shapes).flatMap(([name, shape]) =>
      name.startsWith('blk.1.') ? [[name.slice(6), shape]] : [],
    )
    assert.deepEqual(Object.fromEntries(layer), {
      'attn_norm.weight': 'F32 32',
      'ssm_in.weight': 'Q8_0 128,32',
      'ssm_conv1d.weight': 'F32 64,4',
      'ssm_conv1d.bias': 'F32 64',
      'ssm_x.weight': 'F32 34,64',
      'ssm_dt.weight': 'F32 64,2',
      'ssm_dt.bias': 'F32 64',
      ssm_a: 'F32 64,16',
      ssm_d: 'F32 64',
      'ssm_out.weight': 'Q8_0 32,64',
    })
    const values = await tensors.find(({ name }) => name === 'blk.0.ssm_a')!.values()
    const logs = await (model.backbone.layers[0].mixer as MambaMixer).ALog.value.data()
    assert.ok(values.every((value, i) => Math.abs(value + Math.exp(logs[i])) < 1e-5))
    const metadata = ggufMetadata(model, 'small', 'Q8_0', byteVocabulary(264))
    assert.deepEqual(metadata['mamba.ssm.time_step_rank'], { uint32: 2 })
    assert.deepEqual(metadata['mamba.ssm.inner_size'], { uint32: 64 })
    assert.deepEqual(metadata['general.file_type'], { uint32: 7 })
  }
  await backend.close()
})

test('what llama.cpp has no place for is refused', () => {
  for (const [changes, what] of [
    [{ expand: 3 }, /expansion by 3/],
    [{ bias: true }, /biases/],
    [{ convBias: false }, /convolution without bias/],
    [{ rmsNorm: false }, /LayerNorm/],
    [{ dIntermediate: 64 }, /MLPs/],
  ] as const)
    assert.throws(() => ggufTensors(new MambaLM({ ...config, ...changes }), 'F32'), what)
  const other = new MambaLM(config, (mixer) => new TimeInvariantMixer(mixer))
  assert.throws(() => ggufTensors(other, 'F32'), /mixers other than Mamba/)
})

test('vocabularies are filled up to the model, and others than byte-level BPE refused', () => {
  const bytes = byteVocabulary(258)
  assert.deepEqual([bytes.tokens[65], bytes.tokens[32], bytes.tokens[257]], ['A', 'Ġ', '[PAD257]'])
  assert.deepEqual([bytes.kinds[0], bytes.kinds[65], bytes.kinds[257]], [3, 1, 5])
  assert.equal(new Set(bytes.tokens).size, 258)
  const json = {
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false },
    model: { type: 'BPE', vocab: { a: 1, b: 2, ab: 3 }, merges: [['a', 'b']] },
    added_tokens: [
      { id: 0, content: '<|endoftext|>', special: true },
      { id: 4, content: '  ', special: false },
    ],
  }
  assert.deepEqual(vocabularyOf(json, 6, 0), {
    tokens: ['<|endoftext|>', 'a', 'b', 'ab', '  ', '[PAD5]'],
    kinds: [3, 1, 1, 1, 4, 5],
    merges: ['a b'],
    endOfText: 0,
  })
  assert.throws(() => vocabularyOf(json, 4, 0), /expected at most 4 tokens, the model's vocabulary, got 5/)
  assert.throws(
    () => vocabularyOf({ model: { type: 'Unigram' } }, 4, null),
    /expected byte-level BPE to write GGUF, got model type "Unigram"/,
  )
  assert.throws(
    () => vocabularyOf({ ...json, pre_tokenizer: { type: 'Whitespace' } }, 6, 0),
    /expected text split as GPT-2 does \(pre_tokenizer ByteLevel\) to write GGUF, got \{"type":"Whitespace"\}/,
  )
})
