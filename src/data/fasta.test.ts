import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DataError } from './bytes.js'
import { baseLetters, joinBases, readFasta } from './fasta.js'

const bytes = (text: string) => new TextEncoder().encode(text)
const lettersOf = (bases: Uint8Array) => Array.from(bases, (token) => baseLetters[token]).join('')

test('records, line ends of all kinds, small letters, RNA and codes for several bases are read', () => {
  const text = '>one some words\r\nACGT\r\n\r\nacgtn\r\n; a remark\n>two\nU RYK\tA\n>empty\n>last\nNNN'
  const records = readFasta('x.fa', bytes(text))
  assert.deepEqual(
    records.map(({ header, bases }) => [header, lettersOf(bases)]),
    [
      ['one some words', 'ACGTACGTN'],
      ['two', 'TNNNA'],
      ['empty', ''],
      ['last', 'NNN'],
    ],
  )
})

test('joined records have an unknown base between them', () => {
  assert.equal(lettersOf(joinBases(readFasta('x.fa', bytes('>a\nAC\n>b\nGT\n')))), 'ACNGT')
})

test('what was written is read, whatever the width of the lines', () => {
  const record = fc.record({
    header: fc.stringMatching(/^[a-z0-9 ]{0,12}$/),
    bases: fc.stringMatching(/^[ACGTN]{1,200}$/),
    width: fc.integer({ min: 1, max: 80 }),
  })
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 4 }), (records) => {
      const text = records.map(
        ({ header, bases, width }) => `>${header}\n${bases.replace(RegExp(`.{1,${width}}`, 'g'), '$&\n')}`,
      )
      const read = readFasta('x.fa', bytes(text.join('')))
      assert.deepEqual(
        read.map((r) => [r.header, lettersOf(r.bases)]),
        records.map(({ header, bases }) => [header.trim(), bases]),
      )
    }),
  )
})

test('a file that is no FASTA is refused with the line', () => {
  const refuse = (text: string, message: RegExp) => assert.throws(() => readFasta('x.fa', bytes(text)), message)
  refuse('ACGT\n', /x\.fa: line 1: expected FASTA, whose first line starts with '>'/)
  refuse('>a\nAC\nA-C\n', /x\.fa: line 3: expected bases \(A, C, G, T, N\), got '-'/)
  refuse('>a\nAC\u00e9\n', /x\.fa: line 2: expected bases .*, got byte 195/)
  refuse('>a\n>b\n', /x\.fa: expected FASTA, found no bases/)
  refuse('', /x\.fa: expected FASTA, found no bases/)
})

test('mutants of a FASTA file are read or refused by name, and nothing else', () => {
  const valid = bytes('>one\nACGTACGT\nNNAC\n>two\r\nTTTT\n')
  const changes = fc.array(fc.tuple(fc.nat(valid.length - 1), fc.integer({ min: 0, max: 255 })), { maxLength: 4 })
  const seen = { read: 0, refused: 0 }
  fc.assert(
    fc.property(changes, fc.nat(valid.length), (list, length) => {
      const mutant = valid.slice(0, length)
      for (const [at, byte] of list) if (at < length) mutant[at] = byte
      try {
        for (const { bases } of readFasta('x.fa', mutant)) assert.ok(bases.every((token) => token < baseLetters.length))
        seen.read++
      } catch (error) {
        assert.ok(error instanceof DataError, `${error}`)
        seen.refused++
      }
    }),
    { numRuns: 2000, seed: 1 },
  )
  assert.ok(seen.read > 200 && seen.refused > 200, JSON.stringify(seen))
})
