import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { byteTokenizer } from './tokenizer.js'

test('any well-formed text comes back from its byte tokens', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      const tokens = byteTokenizer.encode(text)
      assert.ok(tokens.every((token) => token > 0 && token < byteTokenizer.vocabSize))
      assert.equal(byteTokenizer.decode(tokens), text)
    }),
  )
})

test('a streamed character is held back until its last byte, and never lost', () => {
  const decoder = byteTokenizer.decoder()
  assert.deepEqual(
    [...byteTokenizer.encode('é→🐍')].map((token) => decoder.push(token)),
    ['', 'é', '', '', '→', '', '', '', '🐍'],
  )
  assert.equal(decoder.push(0xe2), '')
  assert.equal(decoder.push(65), '�A')
  assert.equal(decoder.push(0xf0), '')
  assert.equal(decoder.end(), '�')
  assert.equal(byteTokenizer.decode([0xef, 0xbb, 0xbf, 65]), '\ufeffA')
})

test('the end of text decodes to nothing, and a token beyond the bytes is an error', () => {
  assert.equal(byteTokenizer.decode([72, 0, 105]), 'Hi')
  assert.throws(() => byteTokenizer.decode([256]), /byte token in \[0, 256\), got 256/)
})
