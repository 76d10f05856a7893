// Language modelling: next-token loss over windows of a token stream, held-out bits per token.
import type { Backend } from '../backend/types.js'
import type { TextSplit, TokenSource } from '../data/text.js'
import { evaluationBatches, WindowSampler } from '../data/windows.js'
import type { LanguageModel } from '../models/language-model.js'
import { crossEntropy, mean, noGrad, scope, slice, type Tensor, tensor } from '../tensor/index.js'
import type { TrainingTask } from '../train/trainer.js'

export interface LanguageModelingOptions {
  /** Tokens a window predicts (L). */
  length: number
  /** Windows a batch (B). */
  batch: number
  seed?: number
  /** Held-out tokens to measure on at most. Default: all. */
  evaluationTokens?: number
  /** Bytes of text that a token stands for on average; where given, bits per byte are measured too. */
  bytesPerToken?: number
}

export interface TokenBatch {
  /** (B, L + 1) int32, row-major. */
  readonly tokens: Int32Array
  readonly batch: number
  readonly length: number
}

/** Inputs and targets (B, L) of windows of L + 1 tokens. */
export function inputsAndTargets(
  { tokens, batch, length }: TokenBatch,
  backend: Backend,
): { ids: Tensor; targets: Tensor } {
  const windows = tensor(tokens, { shape: [batch, length + 1], backend })
  return { ids: slice(windows, 1, 0, length), targets: slice(windows, 1, 1, length + 1) }
}

/** Mean next-token loss of a token source, in nats. */
export async function meanLoss(
  model: LanguageModel,
  tokens: TokenSource,
  options: LanguageModelingOptions,
): Promise<number> {
  const { backend } = model.head.weight.value
  let nats = 0
  let count = 0
  const limit = options.evaluationTokens
  for await (const batch of evaluationBatches(tokens, { length: options.length, batch: options.batch, limit })) {
    const loss = scope(() =>
      noGrad(() => {
        const { ids, targets } = inputsAndTargets(batch, backend)
        return model.loss(ids, targets)
      }),
    )
    nats += (await loss.item()) * batch.batch * batch.length
    count += batch.batch * batch.length
    loss.dispose()
  }
  return nats / count
}

/** The mean loss of each whole window, in bits a token: what a paired comparison of models takes as its items. */
export async function windowBits(
  model: LanguageModel,
  tokens: TokenSource,
  options: LanguageModelingOptions,
): Promise<number[]> {
  const { backend } = model.head.weight.value
  const { length, batch: rows, evaluationTokens: limit } = options
  const bits: number[] = []
  for await (const batch of evaluationBatches(tokens, { length, batch: rows, limit })) {
    if (batch.length < length) break
    const losses = scope(() =>
      noGrad(() => {
        const { ids, targets } = inputsAndTargets(batch, backend)
        const logits = model.logits(model.hidden(ids).hidden)
        return mean(crossEntropy(logits, targets, { reduction: 'none' }), { axis: 1 })
      }),
    )
    bits.push(...Array.from(await losses.data(), (nats) => nats / Math.LN2))
    losses.dispose()
  }
  return bits
}

/** Trains a language model on the training part of a text and measures it on the held-out part. */
export class LanguageModeling implements TrainingTask<TokenBatch> {
  readonly unit = 'tokens'
  readonly unitsPerBatch: number
  readonly #sampler: WindowSampler
  constructor(
    readonly model: LanguageModel,
    private readonly text: TextSplit,
    private readonly options: LanguageModelingOptions,
  ) {
    const { length, batch, seed = 0 } = options
    this.unitsPerBatch = batch * length
    this.#sampler = new WindowSampler(text.train, { length, batch, seed })
  }
  async batch(index: number): Promise<TokenBatch> {
    const { length, batch } = this.options
    return { tokens: await this.#sampler.batch(index), batch, length }
  }
  loss(batch: TokenBatch): Tensor {
    const { ids, targets } = inputsAndTargets(batch, this.model.head.weight.value.backend)
    return this.model.loss(ids, targets)
  }
  /** Held-out bits per token, and per byte of text, which models of other tokenizers can be compared by. */
  async evaluate(): Promise<Record<string, number>> {
    const nats = await meanLoss(this.model, this.text.heldOut, this.options)
    const bits = nats / Math.LN2
    const { bytesPerToken } = this.options
    return { 'bits per token': bits, ...(bytesPerToken && { 'bits per byte': bits / bytesPerToken }), loss: nats }
  }
  observe(batch: TokenBatch, visit: (layer: string, output: Tensor) => void): void {
    const { ids } = inputsAndTargets(batch, this.model.head.weight.value.backend)
    const { hidden } = this.model.hidden(ids, { observe: visit })
    visit('lm_head', this.model.logits(hidden))
  }
}
