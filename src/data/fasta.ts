// FASTA: records of a header line and lines of bases. One token a base: A, C, G, T, and N for whatever is not known.
import { DataError } from './bytes.js'

/** Token i stands for letter i. */
export const baseLetters = 'ACGTN'
const unknown = baseLetters.indexOf('N')

export interface FastaRecord {
  /** The header without its '>'. */
  readonly header: string
  /** Tokens, one a base. */
  readonly bases: Uint8Array
}

/** Token by character code; -1 where the character is no base. Soft-masked (small) letters count as their capitals. */
const tokenOf = new Int8Array(128).fill(-1)
for (const letters of [baseLetters, baseLetters.toLowerCase()])
  for (const [token, letter] of [...letters].entries()) tokenOf[letter.charCodeAt(0)] = token
for (const letter of 'Uu') tokenOf[letter.charCodeAt(0)] = baseLetters.indexOf('T')
// The codes of IUPAC that stand for one of several bases.
for (const letter of 'RYSWKMBDHVryswkmbdhv') tokenOf[letter.charCodeAt(0)] = unknown

const [newline, carriageReturn, greater, semicolon, space, tab] = [...'\n\r>; \t'].map((c) => c.charCodeAt(0))

/** The records of a FASTA file. Throws DataError that names the line where it is none. */
export function readFasta(name: string, bytes: Uint8Array): FastaRecord[] {
  const records: FastaRecord[] = []
  const decoder = new TextDecoder()
  let header: string | null = null
  let bases = new Uint8Array(1 << 16)
  let count = 0
  const finish = () => {
    if (header !== null) records.push({ header, bases: bases.slice(0, count) })
    count = 0
  }
  for (let at = 0, line = 1; at < bytes.length; line++) {
    const newlineAt = bytes.indexOf(newline, at)
    const end = newlineAt === -1 ? bytes.length : newlineAt
    const first = bytes[at]
    if (first === greater) {
      finish()
      header = decoder.decode(bytes.subarray(at + 1, end)).trim()
    } else if (first !== semicolon) {
      for (let i = at; i < end; i++) {
        const code = bytes[i]
        if (code === carriageReturn || code === space || code === tab) continue
        if (header === null) throw new DataError(name, `line ${line}: expected FASTA, whose first line starts with '>'`)
        const token = code < 128 ? tokenOf[code] : -1
        if (token < 0) throw new DataError(name, `line ${line}: expected bases (A, C, G, T, N), got ${shown(code)}`)
        if (count === bases.length) {
          const larger = new Uint8Array(2 * bases.length)
          larger.set(bases)
          bases = larger
        }
        bases[count++] = token
      }
    }
    at = end + 1
  }
  finish()
  if (records.every((record) => record.bases.length === 0)) throw new DataError(name, 'expected FASTA, found no bases')
  return records
}

const shown = (code: number) => (code > 32 && code < 127 ? `'${String.fromCharCode(code)}'` : `byte ${code}`)

/** All records as one row of tokens, with an unknown base between two. */
export function joinBases(records: readonly FastaRecord[]): Uint8Array {
  const out = new Uint8Array(records.reduce((sum, { bases }) => sum + bases.length + 1, -1)).fill(unknown)
  let at = 0
  for (const { bases } of records) {
    out.set(bases, at)
    at += bases.length + 1
  }
  return out
}
