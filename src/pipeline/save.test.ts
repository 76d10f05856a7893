import assert from 'node:assert/strict'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { readTokenizer } from '../data/hf-tokenizer.js'
import { byteTokenizer } from '../data/tokenizer.js'
import type { CheckpointReader } from '../hub/checkpoint.js'
import { moduleToWrite } from '../hub/module-state.js'
import { openCheckpoint } from '../hub/open.node.js'
import { type MambaLMConfig, mambaDefaults, toOfficialConfig } from '../models/mamba-config.js'
import { MambaLM } from '../models/mamba-lm.js'
import { useDevice } from './device.js'
import { LanguageModel } from './language-model.js'
import { loadModel, locateModel } from './load.node.js'
import { convertModel, saveModel } from './save.node.js'

const small: MambaLMConfig = { ...mambaDefaults, dModel: 8, nLayer: 2, vocabSize: 256, dState: 4 }

/** Every tensor's dtype, shape and bytes. */
async function contents(folder: string): Promise<Map<string, string>> {
  const { weights } = await locateModel(folder)
  const reader: CheckpointReader = await openCheckpoint(weights)
  try {
    const found = new Map<string, string>()
    for (const [name, { dtype, shape }] of reader.tensors)
      found.set(name, `${dtype} ${shape} ${Buffer.from(await reader.read(name)).toString('hex')}`)
    return found
  } finally {
    await reader.close()
  }
}

const json = async (path: string) => JSON.parse(await readFile(path, 'utf8'))
const sorted = (map: Map<string, string>) => new Map([...map].sort(([a], [b]) => (a < b ? -1 : 1)))

