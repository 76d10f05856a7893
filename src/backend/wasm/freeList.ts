// Free regions of an address space, in the order of their addresses, neighbours merged. Sizes are multiples of 64 bytes.

export class FreeList {
  readonly #starts: number[] = []
  readonly #sizes: number[] = []

  /** Takes the smallest region that holds `bytes`, from its beginning; null where there is none. */
  take(bytes: number): number | null {
    let best = -1
    for (let i = 0; i < this.#sizes.length; i++) {
      if (this.#sizes[i] >= bytes && (best < 0 || this.#sizes[i] < this.#sizes[best])) best = i
    }
    if (best < 0) return null
    const address = this.#starts[best]
    if (this.#sizes[best] === bytes) {
      this.#starts.splice(best, 1)
      this.#sizes.splice(best, 1)
    } else {
      this.#starts[best] += bytes
      this.#sizes[best] -= bytes
    }
    return address
  }

  give(address: number, bytes: number): void {
    let at = 0
    for (let end = this.#starts.length; at < end; ) {
      const middle = (at + end) >> 1
      if (this.#starts[middle] < address) at = middle + 1
      else end = middle
    }
    const meetsNext = at < this.#starts.length && address + bytes === this.#starts[at]
    const meetsPrevious = at > 0 && this.#starts[at - 1] + this.#sizes[at - 1] === address
    if (meetsPrevious) {
      this.#sizes[at - 1] += bytes
      if (meetsNext) {
        this.#sizes[at - 1] += this.#sizes[at]
        this.#starts.splice(at, 1)
        this.#sizes.splice(at, 1)
      }
    } else if (meetsNext) {
      this.#starts[at] = address
      this.#sizes[at] += bytes
    } else {
      this.#starts.splice(at, 0, address)
      this.#sizes.splice(at, 0, bytes)
    }
  }

  /** Bytes free at the end of the address space, which ends at `end`. */
  freeBefore(end: number): number {
    const last = this.#starts.length - 1
    return last >= 0 && this.#starts[last] + this.#sizes[last] === end ? this.#sizes[last] : 0
  }

  get freeBytes(): number {
    return this.#sizes.reduce((sum, size) => sum + size, 0)
  }
}
