// The Mamba language model: embedding, pre-norm residual layers of Mamba mixers, final norm, head.
// The residual stream is float32; add, norm and mixer follow the official fused order, which equals x + mixer(norm(x)).
// Letters: B batch, L length, d d_model, V vocabulary.
import {
  Embedding,
  GatedMlp,
  initializers,
  LayerNorm,
  Module,
  type Norm,
  type Parameter,
  RmsNorm,
} from '../nn/index.js'
import {
  MambaMixer,
  type MambaMixerConfig,
  type MambaMixerState,
  type MixerOptions,
  type StateSpaceMixer,
} from '../ssm/mamba.js'
import { cast, linear, linearCrossEntropy, residualStream, scope, type Tensor, wholeStream } from '../tensor/index.js'
import type { MambaLMConfig } from './mamba-config.js'

/** What a model carries from token to token: one entry a layer, of constant size. */
export type MambaState = MambaMixerState[]

export interface ForwardOptions {
  /** Where the sequences continue from. Default: new sequences. */
  state?: MambaState | null
  /** 'return' gives the state after the last token as new tensors; 'update' overwrites `state`. Default 'none'. */
  finalState?: MixerOptions['finalState']
  /** (B, L) uint8: 1 where a new sequence starts (packed sequences). */
  resets?: Tensor | null
  /** A of each layer's mixer, where the caller has computed it for weights that do not change. */
  decays?: readonly Tensor[]
  /** Shown each layer's output under its name, for diagnosis. */
  observe?: (layer: string, output: Tensor) => void
}

/** Makes the mixer of a layer. */
export type MixerFactory = (config: MambaMixerConfig) => StateSpaceMixer

/** norm, mixer, and where the configuration has one, norm2 and a gated MLP. mirrors: Block (modules/block.py) */
class Layer extends Module {
  readonly norm: Norm
  readonly mixer: StateSpaceMixer
  readonly norm2: Norm | null
  readonly mlp: GatedMlp | null
  constructor(config: MambaLMConfig, mixerOf: MixerFactory) {
    super()
    const norm = () =>
      config.rmsNorm ? new RmsNorm(config.dModel, config.normEps) : new LayerNorm(config.dModel, config.normEps)
    // The language model re-draws every output projection divided by sqrt(n_layer).
    const rescale = Math.sqrt(config.nLayer)
    this.mixer = this.child('mixer', mixerOf({ ...config, outProjRescale: rescale }))
    this.norm = this.child('norm', norm())
    const hasMlp = config.dIntermediate > 0
    this.norm2 = hasMlp ? this.child('norm2', norm()) : null
    const outInitializer = (hidden: number) => initializers.kaimingUniform(hidden, rescale)
    this.mlp = hasMlp ? this.child('mlp', new GatedMlp(config.dModel, config.dIntermediate, { outInitializer })) : null
  }

  /** hidden is the previous layer's output, residual the float32 stream before it was added. */
  forward(hidden: Tensor, residual: Tensor | null, options: MixerOptions) {
    const first = this.norm.addAndNormalize(hidden, residual)
    const mixed = this.mixer.forward(first.out, options)
    if (!this.mlp) return { hidden: mixed.out, residual: first.sum, state: mixed.state }
    const second = this.norm2!.addAndNormalize(mixed.out, first.sum)
    return { hidden: this.mlp.forward(second.out), residual: second.sum, state: mixed.state }
  }
}

class Backbone extends Module {
  readonly embedding: Embedding
  readonly layers: readonly Layer[]
  readonly finalNorm: Norm
  constructor(config: MambaLMConfig, mixerOf: MixerFactory) {
    super()
    const name = config.layout === 'huggingface' ? 'embeddings' : 'embedding'
    this.embedding = this.child(name, new Embedding(config.vocabSize, config.dModel, initializers.normalWith(0.02)))
    this.layers = this.childList(
      'layers',
      Array.from({ length: config.nLayer }, () => new Layer(config, mixerOf)),
    )
    const norm = config.rmsNorm
      ? new RmsNorm(config.dModel, config.normEps)
      : new LayerNorm(config.dModel, config.normEps)
    this.finalNorm = this.child('norm_f', norm)
  }
}

