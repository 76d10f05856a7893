// Random numbers on the host for one sample of data: a counter-based stream under a key (seed, epoch, index, ...), so that
// what a sample draws does not depend on who draws it, nor when.
import { mixWords } from './permutation.js'

export class Draws {
  #counter = 0
  /** 64 bits of the key. */
  readonly #one: number
  readonly #two: number
  constructor(...key: readonly number[]) {
    const words = key.flatMap((part) => [part >>> 0, Math.floor(part / 2 ** 32)])
    this.#one = mixWords(1, ...words)
    this.#two = mixWords(2, ...words)
  }
  /** Uniform in [0, 1), of 32 bits. */
  unit(): number {
    return mixWords(this.#counter++, this.#one, this.#two) / 2 ** 32
  }
  /** Uniform in [low, high). */
  uniform(low: number, high: number): number {
    return low + (high - low) * this.unit()
  }
  /** A whole number in [0, bound). */
  integer(bound: number): number {
    return Math.floor(this.unit() * bound)
  }
  /** True with this probability. */
  chance(probability: number): boolean {
    return this.unit() < probability
  }
  /** Normal. */
  normal(mean = 0, deviation = 1): number {
    // 1 - u lies in (0, 1].
    const radius = Math.sqrt(-2 * Math.log(1 - this.unit()))
    return mean + deviation * radius * Math.cos(2 * Math.PI * this.unit())
  }
  /** Gamma with this shape and scale 1 (Marsaglia and Tsang 2000). */
  gamma(shape: number): number {
    if (shape < 1) return this.gamma(shape + 1) * (1 - this.unit()) ** (1 / shape)
    const d = shape - 1 / 3
    const c = 1 / Math.sqrt(9 * d)
    for (;;) {
      const x = this.normal()
      const v = (1 + c * x) ** 3
      if (v > 0 && Math.log(1 - this.unit()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v
    }
  }
  /** Beta(a, a). */
  beta(a: number): number {
    const [x, y] = [this.gamma(a), this.gamma(a)]
    return x + y === 0 ? 0.5 : x / (x + y)
  }
}
