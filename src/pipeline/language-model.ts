// A language model with its tokenizer: text in, text out.
import type { Tokenizer } from '../data/tokenizer.js'
import { cloneState, Decoder, type GenerateOptions, generateTokens } from '../models/decoding.js'
import type { MambaLM, MambaState } from '../models/mamba-lm.js'

export class LanguageModel {
  constructor(
    readonly model: MambaLM,
    readonly tokenizer: Tokenizer,
  ) {
    model.eval()
  }

  /** Text that follows `prompt`, piece by piece as it is made. Throws an AbortError where `signal` ends it. */
  async *generate(prompt: string, options: GenerateOptions = {}): AsyncGenerator<string> {
    const decoder = this.tokenizer.decoder()
    const endToken = options.endToken === undefined ? this.tokenizer.endOfText : options.endToken
    for await (const token of generateTokens(this.model, this.#encode(prompt), { ...options, endToken })) {
      const piece = decoder.push(token)
      if (piece) yield piece
    }
    const rest = decoder.end()
    if (rest) yield rest
  }

  /** Reads a text and returns the state after it: a value of constant size, which the caller disposes. */
  async prefill(
    text: string,
    options: { state?: MambaState } = {},
  ): Promise<{ state: MambaState; logits: Float32Array }> {
    const decoder = new Decoder(this.model, 1, options.state && cloneState(options.state))
    try {
      const logits = await decoder.prefill(this.#encode(text))
      return { state: cloneState(decoder.state), logits }
    } finally {
      decoder.dispose()
    }
  }

  /** An empty prompt is the end-of-text token, after which a new text begins. */
  #encode(text: string): Int32Array {
    const ids = this.tokenizer.encode(text)
    return ids.length === 0 && this.tokenizer.endOfText !== null ? Int32Array.of(this.tokenizer.endOfText) : ids
  }

  dispose(): void {
    this.model.dispose()
  }
}
