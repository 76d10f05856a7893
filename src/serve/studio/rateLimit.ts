// How often the same asker may ask: so many times in any stretch of time.

export class RateLimit {
  readonly #asked = new Map<string, number[]>()

  constructor(
    readonly most: number,
    /** Milliseconds. */
    readonly within: number,
    readonly now: () => number = Date.now,
  ) {}

  /** Counts the asking and says whether it is allowed. */
  allows(key: string): boolean {
    const now = this.now()
    const recent = (this.#asked.get(key) ?? []).filter((time) => now - time < this.within)
    const allowed = recent.length < this.most
    if (allowed) recent.push(now)
    this.#asked.delete(key)
    this.#asked.set(key, recent)
    // Memory stays bounded: who asked longest ago is forgotten first.
    if (this.#asked.size > 10_000) this.#asked.delete(this.#asked.keys().next().value!)
    return allowed
  }
}
