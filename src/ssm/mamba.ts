// The Mamba mixer (S6 block): a gated causal convolution and a selective scan between two linear maps.
// Idea: the step size and the input and output maps of a diagonal state-space model depend on the token, so that the
// recurrence chooses what to keep.
// Letters: d d_model, D d_inner = expand d, N d_state, K d_conv, R dt_rank.
import { initializers, Linear, Module, type Parameter, type RmsNorm } from '../nn/index.js'
import {
  addProjected,
  causalConv1d,
  exp,
  linear,
  mambaStepIn,
  mambaStepScan,
  neg,
  selectiveScan,
  split,
  type Tensor,
  zeros,
} from '../tensor/index.js'

export interface MambaMixerConfig {
  dModel: number
  /** N. Default 16. */
  dState?: number
  /** K. Default 4. */
  dConv?: number
  /** d_inner / d_model. Default 2. */
  expand?: number
  /** R; 'auto' is ceil(d_model / 16). Default 'auto'. */
  dtRank?: number | 'auto'
  /** Default true. */
  convBias?: boolean
  /** Bias of in_proj and out_proj. Default false. */
  bias?: boolean
  /** Range of the initial step sizes. Defaults 0.001 to 0.1, at least 1e-4. */
  dtMin?: number
  dtMax?: number
  dtInitFloor?: number
  /** Factor of the initial dt_proj weights. Default 1. */
  dtScale?: number
  /** out_proj starts divided by this (the square root of the number of layers). Default 1. */
  outProjRescale?: number
}

/** What a mixer carries from token to token. Both float32. */
export interface MambaMixerState {
  /** (B, K, D): the last K inputs of the convolution, oldest first. */
  conv: Tensor
  /** (B, D, N). */
  ssm: Tensor
}

export interface MixerOptions {
  /** Where the sequence continues from. Default: a new sequence. */
  state?: MambaMixerState | null
  /** 'return' gives the state after the last token as new tensors; 'update' overwrites `state` (no gradient). Default 'none'. */
  finalState?: 'none' | 'return' | 'update'
  /** (B, L) uint8: 1 where a new sequence starts. */
  resets?: Tensor | null
  /** A (D, N), where the caller has computed it by `decay()` for weights that do not change. */
  decay?: Tensor
}

/** What a language model asks of a mixer with a recurrent state. */
export interface StateSpaceMixer extends Module {
  readonly dInner: number
  readonly dState: number
  readonly dConv: number
  initialState(batch: number): MambaMixerState
  decay(): Tensor
  forward(input: Tensor, options?: MixerOptions): { out: Tensor; state: MambaMixerState | null }
}

/** mirrors: Mamba of state-spaces/mamba (modules/mamba_simple.py) */
export class MambaMixer extends Module implements StateSpaceMixer {
  readonly dInner: number
  readonly dState: number
  readonly dConv: number
  readonly #dtRank: number
  readonly inProj: Linear
  readonly convWeight: Parameter
  readonly convBias: Parameter | null
  readonly xProj: Linear
  readonly dtProj: Linear
  readonly ALog: Parameter
  readonly D: Parameter
  readonly outProj: Linear

