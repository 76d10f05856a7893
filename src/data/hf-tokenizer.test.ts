import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { readTokenizer } from './hf-tokenizer.js'
import type { Tokenizer } from './tokenizer.js'

const packed = fileURLToPath(new URL('../../../../shared/data/tokenizer-gpt-neox/tokenizer.json.gz', import.meta.url))
const skip = existsSync(packed) ? false : '../shared/data/tokenizer-gpt-neox is absent'

const streamed = (tokenizer: Tokenizer, tokens: Int32Array): string => {
  const decoder = tokenizer.decoder()
  return [...tokens].map((token) => decoder.push(token)).join('') + decoder.end()
}

/** A byte-level vocabulary of its own: the 256 bytes, no merges, and an end of text. */
function byteLevelJson(): Record<string, unknown> {
  const printable = (byte: number) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255)
  let spare = 256
  const vocab = Object.fromEntries(
    Array.from({ length: 256 }, (_, byte) => [String.fromCharCode(printable(byte) ? byte : spare++), byte + 1]),
  )
  const end = { id: 0, content: '<|endoftext|>', special: true, single_word: false, lstrip: false, rstrip: false }
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
  return {
    added_tokens: [{ ...end, normalized: false }],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: { type: 'BPE', vocab, merges: [], unk_token: null },
  }
}

describe('the tokenizer of the published checkpoints', { skip }, () => {
  let tokenizer: Tokenizer
  before(async () => {
    const json = JSON.parse(gunzipSync(readFileSync(packed)).toString('utf8'))
    tokenizer = await readTokenizer(json, {}, 'tokenizer.json')
  })

  test('has 50277 tokens, known ids, and an end of text that decodes to nothing', () => {
    assert.equal(tokenizer.vocabSize, 50277)
    assert.equal(tokenizer.endOfText, 0)
    assert.deepEqual([...tokenizer.encode('Hello world')], [12092, 1533])
    assert.equal(tokenizer.decode([0, 12092, 0]), 'Hello')
    // Padding ids of the embedding belong to no token.
    assert.equal(tokenizer.decode([50279, 12092]), 'Hello')
  })

  test('gives back what it encodes, whole and token by token', () => {
    const texts = [
      'Call me Ishmael.  Some years ago\n\n\tnever mind',
      '日本語の文章 😀👩‍👩‍👧 naïve Ωμέγα',
      'x'.repeat(5000),
      ' '.repeat(60),
      'a . b , c ! n\u2019t',
      '\ufffd',
    ]
    for (const text of texts) {
      const tokens = tokenizer.encode(text)
      assert.equal(tokenizer.decode(tokens), text)
      assert.equal(streamed(tokenizer, tokens), text)
    }
  })

  test('holds a character back until all of its tokens are there', () => {
    const decoder = tokenizer.decoder()
    const pieces = [...tokenizer.encode('日本 😀!')].map((token) => decoder.push(token))
    assert.ok(pieces.includes(''), 'a character is spread over two tokens')
    assert.ok(pieces.every((piece) => !piece.includes('\ufffd')))
    assert.equal(pieces.join(''), '日本 😀!')
    const [first] = tokenizer.encode('😀')
    const cut = tokenizer.decoder()
    assert.equal(cut.push(first), '')
    assert.equal(cut.end(), '\ufffd')
  })

  test('streams any tokens as it decodes them', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const tokens = Int32Array.from({ length: 40 }, (_, i) => (seed * 7919 * (i + 3) * (i + 11)) % 50277)
      const text = tokenizer.decode(tokens)
      if (!text.includes('\ufffd')) assert.equal(streamed(tokenizer, tokens), text)
    }
  })
})

describe('a tokenizer.json', () => {
  test('of bytes is read, and streams characters of several tokens', async () => {
    const tokenizer = await readTokenizer(
      byteLevelJson(),
      { eos_token: { content: '<|endoftext|>' } },
      'tokenizer.json',
    )
    assert.deepEqual([tokenizer.vocabSize, tokenizer.endOfText], [257, 0])
    const text = 'größer 日本 😀'
    const tokens = tokenizer.encode(text)
    assert.deepEqual(
      [...tokens],
      [...new TextEncoder().encode(text)].map((byte) => byte + 1),
    )
    assert.equal(tokenizer.decode(tokens), text)
    assert.equal(streamed(tokenizer, tokens), text)
    // Bytes that are no text come out after a while, not at the end of all.
    const broken = Int32Array.from({ length: 40 }, () => 0xe6 + 1)
    const decoder = tokenizer.decoder()
    assert.ok([...broken].some((token) => decoder.push(token).includes('\ufffd')))
  })

  test('that is none is refused by the name of its file', async () => {
    const model = { type: 'BPE', merges: [] }
    const wrong: [unknown, RegExp][] = [
      [{}, /^DataError: dir\/tokenizer\.json: expected a tokenizer\.json of Hugging Face, with/],
      [[], /expected a tokenizer\.json of Hugging Face/],
      [{ ...byteLevelJson(), model: { ...model, vocab: { a: -1 } } }, /expected ids from 0 to 16777215, got -1/],
      [{ ...byteLevelJson(), model: { ...model, vocab: { a: 1e9 } } }, /got 1000000000/],
      [{ ...byteLevelJson(), decoder: undefined }, /of Hugging Face \(/],
      [{ ...byteLevelJson(), added_tokens: [{ content: 'x' }] }, /got none/],
    ]
    for (const [json, message] of wrong) await assert.rejects(readTokenizer(json, {}, 'dir/tokenizer.json'), message)
  })
})
