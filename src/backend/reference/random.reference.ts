// Counter-based random numbers (Philox4x32-10 of Salmon et al., 2011), and dropout that draws from them.
import { distributions } from '../kernels.js'
import type { ReferenceKernel } from './view.js'

type Words = readonly [number, number, number, number]

const lower = (x: number): number => x % 2 ** 32
const upper = (x: number): number => Math.floor(x / 2 ** 32)

/** High and low 32 bits of the product of two 32-bit words. */
function multiply(a: number, b: number): [high: number, low: number] {
  const product = BigInt(a) * BigInt(b)
  return [Number(product >> 32n), Number(product & 0xffffffffn)]
}

/** Ten rounds over a counter of four 32-bit words under a key of two. */
export function philox4x32(counter: Words, key: readonly [number, number]): Words {
  let words = counter
  let [k0, k1] = key
  for (let round = 0; round < 10; round++) {
    const [high0, low0] = multiply(0xd2511f53, words[0])
    const [high1, low1] = multiply(0xcd9e8d57, words[2])
    words = [(high1 ^ words[1] ^ k0) >>> 0, low1, (high0 ^ words[3] ^ k1) >>> 0, low0]
    k0 = lower(k0 + 0x9e3779b9)
    k1 = lower(k1 + 0xbb67ae85)
  }
  return words
}

/** The four words behind elements 4 * block .. 4 * block + 3. */
function blockWords(block: number, seed: number, stream: number, offset: number): Words {
  const at = offset + block
  return philox4x32([lower(at), upper(at), lower(stream), upper(stream)], [lower(seed), upper(seed)])
}

/** A multiple of 2^-24 in [0, 1). */
const fraction = (word: number): number => (word >>> 8) * 2 ** -24

/** Element i mod 4 of a block of normals: Box-Muller pairs of words (0, 1) and (2, 3). */
function standardNormal(words: Words, i: number): number {
  const pair = i & 2
  const radius = Math.sqrt(-2 * Math.log(fraction(words[pair]) + 2 ** -24))
  const angle = 2 * Math.PI * fraction(words[pair + 1])
  return radius * (i & 1 ? Math.sin(angle) : Math.cos(angle))
}

export const random: ReferenceKernel<'random'> = (
  { step, out },
  { distribution, alpha, beta, seed, stream, offset },
) => {
  const kind = distributions[distribution]
  const { fround } = Math
  const draw = (words: Words, i: number): number => {
    const word = words[i & 3]
    if (kind === 'normal') return alpha + beta * standardNormal(words, i)
    if (kind === 'integer') return alpha + multiply(word, beta - alpha)[0]
    // In float32 step by step, so that every backend gives the same bits.
    return fround(fround(alpha) + fround(fround(fround(beta) - fround(alpha)) * fraction(word)))
  }
  const drawStream = stream + (step?.at(0) ?? 0)
  const size = out.shape.reduce((n, extent) => n * extent, 1)
  let words: Words = [0, 0, 0, 0]
  out.assign(
    Float64Array.from({ length: size }, (_, i) => {
      if (i % 4 === 0) words = blockWords(i / 4, seed, drawStream, offset)
      return draw(words, i)
    }),
  )
}

export const dropout: ReferenceKernel<'dropout'> = ({ input, step, out }, { p, seed, stream, offset }) => {
  const drawStream = stream + (step?.at(0) ?? 0)
  let words: Words = [0, 0, 0, 0]
  out.assign(
    input.values().map((x, i) => {
      if (i % 4 === 0) words = blockWords(i / 4, seed, drawStream, offset)
      return fraction(words[i & 3]) >= Math.fround(p) ? x / (1 - p) : 0
    }),
  )
}
