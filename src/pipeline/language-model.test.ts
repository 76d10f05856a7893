// Text generation: batches, stop strings, log-probabilities, and states that are saved, refused and continued.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { openNative } from '../backend/native/index.js'
import { openDevice } from '../backend/open.js'
import { openReference } from '../backend/reference/index.js'
import type { Backend } from '../backend/types.js'
import { byteTokenizer, type Tokenizer } from '../data/tokenizer.js'
import { parseSafetensors, serializeSafetensors } from '../hub/safetensors.js'
import { type MambaLMConfig, mambaDefaults } from '../models/mamba-config.js'
import { MambaLM } from '../models/mamba-lm.js'
import { noGrad, scope, setDefaultBackend, tensor, tensorFromBytes } from '../tensor/index.js'
import { type GenerateTextOptions, LanguageModel } from './language-model.js'
import { pipeline } from './pipeline.js'
import type { SequenceState } from './state.js'

const config: MambaLMConfig = { ...mambaDefaults, dModel: 24, nLayer: 2, vocabSize: 256 }
const folder = mkdtempSync(join(tmpdir(), 'mambakit-state-'))
let backend: Backend
let lm: LanguageModel
/** A character a token, so that text and tokens say the same. */
const characters: Tokenizer = {
  vocabSize: 95,
  endOfText: null,
  encode: (text) => Int32Array.from(text, (character) => character.charCodeAt(0) - 32),
  decode: (tokens) => Array.from(tokens, (token) => String.fromCharCode(32 + token)).join(''),
  decoder: () => ({ push: (token) => String.fromCharCode(32 + token), end: () => '' }),
}
const build = (seed: number, changes: Partial<MambaLMConfig> = {}, on = backend) =>
  new LanguageModel(new MambaLM({ ...config, ...changes }).initialize({ seed, backend: on }), byteTokenizer)

before(() => {
  backend = openNative({ threads: 2 })
  setDefaultBackend(backend)
  lm = build(5)
})
after(async () => {
  lm.dispose()
  await backend.close()
  rmSync(folder, { recursive: true })
})

const plain = { maxTokens: 12, seed: 3, endToken: null }
async function textOf(prompt: string, options: GenerateTextOptions = {}, model = lm): Promise<string> {
  let text = ''
  for await (const piece of model.generate(prompt, { ...plain, ...options })) text += piece
  return text
}

/** Draws prompts and options, and compares a batch with its members. */
async function assertBatchIsItsMembers(lm: LanguageModel, numRuns: number): Promise<void> {
  const prompts = fc.array(fc.string({ maxLength: 30 }), { minLength: 1, maxLength: 11 })
  const options = fc.record({
    temperature: fc.constantFrom(0, 0.7, 1.3),
    topK: fc.constantFrom(0, 20),
    minP: fc.constantFrom(0, 0.05),
    repetitionPenalty: fc.constantFrom(1, 1.4),
    stop: fc.constantFrom<string[]>([], ['a', 'e'], [' t']),
    seed: fc.nat(100),
  })
  await fc.assert(
    fc.asyncProperty(prompts, options, async (prompts, options) => {
      const given = { ...options, maxTokens: 9, logprobs: 2 }
      const together = await lm.generateBatch(prompts, given)
      for (const [i, prompt] of prompts.entries()) {
        const [alone] = await lm.generateBatch([prompt], given)
        assert.deepEqual(together[i], alone)
        let text = ''
        for await (const piece of lm.generate(prompt, given)) text += piece
        assert.equal(text, alone.text)
      }
    }),
    { numRuns },
  )
}

test('a batch of prompts of any lengths gives exactly what its members give one by one', async () => {
  await assertBatchIsItsMembers(lm, 25)
  const { backend: wasm } = await openDevice('wasm')
  const other = build(5, {}, wasm)
  await assertBatchIsItsMembers(other, 5)
  other.dispose()
  await wasm.close()
})

test('log-probabilities are those of the forward pass', async () => {
  const [{ tokens, logprobs }] = await lm.generateBatch(['Whale'], { ...plain, logprobs: 3, temperature: 0.5 })
  const ids = Int32Array.of(...byteTokenizer.encode('Whale'), ...tokens)
  const logits = await noGrad(() =>
    scope(() => lm.model.logits(lm.model.hidden(tensor(ids, { shape: [1, ids.length] })).hidden)),
  ).data()
  assert.equal(logprobs!.length, tokens.length)
  for (const [i, { token, logprob, top }] of logprobs!.entries()) {
    assert.equal(token, tokens[i])
    const row = [...logits.slice((4 + i) * 256, (5 + i) * 256)]
    const total = Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0))
    assert.ok(Math.abs(logprob - (row[token] - total)) < 1e-4)
    const best = row.sort((a, b) => b - a).slice(0, 3)
    top.forEach((each, rank) => {
      assert.ok(Math.abs(each.logprob - (best[rank] - total)) < 1e-4)
    })
  }
})

