import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { byteTokenizer } from '../data/tokenizer.js'
import { StopFilter, TextStream } from './text-stream.js'

/** Few letters, so that stop strings come up and overlap. */
const letters = (least: number, most: number) =>
  fc.string({ unit: fc.constantFrom('a', 'b', 'c', '😀'), minLength: least, maxLength: most })
const stops = fc.array(letters(1, 4), { maxLength: 3 })

/** Text up to the stop string that is complete first, found one code unit at a time. */
function plainCut(text: string, stops: readonly string[]): { text: string; stopped: boolean } {
  for (let end = 1; end <= text.length; end++) {
    const complete = stops.filter((stop) => text.slice(0, end).endsWith(stop))
    if (complete.length > 0)
      return { text: text.slice(0, end - Math.max(...complete.map(({ length }) => length))), stopped: true }
  }
  return { text, stopped: false }
}

test('text ends at the stop string that is complete first, however it is cut into pieces', () => {
  fc.assert(
    fc.property(fc.array(letters(0, 5), { maxLength: 8 }), stops, (pieces, stops) => {
      const filter = new StopFilter(stops)
      const shown = pieces.map((piece) => filter.push(piece))
      const expected = plainCut(pieces.join(''), stops)
      assert.equal(filter.stopped, expected.stopped)
      assert.equal(shown.join('') + filter.end(), expected.text)
    }),
    { numRuns: 2000 },
  )
})

test('what is shown can no longer become part of a stop string, and nothing else is held back', () => {
  fc.assert(
    fc.property(letters(0, 12), stops, (text, stops) => {
      const filter = new StopFilter(stops)
      let shown = ''
      for (let i = 0; i < text.length && !filter.stopped; i++) {
        shown += filter.push(text[i])
        if (filter.stopped) continue
        const seen = text.slice(0, i + 1)
        const open = stops.flatMap((stop) =>
          Array.from({ length: stop.length - 1 }, (_, n) => n + 1).filter((n) => seen.endsWith(stop.slice(0, n))),
        )
        assert.equal(shown.length, seen.length - Math.max(0, ...open))
      }
    }),
    { numRuns: 2000 },
  )
})

test('a stop string that begins inside a character of several tokens is found, and its tokens are left out', () => {
  const stream = new TextStream(byteTokenizer, ['é!'])
  const tokens = [...byteTokenizer.encode('aé?é!b')]
  const shown: string[] = []
  for (const token of tokens) {
    if (stream.stopped) break
    shown.push(stream.push(token))
  }
  assert.deepEqual(shown, ['a', '', '', 'é?', '', '', ''])
  assert.equal(stream.stopped, true)
  assert.equal(stream.end(), '')
  assert.equal(stream.tokenCount, byteTokenizer.encode('aé?').length)
})

test('an empty stop string is refused', () => {
  assert.throws(() => new StopFilter(['x', '']), /^MambakitError: stop: expected strings of at least one character/)
})
