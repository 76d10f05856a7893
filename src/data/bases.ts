// The tokenizer of DNA: one token a base, written as its letter.
import { MambakitError } from '../errors.js'
import { baseLetters, joinBases, readFasta } from './fasta.js'
import type { Tokenizer } from './tokenizer.js'

/** A, C, G, T, N. Text is read as bases of one record, with or without a FASTA header. */
export const baseTokenizer: Tokenizer = {
  vocabSize: baseLetters.length,
  endOfText: null,
  encode(text) {
    const fasta = text.trimStart().startsWith('>') ? text : `>\n${text}`
    if (text.trim() === '') return new Int32Array(0)
    return Int32Array.from(joinBases(readFasta('text', new TextEncoder().encode(fasta))))
  },
  decode: (tokens) => Array.from(tokens, letterOf).join(''),
  decoder: () => ({ push: letterOf, end: () => '' }),
}

function letterOf(token: number): string {
  const letter = baseLetters[token]
  if (letter === undefined) throw new MambakitError(`expected a base token in [0, ${baseLetters.length}), got ${token}`)
  return letter
}