test('a stop string ends the text before it, streamed or not', async () => {
  const whole = await textOf('Call', { maxTokens: 60 })
  const stop = whole.slice(20, 24)
  const expected = whole.slice(0, whole.indexOf(stop))
  assert.equal(await textOf('Call', { maxTokens: 60, stop }), expected)
  const [batch] = await lm.generateBatch(['Call'], { ...plain, maxTokens: 60, stop: ['never there', stop] })
  assert.equal(batch.text, expected)
  assert.equal(byteTokenizer.decode(batch.tokens), expected)
})

test('after a stop string a session stands right before it', async () => {
  const lm = new LanguageModel(new MambaLM({ ...config, vocabSize: 95 }).initialize({ seed: 2 }), characters)
  const whole = await textOf('Call', { maxTokens: 60 }, lm)
  const stop = whole.slice(20, 24)
  const shown = whole.slice(0, whole.indexOf(stop))
  const session = lm.session()
  await session.read('Call')
  for await (const _ of session.generate({ ...plain, maxTokens: 60, stop }));
  using there = await session.state()
  const fresh = lm.session()
  await fresh.read(`Call${shown}`)
  using expected = await fresh.state()
  assert.equal(there.tokens, expected.tokens)
  for (const [i, logit] of there.logits.entries()) assert.ok(Math.abs(logit - expected.logits[i]) < 1e-4)
  await session.read(' me')
  await fresh.read(' me')
  const next = async (from: typeof session) => {
    let text = ''
    for await (const piece of from.generate({ maxTokens: 8, temperature: 0 })) text += piece.text
    return text
  }
  assert.equal(await next(session), await next(fresh))
  session.dispose()
  fresh.dispose()
  lm.dispose()
})

test('sessions and generation leave no memory behind', async () => {
  const use = async () => {
    const session = lm.session()
    await session.read('Call me')
    for await (const _ of session.generate({ ...plain, stop: 'e' }));
    const state = await session.state()
    await lm.generateBatch(['a', 'bc', ''], { ...plain, state })
    state.dispose()
    session.dispose()
  }
  await use()
  const { inUse } = backend.memory()
  for (let i = 0; i < 3; i++) await use()
  assert.equal(backend.memory().inUse, inUse)
})

test('a saved state continues bit for bit, and is left as it was', async () => {
  const file = join(folder, 'call.state.safetensors')
  const { state } = await lm.prefill('Call me Ishmael. ')
  await state.save(file)
  const loaded = await lm.loadState(file)
  assert.equal(loaded.tokens, 17)
  assert.deepEqual(loaded.logits, state.logits)
  const options = { ...plain, logprobs: 4, maxTokens: 20 }
  for (const prompt of ['', 'Some years ago']) {
    const [here] = await lm.generateBatch([prompt], { ...options, state })
    const [there] = await lm.generateBatch([prompt], { ...options, state: loaded })
    const copy = loaded.clone()
    assert.deepEqual(there, here)
    assert.deepEqual((await lm.generateBatch([prompt], { ...options, state: copy }))[0], here)
    let streamed = ''
    for await (const piece of lm.generate(prompt, { ...options, state })) streamed += piece
    assert.equal(streamed, here.text)
    copy.dispose()
  }
  state.dispose()
  loaded.dispose()
})

test('a state moves between devices', async () => {
  const { state } = await lm.prefill('The sea, ')
  const bytes = await state.toBytes()
  const reference = openReference()
  const values = parseSafetensors(bytes)
  assert.equal(values.metadata.dtype, 'float32')
  const other = build(5, {}, reference)
  // The weights themselves: drawn on another device they differ in the last bits.
  const theirs = other.model.parameters()
  for (const [i, { value, shape }] of lm.model.parameters().entries())
    theirs[i].value = tensorFromBytes(await value.bytes(), shape, 'float32', reference)
  const moved = await other.parseState(bytes)
  const a = await lm.generateBatch(['the sea'], { ...plain, state, temperature: 0 })
  const b = await other.generateBatch(['the sea'], { ...plain, state: moved, temperature: 0 })
  assert.equal(a[0].text, b[0].text)
  for (const held of [state, moved, other]) held.dispose()
  await reference.close()
})

