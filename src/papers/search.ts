// Full-text search over entries as one types: an index from words to entries that answers within a frame for 10,000 of
// them. Every word of the query has to match; the start of a word is enough, and a word that starts nothing is taken as
// mistyped by one letter (uFuzzy says by what).
import uFuzzy from '@leeoniya/ufuzzy'
import { type Entry, signature } from './entry.js'

/** How much a hit counts, by the field it is in; a word counts once, in its best field. */
const fields: readonly { readonly weight: number; readonly text: (entry: Entry) => string }[] = [
  { weight: 1, text: ({ summary, claim = '', venue = '' }) => `${summary} ${claim} ${venue}` },
  { weight: 3, text: ({ domain, state = '', arxiv = '', date }) => `${domain} ${state} ${arxiv} ${date ?? ''}` },
  { weight: 3, text: (entry) => `${entry.authors ?? ''} ${signature(entry)}` },
  { weight: 8, text: ({ title, id }) => `${title} ${id}` },
]
const weights = fields.map(({ weight }) => weight)
const fieldBits = 2

/** A typo is looked for in words of at least so many letters: shorter ones turn into anything. */
const leastTypoLength = 4

export class SearchIndex {
  /** Word to entries, each entry number with its best field in the low bits. */
  readonly #postings = new Map<string, number[]>()
  /** The same in the order of the words; made again after adding. */
  #sorted: SortedPostings | null = null
  /** What the words of the last query scored: one types at the end, and the words before stay. */
  #lastScores = new Map<string, Float32Array>()
  #size = 0
  readonly #fuzzy = new uFuzzy({ intraMode: 1, intraIns: 1, intraSub: 1, intraTrn: 1, intraDel: 1, interLft: 2 })

  /** Number of entries; they are numbered from 0 in the order in which they are added. */
  get size(): number {
    return this.#size
  }

  add(entry: Entry): void {
    const number = this.#size++
    const best = new Map<string, number>()
    fields.forEach(({ text }, field) => {
      for (const word of wordsOf(text(entry))) best.set(word, field)
    })
    for (const [word, field] of best) {
      const postings = this.#postings.get(word)
      const posting = (number << fieldBits) | field
      if (postings) postings.push(posting)
      else this.#postings.set(word, [posting])
    }
    this.#sorted = null
    this.#lastScores.clear()
  }

  /** Numbers of the entries that match, best first, the order of adding among equals. An empty query matches all. */
  search(query: string): number[] {
    const queried = [...new Set(wordsOf(query))]
    if (queried.length === 0) return Array.from({ length: this.#size }, (_, number) => number)
    const total = new Float32Array(this.#size)
    const scores = new Map(queried.map((word) => [word, this.#lastScores.get(word) ?? this.#scores(word)]))
    this.#lastScores = scores
    let matching: number[] | undefined
    for (const score of scores.values()) {
      const kept: number[] = []
      const candidates = matching?.length ?? this.#size
      for (let i = 0; i < candidates; i++) {
        const number = matching?.[i] ?? i
        if (score[number] === 0) continue
        total[number] += score[number]
        kept.push(number)
      }
      matching = kept
    }
    return bestFirst(matching!, total)
  }

  /** What each entry scores for one word of a query. */
  #scores(word: string): Float32Array {
    const scores = new Float32Array(this.#size)
    const { words, starts, postings } = (this.#sorted ??= sortPostings(this.#postings))
    /** Words [first, end): what starts with a word lies side by side. */
    const count = (first: number, end: number, quality: number) => {
      for (let i = starts[first]; i < starts[end]; i++) {
        const number = postings[i] >> fieldBits
        const score = quality * weights[postings[i] & ((1 << fieldBits) - 1)]
        if (score > scores[number]) scores[number] = score
      }
    }
    const first = firstNotBefore(words, word)
    // No word holds this character, so that it comes behind all that start with the word.
    const end = firstNotBefore(words, `${word}\uffff`)
    if (words[first] === word) count(first, first + 1, 1)
    count(first, end, 0.7)
    if (first === end && word.length >= leastTypoLength) {
      // The first letter is taken as right, which is where people err least, and spares most of the words.
      const letter = word.codePointAt(0)!
      const begin = firstNotBefore(words, String.fromCodePoint(letter))
      const candidates = words.slice(begin, firstNotBefore(words, String.fromCodePoint(letter + 1)))
      for (const i of this.#fuzzy.filter(candidates, word) ?? []) {
        // A typo hides a word of about this length, not the start of a long one.
        if (candidates[i].length <= word.length + 4) count(begin + i, begin + i + 1, 0.4)
      }
    }
    return scores
  }
}

interface SortedPostings {
  readonly words: readonly string[]
  /** Where the postings of each word begin, and where the last ones end. */
  readonly starts: Uint32Array
  readonly postings: Uint32Array
}

function sortPostings(postingsOf: ReadonlyMap<string, readonly number[]>): SortedPostings {
  const words = [...postingsOf.keys()].sort()
  const starts = new Uint32Array(words.length + 1)
  words.forEach((word, i) => {
    starts[i + 1] = starts[i] + postingsOf.get(word)!.length
  })
  const postings = new Uint32Array(starts[words.length])
  for (const [i, word] of words.entries()) postings.set(postingsOf.get(word)!, starts[i])
  return { words, starts, postings }
}

/** Sorts by score, then number. Numbers alone, without a comparison function, sort many times faster. */
function bestFirst(numbers: readonly number[], total: Float32Array): number[] {
  const room = 2 ** 24
  const keys = new Float64Array(numbers.length)
  for (let i = 0; i < keys.length; i++) keys[i] = numbers[i] - Math.round(total[numbers[i]] * 10) * room
  keys.sort()
  const sorted = new Array<number>(keys.length)
  for (let i = 0; i < keys.length; i++) sorted[i] = ((keys[i] % room) + room) % room
  return sorted
}

/** Letters and digits, without case and accents. */
function wordsOf(text: string): string[] {
  return (
    text
      .normalize('NFKD')
      .replace(/\p{M}+/gu, '')
      .toLowerCase()
      .match(/[\p{L}\p{N}]+/gu) ?? []
  )
}

/** Index of the first word that is not before `word` in the order of code units. */
function firstNotBefore(words: readonly string[], word: string): number {
  let low = 0
  let high = words.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (words[middle] < word) low = middle + 1
    else high = middle
  }
  return low
}