describe('saving and converting a model', () => {
  let folder = ''
  const path = (name: string) => join(folder, name)
  before(async () => {
    await useDevice('cpu', { announce: () => {} })
    folder = await mkdtemp(join(tmpdir(), 'mambakit-save-'))
    await saveModel(new LanguageModel(new MambaLM(small).initialize({ seed: 3 }), byteTokenizer), path('ours'))
  })
  after(() => rm(folder, { recursive: true }))

  test('writes the names and the config.json of each layout, and back gives the same bits', async () => {
    const ours = await contents(path('ours'))
    assert.ok(ours.has('backbone.embedding.weight'))
    assert.equal(ours.get('lm_head.weight'), ours.get('backbone.embedding.weight'), 'the official reader asks for both')
    const saved = await convertModel(path('ours'), path('hf'), { layout: 'huggingface' })
    assert.deepEqual(saved.files, ['config.json', 'model.safetensors'])
    const hf = await contents(path('hf'))
    assert.ok(hf.has('backbone.embeddings.weight') && !hf.has('backbone.embedding.weight') && !hf.has('lm_head.weight'))
    const config = await json(path('hf/config.json'))
    assert.deepEqual([config.model_type, config.hidden_size, config.num_hidden_layers], ['mamba', 8, 2])
    assert.deepEqual([config.tie_word_embeddings, config.state_size, config.tokenizer], [true, 4, 'bytes'])
    await convertModel(path('hf'), path('back'), { layout: 'state-spaces' })
    assert.deepEqual(sorted(await contents(path('back'))), sorted(ours))
    const official = await json(path('back/config.json'))
    assert.deepEqual([official.d_model, official.ssm_cfg, official.tie_embeddings], [8, { d_state: 4 }, true])
    const [a, b] = await Promise.all(['ours', 'hf'].map((name) => loadModel(path(name))))
    const texts = await Promise.all([a, b].map((model) => model.generateBatch(['x'], { maxTokens: 8, temperature: 0 })))
    assert.deepEqual(texts[0], texts[1])
    for (const model of [a, b]) model.dispose()
  })

  test('cuts the weights into shards of limited size, which load as one', async () => {
    const shardBytes = 4000
    const saved = await convertModel(path('ours'), path('shards'), { layout: 'huggingface', shardBytes })
    const shards = saved.files.filter((name) => name.endsWith('.safetensors'))
    assert.ok(shards.length > 2)
    assert.match(shards[0], /^model-00001-of-0000\d\.safetensors$/)
    for (const name of shards) {
      const reader = await openCheckpoint(path(`shards/${name}`))
      const bytes = [...reader.tensors.keys()].map(async (tensor) => (await reader.read(tensor)).length)
      const total = (await Promise.all(bytes)).reduce((a, b) => a + b)
      assert.ok(reader.tensors.size === 1 || total <= shardBytes, name)
      await reader.close()
    }
    const index = await json(path('shards/model.safetensors.index.json'))
    assert.equal(index.metadata.total_size, saved.bytes)
    assert.deepEqual(sorted(await contents(path('shards'))), sorted(await contents(path('hf'))))
    const model = await loadModel(path('shards'))
    model.dispose()
  })

  test('never overwrites without force, and with it only what is a model', async () => {
    const before = await contents(path('hf'))
    await assert.rejects(
      convertModel(path('ours'), path('hf')),
      /hf: is there already; choose another folder, or replace/,
    )
    await convertModel(path('ours'), path('hf'), { force: true })
    assert.ok((await contents(path('hf'))).has('backbone.embedding.weight'))
    await convertModel(path('hf'), path('hf'), { force: true, layout: 'huggingface' })
    assert.deepEqual(await contents(path('hf')), before, 'onto itself')
    await writeFile(path('hf/thesis.tex'), 'years of work')
    await assert.rejects(
      convertModel(path('ours'), path('hf'), { force: true }),
      /hf: holds "thesis\.tex", which is no part of a model; it is not replaced/,
    )
    await rm(path('hf/thesis.tex'))
    await writeFile(path('file'), '')
    await assert.rejects(
      convertModel(path('ours'), path('file'), { force: true }),
      /file: is a file; expected a folder/,
    )
    await mkdir(path('empty'))
    await convertModel(path('ours'), path('empty'))
    const left = (await readdir(folder)).filter((name) => name.startsWith('.'))
    assert.deepEqual(left, [], 'nothing temporary stays')
  })

  test('leaves nothing where it fails, and finishes what a kill left', async () => {
    await cp(path('ours'), path('broken'), { recursive: true })
    const config = await json(path('broken/config.json'))
    await writeFile(path('broken/config.json'), JSON.stringify({ ...config, n_layer: 3 }))
    await assert.rejects(
      convertModel(path('broken'), path('never')),
      /tensor "backbone\.layers\.2\.[^"]+": the model needs this/,
    )
    assert.equal(await stat(path('never')).catch(() => null), null)
    // Killed between the two renames: the old folder is aside.
    await cp(path('ours'), path('.moved.replaced'), { recursive: true })
    await assert.rejects(convertModel(path('ours'), path('moved')), /moved: is there already/)
    assert.deepEqual(await contents(path('moved')), await contents(path('ours')))
  })

  test('refuses what a layout has no word for', async () => {
    const write = async (name: string, config: MambaLMConfig) => {
      const model = new MambaLM(config).initialize()
      await saveModel(new LanguageModel(model, byteTokenizer), path(name))
    }
    await write('layernorm', { ...small, rmsNorm: false })
    await write('mlp', { ...small, dIntermediate: 16 })
    await write('epsilon', { ...small, layout: 'huggingface', normEps: 1e-6 })
    const to = (name: string, layout: MambaLMConfig['layout']) => convertModel(path(name), path('refused'), { layout })
    await assert.rejects(
      to('layernorm', 'huggingface'),
      /huggingface has no LayerNorm \(rms_norm false\); keep the model's own/,
    )
    await assert.rejects(to('mlp', 'huggingface'), /has no MLP \(d_intermediate 16\)/)
    await assert.rejects(to('epsilon', 'state-spaces'), /has no epsilon of the norms \(layer_norm_epsilon 0\.000001\)/)
  })

  test('takes the tokenizer along, from memory and from files', async () => {
    const vocab = Object.fromEntries(Array.from({ length: 256 }, (_, i) => [String.fromCodePoint(0x100 + i), i]))
    const decoder = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
    const tokenizerJson = {
      model: { type: 'BPE', vocab, merges: [] },
      decoder,
      pre_tokenizer: decoder,
      normalizer: null,
      post_processor: null,
      added_tokens: [],
    }
    const tokenizer = await readTokenizer(tokenizerJson, { eos_token: 'Ā' }, 'tokenizer.json')
    await saveModel(new LanguageModel(new MambaLM(small).initialize(), tokenizer), path('worded'))
    await writeFile(path('worded/generation_config.json'), '{}')
    const saved = await convertModel(path('worded'), path('worded-hf'), { layout: 'huggingface' })
    assert.deepEqual(saved.files, [
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ])
    assert.deepEqual(await json(path('worded-hf/tokenizer.json')), tokenizerJson)
    const model = await loadModel(path('worded-hf'))
    assert.equal(model.tokenizer.endOfText, 0)
    assert.notEqual(model.tokenizer, byteTokenizer)
    model.dispose()
    const bytes = await convertModel(path('worded'), path('worded-bytes'), { tokenizer: 'bytes' })
    assert.deepEqual(bytes.files, ['config.json', 'generation_config.json', 'model.safetensors'])
    const byByte = await loadModel(path('worded-bytes'))
    assert.equal(byByte.tokenizer, byteTokenizer)
    byByte.dispose()
    const back = { tokenizer: path('worded/tokenizer.json') }
    const named = await convertModel(path('worded-bytes'), path('worded-again'), back)
    assert.ok(named.files.includes('tokenizer.json'))
    assert.equal((await json(path('worded-again/config.json'))).tokenizer, undefined)
  })

  test('a tied head that is stored with other values is refused, one with the same is not', async () => {
    const model = new MambaLM({ ...small, tieEmbeddings: false }).initialize({ seed: 1 })
    await saveModel(new LanguageModel(model, byteTokenizer), path('untied'))
    const { tie_embeddings: _, ...config } = await json(path('untied/config.json'))
    await writeFile(path('untied/config.json'), JSON.stringify({ ...config, tie_embeddings: true }))
    const message = /tensor "lm_head\.weight": differs from backbone\.embedding\.weight, to which config\.json ties it/
    await assert.rejects(loadModel(path('untied')), message)
    await assert.rejects(convertModel(path('untied'), path('never')), message)
    const tied = await loadModel(path('ours'))
    assert.equal(tied.model.parameterCount(), new MambaLM(small).parameterCount())
    tied.dispose()
  })

  test('a tokenizer that does not fit the vocabulary is refused with both sizes', async () => {
    const wide = new MambaLM({ ...small, vocabSize: 2000 }).initialize()
    await saveModel(new LanguageModel(wide, byteTokenizer), path('wide'))
    await assert.rejects(
      loadModel(path('wide')),
      /wide\/config\.json: the tokenizer has 256 tokens, the model's vocabulary 2000;/,
    )
    const narrow = new MambaLM({ ...small, vocabSize: 100 }).initialize()
    await saveModel(new LanguageModel(narrow, byteTokenizer), path('narrow'))
    await assert.rejects(
      loadModel(path('narrow')),
      /256 tokens, the model's vocabulary 100; they do not belong together/,
    )
  })

  test('the embedding is found under either spelling, but not under both', async () => {
    const model = new MambaLM(small).initialize({ seed: 5 })
    const { serializeSafetensors } = await import('../hub/safetensors.js')
    const tensors = moduleToWrite(model)
    const other = tensors.map((each) => ({ ...each, name: each.name.replace('.embedding.', '.embeddings.') }))
    await mkdir(path('spelled'))
    await writeFile(path('spelled/config.json'), JSON.stringify(toOfficialConfig(small)))
    await writeFile(path('spelled/model.safetensors'), await serializeSafetensors(other))
    const loaded = await loadModel(path('spelled'))
    loaded.dispose()
    const both = [...tensors, ...other.filter(({ name }) => name.includes('embeddings'))]
    await writeFile(path('spelled/model.safetensors'), await serializeSafetensors(both))
    await assert.rejects(loadModel(path('spelled')), /"backbone\.embedding\.weight": stands twice, in both spellings/)
  })
})
