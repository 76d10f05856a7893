// Text of a growing list of tokens, ended by stop strings: what could still become part of one is held back, so that
// streamed text never has to be taken back.
import type { StreamDecoder, Tokenizer } from '../data/tokenizer.js'
import { MambakitError } from '../errors.js'

/** Lets text through up to the first stop string that is complete, however the text is cut into pieces. */
export class StopFilter {
  #held = ''
  #stopped = false
  constructor(private readonly stops: readonly string[]) {
    if (stops.some((stop) => typeof stop !== 'string' || stop === ''))
      throw new MambakitError(`stop: expected strings of at least one character, got ${JSON.stringify(stops)}`)
  }
  /** True once a stop string was complete. */
  get stopped(): boolean {
    return this.#stopped
  }
  /** Takes more text and gives what can no longer become part of a stop string. */
  push(text: string): string {
    if (this.#stopped) return ''
    const whole = this.#held + text
    // The one that is complete first; of several that end there, the longest.
    let [start, end] = [whole.length, Number.POSITIVE_INFINITY]
    for (const stop of this.stops) {
      const at = whole.indexOf(stop)
      if (at === -1) continue
      const after = at + stop.length
      if (after < end || (after === end && at < start)) [start, end] = [at, after]
    }
    this.#stopped = end <= whole.length
    if (!this.#stopped) start = whole.length - this.#openLength(whole)
    this.#held = this.#stopped ? '' : whole.slice(start)
    return whole.slice(0, start)
  }
  /** What was held back, where no more text comes. */
  end(): string {
    const rest = this.#held
    this.#held = ''
    return rest
  }
  /** Length of the longest end of `text` that a stop string begins with. */
  #openLength(text: string): number {
    let open = 0
    for (const stop of this.stops)
      for (let length = Math.min(stop.length - 1, text.length); length > open; length--)
        if (text.endsWith(stop.slice(0, length))) open = length
    return open
  }
}

/** Turns the tokens of one text into pieces that can be shown, and knows which tokens they came from. */
export class TextStream {
  readonly #decoder: StreamDecoder
  readonly #filter: StopFilter
  /** Characters of text before each token. */
  readonly #starts: number[] = []
  #decoded = 0
  #sent = 0
  #settled = true
  constructor(tokenizer: Tokenizer, stops: readonly string[] = []) {
    this.#decoder = tokenizer.decoder()
    this.#filter = new StopFilter(stops)
  }
  get stopped(): boolean {
    return this.#filter.stopped
  }
  /** True where the text of every token so far has been let through. */
  get settled(): boolean {
    return this.#settled
  }
  /** Tokens that the text came from: those of a stop string are left out. */
  get tokenCount(): number {
    return this.stopped ? this.#starts.filter((start) => start < this.#sent).length : this.#starts.length
  }
  push(token: number): string {
    this.#starts.push(this.#decoded)
    const piece = this.#decoder.push(token)
    this.#decoded += piece.length
    const sent = this.#filter.push(piece)
    this.#sent += sent.length
    this.#settled = piece !== '' && this.#sent === this.#decoded
    return sent
  }
  /** The rest, where no more tokens come. */
  end(): string {
    const rest = this.#filter.push(this.#decoder.end()) + this.#filter.end()
    this.#sent += rest.length
    return rest
  }
}
