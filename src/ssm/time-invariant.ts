// The time-invariant counterpart of the Mamba mixer: the same gated convolution and scan, but step size, B and C are
// learned constants instead of functions of the token. It is what selection is compared with (the paper's ablation "S4
// in the Mamba block"), here with S4D's real spectrum and without its convolution mode.
// Letters: d d_model, D d_inner = expand d, N d_state, K d_conv.
import { initializers, Linear, Module, type Parameter } from '../nn/index.js'
import { causalConv1d, exp, full, neg, selectiveScan, split, type Tensor, zeros } from '../tensor/index.js'
import {
  DepthwiseConvParameters,
  type MambaMixerConfig,
  type MambaMixerState,
  type MixerOptions,
  type StateSpaceMixer,
} from './mamba.js'

/**
 * States that give the constant maps at least as many parameters as the projections of the selective mixer have:
 * 3 N' D (A, B, C) against N D + (R + 2 N) D + R D.
 */
export const equalSizeStates = (dState: number, dtRank: number): number => dState + Math.ceil((2 * dtRank) / 3)

export class TimeInvariantMixer extends Module implements StateSpaceMixer {
  readonly dInner: number
  readonly dState: number
  readonly dConv: number
  readonly inProj: Linear
  readonly convWeight: Parameter
  readonly convBias: Parameter | null
  readonly dtBias: Parameter
  readonly ALog: Parameter
  readonly B: Parameter
  readonly C: Parameter
  readonly D: Parameter
  readonly outProj: Linear

  constructor(config: MambaMixerConfig) {
    super()
    const { dModel, dState = 16, dConv = 4, expand = 2, dtRank = 'auto', convBias = true, bias = false } = config
    const { dtMin = 0.001, dtMax = 0.1, dtInitFloor = 1e-4, outProjRescale = 1 } = config
    this.dInner = expand * dModel
    this.dState = equalSizeStates(dState, dtRank === 'auto' ? Math.ceil(dModel / 16) : dtRank)
    this.dConv = dConv
    const zero = initializers.constant(0)
    const maps = [this.dInner, this.dState] as const
    this.ALog = this.parameter('A_log', maps, initializers.logSpectrum, { decay: false })
    this.B = this.parameter('B', maps, initializers.constant(1), { decay: false })
    this.C = this.parameter('C', maps, initializers.normalWith(1), { decay: false })
    this.D = this.parameter('D', [this.dInner], initializers.constant(1), { decay: false })
    const steps = initializers.stepSizeBias(dtMin, dtMax, dtInitFloor)
    this.dtBias = this.parameter('dt_bias', [this.dInner], steps, { decay: false })
    this.inProj = this.child('in_proj', new Linear(dModel, 2 * this.dInner, { bias, biasInitializer: zero }))
    const conv = this.child('conv1d', new DepthwiseConvParameters(this.dInner, dConv, convBias))
    this.convWeight = conv.weight
    this.convBias = conv.bias
    const weightInitializer = initializers.kaimingUniform(this.dInner, outProjRescale)
    this.outProj = this.child(
      'out_proj',
      new Linear(this.dInner, dModel, { bias, biasInitializer: zero, weightInitializer }),
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
    const delta = full(conv.out.shape, 0, { backend: conv.out.backend, dtype: conv.out.dtype })
    const scan = selectiveScan(conv.out, delta, options.decay ?? this.decay(), this.B.value, this.C.value, {
      D: this.D.value,
      z,
      deltaBias: this.dtBias.value,
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
}
