// What training, measuring and experiments ask of a language model, whatever its layers are.
import type { Module, Parameter } from '../nn/index.js'
import type { Tensor } from '../tensor/index.js'

export interface LanguageModel extends Module {
  /** The output map; its weight tells the device. */
  readonly head: { readonly weight: Parameter }
  /** ids (B, L) int32 -> hidden states (B, L, d) after the final norm. `observe` is shown each layer's output. */
  hidden(ids: Tensor, options?: { observe?: (layer: string, output: Tensor) => void }): { hidden: Tensor }
  /** Hidden states (..., d) -> logits (..., V). */
  logits(hidden: Tensor): Tensor
  /** Mean cross-entropy in nats: ids and targets (B, L) int32; targets of -100 count for nothing. */
  loss(ids: Tensor, targets: Tensor): Tensor
}
