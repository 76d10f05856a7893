import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openNative } from '../backend/native/index.js'
import { tokenize } from '../data/tokenized.js'
import { byteTokenizer } from '../data/tokenizer.js'
import { openTokenFiles } from '../data/tokens.node.js'
import { byteCharacters } from '../hub/gguf-mamba.js'
import { meanLoss } from '../tasks/language-modeling.js'
import { convertToGguf } from './gguf.node.js'
import { loadModel } from './load.node.js'
import { loadSequenceModel, sequenceModel, tokenKindOf } from './sequence-models.node.js'
import { train } from './train.node.js'

const folder = mkdtempSync(join(tmpdir(), 'mambakit-sequence-'))
const backend = openNative({ threads: 2 })
after(async () => {
  rmSync(folder, { recursive: true })
  await backend.close()
})

/** A WAV file of `count` 16-bit samples of a tone. */
function tone(count: number): Uint8Array {
  const bytes = new Uint8Array(44 + 2 * count)
  const view = new DataView(bytes.buffer)
  const ascii = (at: number, text: string) => bytes.set(new TextEncoder().encode(text), at)
  ascii(0, 'RIFF')
  ascii(8, 'WAVEfmt ')
  view.setUint32(16, 16, true)
  view.setUint16(20, 1, true)
  view.setUint16(22, 1, true)
  view.setUint32(24, 8000, true)
  view.setUint16(34, 16, true)
  ascii(36, 'data')
  view.setUint32(40, 2 * count, true)
  for (let t = 0; t < count; t++) view.setInt16(44 + 2 * t, Math.round(20000 * Math.sin(t / 5)), true)
  return bytes
}

async function trained(data: string, options: { tokens: 'bases' | 'mulaw'; model: string }): Promise<string> {
  const out = join(folder, options.model)
  let last = Number.NaN
  const sizes = { steps: 12, batch: 2, length: 64, learningRate: 0.01, backend }
  for await (const event of train('lm', { data, out, ...sizes, ...options }))
    if (event.type === 'evaluation') last = event.measurements.loss
  assert.equal(await tokenKindOf(out), options.tokens)
  const text = await openTokenFiles(options.tokens, [data])
  const model = await loadSequenceModel(out, backend)
  const loss = await meanLoss(model, text.heldOut, { length: 64, batch: 2 })
  assert.ok(Math.abs(loss - last) < 1e-5, `${loss} and ${last}`)
  model.dispose()
  return out
}

test('a model of bases is trained on FASTA, measures as it did, and writes bases', async () => {
  const data = join(folder, 'a.fna')
  writeFileSync(data, `>a\n${'ACGGT'.repeat(400)}\n`)
  const out = await trained(data, { tokens: 'bases', model: 'mamba-tiny' })
  const lm = await loadModel(out, { backend })
  let text = ''
  for await (const piece of lm.generate('ACGGTACGG', { maxTokens: 20, seed: 1 })) text += piece
  assert.match(text, /^[ACGTN]{20}$/)
})

test('the U-Net is trained on WAV and measures as it did; it does not pass for a model of text', async () => {
  const data = join(folder, 'tone.wav')
  writeFileSync(data, tone(3000))
  const out = await trained(data, { tokens: 'mulaw', model: 'audio-unet' })
  await assert.rejects(loadModel(out, { backend }), /this model continues sound .* `mambakit eval` measures it/)
})

/** Byte-level BPE with a few joined tokens. */
function wordTokenizer(): Record<string, unknown> {
  const merges = ['t h', 'th e', 'Ġ the', 'i n', 'a n']
  const words = [...byteCharacters(), ...merges.map((merge) => merge.replace(' ', ''))]
  const split = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
  return {
    model: { type: 'BPE', vocab: Object.fromEntries(words.map((word, id) => [word, id])), merges },
    added_tokens: [{ id: words.length, content: '<|endoftext|>', special: true }],
    normalizer: null,
    pre_tokenizer: split,
    post_processor: null,
    decoder: split,
  }
}

test('a model is trained on the tokens of a tokenizer, which is saved with it and goes to GGUF', async () => {
  const file = join(folder, 'words.json')
  writeFileSync(file, JSON.stringify(wordTokenizer()))
  const [data, heldOut] = ['book.txt', 'end.txt'].map((name) => join(folder, name))
  writeFileSync(data, 'the thing in the wind and größe\n'.repeat(80))
  writeFileSync(heldOut, 'and the wind in größe\n'.repeat(20))
  const out = join(folder, 'words')
  const options = { data, out, heldOut: [heldOut], tokenizer: file, steps: 20, batch: 2, length: 32, backend }
  let measured: Record<string, number> = {}
  for await (const event of train('lm', { ...options, model: 'mamba-tiny' }))
    if (event.type === 'evaluation') measured = event.measurements
    else if (event.type === 'start') assert.ok(event.training < 80 * 33, `${event.training} tokens`)
  const lm = await loadModel(out, { backend })
  assert.deepEqual(
    [lm.tokenizer.vocabSize, lm.tokenizer.endOfText, lm.model.config.vocabSize, lm.tokenizer.encode(' the').length],
    [262, 261, 264, 1],
  )
  const text = await openTokenFiles('bytes', [heldOut], { heldOutFraction: 0 })
  const tokens = await tokenize(text.train, lm.tokenizer)
  const bits = (await meanLoss(lm.model, tokens, { length: 32, batch: 2 })) / Math.LN2
  assert.ok(Math.abs(bits - measured['bits per token']) < 1e-4, `${bits} and ${measured['bits per token']}`)
  assert.ok(Math.abs((bits * tokens.length) / text.train.length - measured['bits per byte']) < 1e-4)
  let said = ''
  for await (const piece of lm.generate('the', { maxTokens: 20, seed: 1 })) said += piece
  assert.ok(said.length > 0)
  lm.dispose()
  const sizes = await Promise.all(
    [undefined, file].map((tokenizer) => convertToGguf(out, join(folder, 'words.gguf'), { tokenizer, backend })),
  )
  assert.equal(sizes[0], sizes[1])

  const other = { ...wordTokenizer(), added_tokens: [{ id: 261, content: '<end>', special: true }] }
  writeFileSync(file, JSON.stringify(other))
  const resumed = train('lm', { ...options, model: 'mamba-tiny', resume: true })
  await assert.rejects(async () => {
    for await (const _ of resumed);
  }, /the run was started with tokenizer "[0-9a-f]{64}"; it cannot be resumed with/)
  const bases = train('lm', { ...options, out: join(folder, 'never'), tokens: 'bases' })
  await assert.rejects(async () => {
    for await (const _ of bases);
  }, /tokenizer: reads text; leave it out, or tokens 'bases', which are no text/)
})

test('tokens and models that do not go together are refused', async () => {
  await assert.rejects(
    sequenceModel('audio-unet', 'bytes'),
    /audio-unet: models sound; expected --tokens mulaw, got bytes/,
  )
  const config = join(folder, 'config.json')
  writeFileSync(config, JSON.stringify({ d_model: 16, n_layer: 1, vocab_size: 256 }))
  await assert.rejects(sequenceModel(config, 'bases'), /expected a vocabulary of 5 for --tokens bases, got 256/)
  const tokenizer = { ...byteTokenizer, vocabSize: 300 }
  await assert.rejects(
    sequenceModel(config, 'bytes', tokenizer),
    /config\.json: the tokenizer has 300 tokens, the model's vocabulary 256; they do not belong together/,
  )
})
