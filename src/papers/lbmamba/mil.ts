// MambaMIL (arXiv 2403.06800) with the locally bidirectional scan: a bag of patch features as a sequence through Mamba
// layers, then attention over the patches.
// Letters: n patches of a bag, d d_model, K classes.
import { Dropout, initializers, LayerNorm, Linear, Module } from '../../nn/index.js'
import { VimMixer } from '../../ssm/vim-mixer.js'
import { add, gelu, matmul, relu, reshape, softmax, type Tensor, tanh, transpose } from '../../tensor/index.js'

/** Under the official names, and the two widths that the official code has as literals. */
export interface MambaMilConfig {
  in_dim: number
  n_classes: number
  dropout: number
  act: 'relu' | 'gelu'
  layer: number
  d_model: number
  attention_hidden: number
  /** Steps of a window of the scan, 'by length' as LBMamba's kernel has it, 0 for MambaMIL itself. */
  window: number | 'by length'
}

export const mambaMilDefaults: Omit<MambaMilConfig, 'n_classes'> = {
  in_dim: 1024,
  dropout: 0.25,
  act: 'relu',
  layer: 2,
  d_model: 512,
  attention_hidden: 128,
  window: 'by length',
}

/** Linear maps, those of the mixers too, start by Xavier's normal rule with biases of 0. */
const xavierNormal = (shape: readonly number[]) => initializers.normalWith(Math.sqrt(2 / (shape[0] + shape[1])))(shape)
const linearOf = (from: number, to: number) =>
  new Linear(from, to, { weightInitializer: xavierNormal, biasInitializer: initializers.constant(0) })

/** mirrors: MambaMIL of isyangshu/MambaMIL, type 'Mamba' */
export class MambaMil extends Module {
  readonly #activation: (x: Tensor) => Tensor
  readonly entry: Linear
  readonly dropout: Dropout
  readonly layers: readonly (readonly [norm: LayerNorm, mixer: VimMixer])[]
  readonly norm: LayerNorm
  readonly scores: readonly [hidden: Linear, score: Linear]
  readonly classifier: Linear
  constructor(readonly config: MambaMilConfig) {
    super()
    const { in_dim, n_classes, dropout, act, layer, d_model, attention_hidden, window } = config
    this.#activation = act === 'relu' ? relu : gelu
    this.entry = this.child('_fc1.0', linearOf(in_dim, d_model))
    this.dropout = new Dropout(dropout)
    this.child('_fc1.2', this.dropout)
    this.norm = this.child('norm', new LayerNorm(d_model, 1e-5))
    this.layers = Array.from({ length: layer }, (_, i) => [
      this.child(`layers.${i}.0`, new LayerNorm(d_model, 1e-5)),
      this.child(
        `layers.${i}.1`,
        new VimMixer({
          ...{ d_model, bimamba_type: 'none', window },
          initial: { weightInitializer: xavierNormal, biasInitializer: initializers.constant(0) },
        }),
      ),
    ])
    this.scores = [
      this.child('attention.0', linearOf(d_model, attention_hidden)),
      this.child('attention.2', linearOf(attention_hidden, 1)),
    ]
    this.classifier = this.child('classifier', linearOf(d_model, n_classes))
  }

  /** Bags (B, n, in_dim) -> logits (B, K) */
  forward(bags: Tensor): Tensor {
    let patches = this.dropout.forward(this.#activation(this.entry.forward(bags)))
    for (const [norm, mixer] of this.layers) patches = add(patches, mixer.forward(norm.forward(patches)))
    const normed = this.norm.forward(patches)
    const [hidden, score] = this.scores
    const weights = softmax(transpose(score.forward(tanh(hidden.forward(normed))), 1, 2))
    const [batch, , width] = normed.shape
    return this.classifier.forward(reshape(matmul(weights, normed), [batch, width]))
  }
}
