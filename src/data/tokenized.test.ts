import assert from 'node:assert/strict'
import { test } from 'node:test'
import { blobSource } from './bytes.js'
import { textTokens } from './text.js'
import { tokenize } from './tokenized.js'
import { byteTokenizer, type Tokenizer } from './tokenizer.js'

/** Words with the space or line break behind them, as numbers in order of appearance; 0 ends a text. */
function wordTokenizer(): Tokenizer & { words: string[] } {
  const words = ['']
  return {
    ...byteTokenizer,
    words,
    vocabSize: 1000,
    endOfText: 0,
    encode: (text) =>
      Int32Array.from(text.match(/\S+\s*|\s+/g) ?? [], (word) => {
        if (!words.includes(word)) words.push(word)
        return words.indexOf(word)
      }),
  }
}

const source = (name: string, text: string) => blobSource(name, new Blob([text]))

test('a text is encoded once, its end between two texts, and read at any position', async () => {
  const tokenizer = wordTokenizer()
  const bytes = await textTokens([source('a.txt', 'one two'), source('b.txt', 'two größe')])
  const tokens = await tokenize(bytes, tokenizer)
  const [one, two, second, size] = ['one ', 'two', 'two ', 'größe'].map((word) => tokenizer.words.indexOf(word))
  assert.deepEqual([...(await tokens.read(0, tokens.length))], [one, two, 0, second, size])
  assert.deepEqual([...(await tokens.read(3, 2))], [second, size])
  assert.deepEqual([tokens.length, tokens.vocabSize], [5, 1000])
})

test('a long text gives the same tokens as in one piece, and none is cut', async () => {
  const lines = Array.from({ length: 60_000 }, (_, i) => `line ${i % 97} of größe  x\n`).join('')
  const bytes = await textTokens([source('long.txt', lines)])
  assert.ok(bytes.length > 1 << 20)
  const tokenizer = wordTokenizer()
  const tokens = await tokenize(bytes, tokenizer)
  assert.deepEqual(await tokens.read(0, tokens.length), tokenizer.encode(lines))
})

test('bytes stay as they are; a text of one token is refused', async () => {
  const bytes = await textTokens([source('a.txt', 'ab')])
  assert.equal(await tokenize(bytes, byteTokenizer), bytes)
  await assert.rejects(tokenize(bytes, wordTokenizer()), /a\.txt: expected a text of at least two tokens, got 1/)
})