  constructor(config: MambaMixerConfig) {
    super()
    const { dModel, dState = 16, dConv = 4, expand = 2, dtRank = 'auto', convBias = true, bias = false } = config
    const { dtMin = 0.001, dtMax = 0.1, dtInitFloor = 1e-4, dtScale = 1, outProjRescale = 1 } = config
    this.dInner = expand * dModel
    this.dState = dState
    this.dConv = dConv
    this.#dtRank = dtRank === 'auto' ? Math.ceil(dModel / 16) : dtRank
    const zero = initializers.constant(0)
    this.ALog = this.parameter('A_log', [this.dInner, dState], initializers.logSpectrum, { decay: false })
    this.D = this.parameter('D', [this.dInner], initializers.constant(1), { decay: false })
    this.inProj = this.child('in_proj', new Linear(dModel, 2 * this.dInner, { bias, biasInitializer: zero }))
    const conv = this.child('conv1d', new DepthwiseConvParameters(this.dInner, dConv, convBias))
    this.convWeight = conv.weight
    this.convBias = conv.bias
    this.xProj = this.child('x_proj', new Linear(this.dInner, this.#dtRank + 2 * dState, { bias: false }))
    this.dtProj = this.child(
      'dt_proj',
      new Linear(this.#dtRank, this.dInner, {
        weightInitializer: initializers.uniformWithin(this.#dtRank ** -0.5 * dtScale),
        biasInitializer: initializers.stepSizeBias(dtMin, dtMax, dtInitFloor),
      }),
    )
    this.outProj = this.child(
      'out_proj',
      new Linear(this.dInner, dModel, {
        bias,
        biasInitializer: zero,
        weightInitializer: initializers.kaimingUniform(this.dInner, outProjRescale),
      }),
    )
  }

  /** The state before the first token of `batch` sequences. */
  initialState(batch: number): MambaMixerState {
    const { backend } = this.convWeight.value
    return {
      conv: zeros([batch, this.dConv, this.dInner], { backend }),
      ssm: zeros([batch, this.dInner, this.dState], { backend }),
    }
  }

  /** A = -exp(A_log), (D, N). */
  decay(): Tensor {
    return neg(exp(this.ALog.value))
  }

  /** (B, L, d) -> (B, L, d), and the state after the last token where asked for. */
  forward(input: Tensor, options: MixerOptions = {}): { out: Tensor; state: MambaMixerState | null } {
    const { state, resets, finalState = 'none' } = options
    const returnFinalState = finalState === 'return'
    const [x, z] = split(this.inProj.forward(input), [this.dInner, this.dInner])
    const conv = causalConv1d(x, this.convWeight.value, {
      bias: this.convBias?.value,
      activation: 'silu',
      initialState: state?.conv,
      resets,
      returnFinalState,
      finalState: finalState === 'update' ? state?.conv : null,
    })
    const [dtLow, B, C] = split(this.xProj.forward(conv.out), [this.#dtRank, this.dState, this.dState])
    // The bias of dt_proj enters inside the scan, in float32, and nowhere else.
    const delta = linear(dtLow, this.dtProj.weight.value)
    const scan = selectiveScan(conv.out, delta, options.decay ?? this.decay(), B, C, {
      D: this.D.value,
      z,
      deltaBias: this.dtProj.bias!.value,
      deltaSoftplus: true,
      initialState: state?.ssm,
      resets,
      returnFinalState,
      finalState: finalState === 'update' ? state?.ssm : null,
    })
    return {
      out: this.outProj.forward(scan.out),
      state: returnFinalState ? { conv: conv.finalState!, ssm: scan.finalState! } : null,
    }
  }

  /**
   * One token of each sequence: stream (S, B, d) += mixer(norm(stream)), and `state` moves on, both in place; the stream's
   * sum over S counts (`residualStream`). No gradient. `decay` is `decay()`.
   */
  step(stream: Tensor, norm: RmsNorm, state: MambaMixerState, decay: Tensor): void {
    const inner = mambaStepIn(stream, {
      normWeight: norm.weight.value,
      eps: norm.eps,
      weight: this.inProj.weight.value,
      bias: this.inProj.bias?.value,
      convWeight: this.convWeight.value,
      convBias: this.convBias?.value,
      convState: state.conv,
      xWeight: this.xProj.weight.value,
    })
    const y = mambaStepScan(inner, {
      dtWeight: this.dtProj.weight.value,
      dtBias: this.dtProj.bias!.value,
      A: decay,
      D: this.D.value,
      state: state.ssm,
    })
    addProjected(stream, y, this.outProj.weight.value)
  }
}

/** The parameters of a depth-wise convolution under its official name; the mixer applies them. */
export class DepthwiseConvParameters extends Module {
  readonly weight: Parameter
  readonly bias: Parameter | null
  constructor(channels: number, width: number, bias: boolean) {
    super()
    const initializer = initializers.kaimingUniform(width)
    this.weight = this.parameter('weight', [channels, 1, width], initializer)
    this.bias = bias ? this.parameter('bias', [channels], initializer, { decay: false }) : null
  }
}