class Head extends Module {
  readonly weight: Parameter
  constructor(config: MambaLMConfig, tied: Parameter | null) {
    super()
    const initializer = initializers.kaimingUniform(config.dModel)
    this.weight = tied
      ? this.share('weight', tied)
      : this.parameter('weight', [config.vocabSize, config.dModel], initializer)
  }
}

/** mirrors: MambaLMHeadModel of state-spaces/mamba and MambaForCausalLM of transformers */
export class MambaLM extends Module {
  readonly backbone: Backbone
  readonly head: Head
  /** `mixerOf`: what stands in the layers; by default the Mamba mixer. */
  constructor(
    readonly config: MambaLMConfig,
    mixerOf: MixerFactory = (mixer) => new MambaMixer(mixer),
  ) {
    super()
    this.backbone = this.child('backbone', new Backbone(config, mixerOf))
    this.head = this.child('lm_head', new Head(config, config.tieEmbeddings ? this.backbone.embedding.weight : null))
  }

  /** The state before the first token of `batch` sequences; size does not depend on length. */
  initialState(batch: number): MambaState {
    return this.backbone.layers.map((layer) => layer.mixer.initialState(batch))
  }

  /** A of each layer's mixer, (D, N). */
  decays(): Tensor[] {
    return this.backbone.layers.map((layer) => layer.mixer.decay())
  }

  /** ids (B, L) int32 -> hidden states (B, L, d) after the final norm, and the state after the last token where asked for. */
  hidden(ids: Tensor, options: ForwardOptions = {}): { hidden: Tensor; state: MambaState | null } {
    let hidden = cast(this.backbone.embedding.forward(ids), 'float32')
    options.observe?.('backbone.embedding', hidden)
    let residual: Tensor | null = null
    const state: MambaState = []
    this.backbone.layers.forEach((layer, i) => {
      // A layer's intermediates end with it; the tape holds on to what the gradient needs.
      const next = scope(() =>
        layer.forward(hidden, residual, { ...options, state: options.state?.[i], decay: options.decays?.[i] }),
      )
      for (const past of [hidden, residual]) if (past !== next.residual) past?.dispose()
      hidden = next.hidden
      options.observe?.(`backbone.layers.${i}`, hidden)
      residual = next.residual
      if (next.state) state.push(next.state)
    })
    const normalized = this.backbone.finalNorm.addAndNormalize(hidden, residual)
    options.observe?.('backbone.norm_f', normalized.out)
    return { hidden: normalized.out, state: options.finalState === 'return' ? state : null }
  }

  /** Can `step` take the layers of this model? Not with another mixer, LayerNorm, an MLP, or a bias of out_proj. */
  get hasStep(): boolean {
    return this.backbone.layers.every(
      ({ norm, mixer, mlp }) => norm instanceof RmsNorm && !mlp && mixer instanceof MambaMixer && !mixer.outProj.bias,
    )
  }

  /**
   * One token of each sequence, ids (B, 1) int32 -> (B, d) after the final norm; `state` moves on in place. What `hidden`
   * gives, by fewer and larger operations; no gradient.
   */
  step(ids: Tensor, state: MambaState, decays: readonly Tensor[]): Tensor {
    const { embedding, layers, finalNorm } = this.backbone
    const embedded = embedding.forward(ids).view([ids.shape[0], this.config.dModel])
    const stream = residualStream(embedded, (layers[0].mixer as MambaMixer).dInner)
    layers.forEach(({ norm, mixer }, i) => {
      scope(() => (mixer as MambaMixer).step(stream, norm as RmsNorm, state[i], decays[i]))
    })
    return finalNorm.forward(wholeStream(stream))
  }

  /** Hidden states (..., d) -> logits (..., V). */
  logits(hidden: Tensor): Tensor {
    return linear(hidden, this.head.weight.value)
  }

  /** Mean next-token cross-entropy in nats: ids and targets (B, L) int32, targets shifted by the caller. */
  loss(ids: Tensor, targets: Tensor, options: ForwardOptions = {}): Tensor {
    return linearCrossEntropy(this.hidden(ids, options).hidden, this.head.weight.value, targets)
  }
}