test('a state of another model, version, dtype or with other weights is refused by one line', async () => {
  const { state } = await lm.prefill('Call me')
  const bytes = await state.toBytes()
  const reader = parseSafetensors(bytes)
  const changed = (metadata: Record<string, string>, leaveOut = '') =>
    serializeSafetensors(
      [...reader.tensors]
        .filter(([name]) => name !== leaveOut)
        .map(([name, { shape }]) => ({ name, dtype: 'F32', shape, bytes: () => reader.read(name) })),
      { ...reader.metadata, ...metadata },
    )
  const refused = async (bytes: Uint8Array, fault: string, message: RegExp, model = lm) => {
    const file = join(folder, `${fault}.safetensors`)
    writeFileSync(file, bytes)
    await assert.rejects(model.loadState(file), (error: Error & { fault?: string }) => {
      assert.equal(error.fault, fault)
      assert.match(error.message, message)
      assert.ok(error.message.startsWith(file) && !error.message.includes('\n'))
      return true
    })
  }
  const [wider, retrained] = [build(5, { dModel: 32 }), build(6)]
  await refused(
    bytes,
    'model',
    /another model's: it is of Mamba, 2 layers of 24, .* loaded is Mamba, 2 layers of 32/,
    wider,
  )
  await refused(bytes, 'weights', /made with other weights of the same shape/, retrained)
  await refused(await changed({ version: '7' }), 'version', /expected a state file of version 1, got version 7/)
  await refused(await changed({ dtype: 'bfloat16' }), 'dtype', /weights in bfloat16, these are float32/)
  await refused(await changed({ format: 'pt' }), 'not-a-state', /expected a state saved by mambakit/)
  await refused(await changed({}, 'layers.1.ssm'), 'content', /layers\.1\.ssm: expected F32 \[1,48,16\], got nothing/)
  await refused(bytes.subarray(0, bytes.length - 8), 'offsets', /cut off/)
  await assert.rejects(textOf('x', { state }, wider), /state: expected a state of this model/)
  for (const held of [state, wider, retrained]) held.dispose()
})

test('a state is kept whole on disk while a new one is written', async () => {
  const file = join(folder, 'kept.safetensors')
  const { state } = await lm.prefill('Call')
  await state.save(file)
  const first = readFileSync(file)
  const { state: second } = await lm.prefill('Call me', { state })
  await second.save(file)
  assert.equal(readFileSync(file).length, first.length)
  assert.equal((await lm.loadState(file)).tokens, 11)
  for (const held of [state, second]) (held as SequenceState).dispose()
})

test('an abort signal ends generation by an AbortError, before and under way', async () => {
  await assert.rejects(textOf('x', { signal: AbortSignal.abort() }), { name: 'AbortError' })
  const controller = new AbortController()
  const seen: string[] = []
  await assert.rejects(
    async () => {
      for await (const piece of lm.generate('x', { ...plain, maxTokens: 1000, signal: controller.signal })) {
        seen.push(piece)
        if (seen.length === 3) controller.abort()
      }
    },
    { name: 'AbortError' },
  )
  assert.equal(seen.length, 3)
})

test('an abort while a long text is read leaves the session where it stood', async () => {
  const session = lm.session()
  await session.read('Call me')
  using before = await session.state()
  const controller = new AbortController()
  const reading = session.read('whale '.repeat(20_000), { signal: controller.signal })
  setTimeout(() => controller.abort(), 5)
  await assert.rejects(reading, { name: 'AbortError' })
  using after = await session.state()
  assert.equal(after.tokens, before.tokens)
  assert.deepEqual(after.logits, before.logits)
  const [a, b] = [await before.layers[1].ssm.data(), await after.layers[1].ssm.data()]
  assert.deepEqual(a, b)
  session.dispose()
})

test('pipeline(text-generation) answers one prompt or several, and streams', async () => {
  const write = await pipeline('text-generation', lm)
  const [one] = await write('Call', plain)
  const two = await write(['Call', 'me'], plain)
  assert.deepEqual(two[0], one)
  assert.equal(two.length, 2)
  assert.equal('logprobs' in one, false)
  let text = ''
  for await (const piece of write.stream('Call', plain)) text += piece.text
  assert.equal(text, one.text)
  await assert.rejects(
    pipeline('translation' as 'text-generation', lm),
    /^MambakitError: pipeline: expected task 'text-generation' or 'image-classification', got 'translation'/,
  )
  await assert.rejects(
    pipeline('image-classification', lm as never),
    /^MambakitError: pipeline: expected a model for 'image-classification': where it is, or the model itself/,
  )
})

test('rows of a padded vocabulary that stand for no token are never chosen, drawn or taken, on the device or here', async () => {
  const padded = new LanguageModel(lm.model, characters)
  for (const options of [{ temperature: 0 }, { temperature: 2 }, { temperature: 0, logprobs: 4 }]) {
    const given = { ...plain, maxTokens: 40, ...options }
    const [{ tokens }] = await padded.generateBatch(['Call me'], given)
    assert.ok(tokens.length > 0 && tokens.every((token) => token < characters.vocabSize), `${tokens}`)
    assert.equal(await textOf('Call me', given, padded), characters.decode(tokens))
  }
  // The same model chooses others of its 256 where they are tokens.
  const [{ tokens }] = await lm.generateBatch(['Call me'], { ...plain, maxTokens: 40, temperature: 2 })
  assert.ok(tokens.some((token) => token >= characters.vocabSize))
})
