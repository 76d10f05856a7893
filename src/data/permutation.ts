// Random orders that need no memory: the i-th element of a shuffled range and independent random integers, as functions
// of a seed. The same on every platform, being integer arithmetic only.

/** An integer in [0, bound), bound <= 2^32, drawn from (seed, stream). The bias is below bound / 2^53. */
export function uniformInteger(bound: number, seed: number, stream: number): number {
  const high = mixWords(0x9e37, ...halves(seed), ...halves(stream)) >>> 11
  const low = mixWords(0x79b9, ...halves(seed), ...halves(stream))
  return Math.floor(((high * 2 ** 32 + low) / 2 ** 53) * bound)
}

/** Where a shuffle of [0, size), size <= 2^32, that (seed, stream) picks puts `index`: a bijection for each pair. */
export function permutation(index: number, size: number, seed: number, stream: number): number {
  // A balanced Feistel network permutes [0, 4^k); walking on until the value is below `size` permutes [0, size).
  const bits = Math.max(1, Math.ceil(Math.log2(size) / 2))
  const mask = 2 ** bits - 1
  let value = index
  do {
    let left = Math.floor(value / 2 ** bits)
    let right = value % 2 ** bits
    for (let round = 0; round < 6; round++) {
      const mixed = (left ^ mixWords(round, right, ...halves(seed), ...halves(stream))) & mask
      left = right
      right = mixed >>> 0
    }
    value = left * 2 ** bits + right
  } while (value >= size)
  return value
}

/** The low and high 32 bits of an integer below 2^53. */
function halves(value: number): [number, number] {
  return [value >>> 0, Math.floor(value / 2 ** 32)]
}

/** 32 well-mixed bits of the words (the rounds of MurmurHash3). */
export function mixWords(...words: readonly number[]): number {
  let state = 0x2545f491
  for (const word of words) {
    let k = Math.imul(word, 0xcc9e2d51)
    k = Math.imul((k << 15) | (k >>> 17), 0x1b873593)
    state ^= k
    state = Math.imul((state << 13) | (state >>> 19), 5) + 0xe6546b64
  }
  state = Math.imul(state ^ (state >>> 16), 0x85ebca6b)
  state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35)
  return (state ^ (state >>> 16)) >>> 0
}
