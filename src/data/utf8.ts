// Tells text from other data while it streams by: finds the first NUL or byte that is not UTF-8, and where it stands.

export interface NotText {
  /** Bytes from the start of the stream to the offending one. */
  readonly offset: number
  readonly reason: 'a NUL byte' | 'invalid UTF-8'
}

/** Checks a stream of pieces; a character may be cut between two of them. */
export class TextChecker {
  private checked = 0
  /** Continuation bytes that the open character still needs, and the range that the next one must lie in. */
  private needed = 0
  private low = 0x80
  private high = 0xbf
  private opened = 0

  /** The first fault in this piece, or null. After a fault the checker is spent. */
  push(piece: Uint8Array): NotText | null {
    for (let i = 0; i < piece.length; i++) {
      const byte = piece[i]
      if (this.needed === 0) {
        if (byte < 0x80 && byte !== 0) continue
        const offset = this.checked + i
        if (byte === 0) return { offset, reason: 'a NUL byte' }
        if (!this.open(byte)) return { offset, reason: 'invalid UTF-8' }
        this.opened = offset
      } else {
        if (byte < this.low || byte > this.high) return { offset: this.opened, reason: 'invalid UTF-8' }
        this.low = 0x80
        this.high = 0xbf
        this.needed--
      }
    }
    this.checked += piece.length
    return null
  }

  /** The fault of a stream that ends inside a character, or null. */
  end(): NotText | null {
    return this.needed > 0 ? { offset: this.opened, reason: 'invalid UTF-8' } : null
  }

  /** Takes the first byte of a longer character: RFC 3629, section 4 (no overlong forms, surrogates, or beyond U+10FFFF). */
  private open(byte: number): boolean {
    if (byte >= 0xc2 && byte <= 0xdf) this.needed = 1
    else if (byte >= 0xe0 && byte <= 0xef) this.needed = 2
    else if (byte >= 0xf0 && byte <= 0xf4) this.needed = 3
    else return false
    if (byte === 0xe0) this.low = 0xa0
    if (byte === 0xed) this.high = 0x9f
    if (byte === 0xf0) this.low = 0x90
    if (byte === 0xf4) this.high = 0x8f
    return true
  }
}
