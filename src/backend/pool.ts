// Spare buffers by size class. Memory is ordered by the queue: a released buffer may be handed out again at once, since
// whatever was enqueued with it runs first.

/** A buffer's size class: up to 1/8 larger than asked, so that waste stays below 12.5 %. */
export function sizeClass(bytes: number): number {
  if (bytes <= 1024) return Math.max(64, Math.ceil(bytes / 64) * 64)
  const step = 2 ** (Math.floor(Math.log2(bytes)) - 3)
  return Math.ceil(bytes / step) * step
}

export class BufferPool<B extends { readonly capacity: number }> {
  readonly #spare = new Map<number, B[]>()
  #spareBytes = 0

  /** `most()`: spare bytes kept at most; beyond it a released buffer goes back to the system. */
  constructor(
    private readonly free: (buffer: B) => void,
    private readonly most: () => number,
  ) {}

  get spareBytes(): number {
    return this.#spareBytes
  }
  take(capacity: number): B | undefined {
    const buffer = this.#spare.get(capacity)?.pop()
    if (buffer) this.#spareBytes -= capacity
    return buffer
  }
  give(buffer: B): void {
    if (this.#spareBytes + buffer.capacity > this.most()) {
      this.free(buffer)
      return
    }
    this.#spareBytes += buffer.capacity
    const list = this.#spare.get(buffer.capacity)
    if (list) list.push(buffer)
    else this.#spare.set(buffer.capacity, [buffer])
  }
  /** Gives every spare buffer back to the system. */
  drain(): void {
    for (const list of this.#spare.values()) for (const buffer of list) this.free(buffer)
    this.#spare.clear()
    this.#spareBytes = 0
  }
}
