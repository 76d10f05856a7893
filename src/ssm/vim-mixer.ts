// The mixer of Vision Mamba (Vim, arXiv 2401.09417) and of LBVim (arXiv 2506.15976): Mamba's gated convolution and scan,
// read both ways, or one way with a scan that is bidirectional inside windows.
// Letters: B batch, L length, d model width, E inner width, N states, R rank of dt, K convolution width.
import { type Initializer, initializers, Linear, Module, type Parameter } from '../nn/index.js'
import { add, causalConv1d, exp, linear, mul, neg, selectiveScan, split, type Tensor } from '../tensor/index.js'
import { DepthwiseConvParameters } from './mamba.js'
import { localWindow } from './scan-paths.js'

/** Under the official names. */
export interface VimMixerConfig {
  d_model: number
  /** N. Default 16. */
  d_state?: number
  /** K. Default 4. */
  d_conv?: number
  /** E / d. Default 2. */
  expand?: number
  /** 'v2': a second branch reads the sequence from its end. 'none': one branch. */
  bimamba_type: 'v2' | 'none'
  /** Halve the sum of both branches. Default true. */
  if_divide_out?: boolean
  /** Steps of a window of the locally bidirectional scan, 'by length' as LBMamba's kernel has it, 0 for none. Default 0. */
  window?: number | 'by length'
  /** out_proj starts divided by this (the square root of the number of layers). Default 1. */
  outProjRescale?: number
  /** First values of every linear map, in place of Mamba's. */
  initial?: { weightInitializer: Initializer; biasInitializer: Initializer }
}

/** The parameters of one branch; those of the second have a suffix in their official names. */
interface Branch {
  readonly conv: DepthwiseConvParameters
  readonly xProj: Linear
  readonly dtProj: Linear
  readonly ALog: Parameter
  readonly D: Parameter
}

/** mirrors: Mamba of hustvl/Vim (mamba_simple.py), bimamba_type v2 and none; of cvlab-stonybrook/LBMamba */
export class VimMixer extends Module {
  readonly #inner: number
  readonly #states: number
  readonly #rank: number
  readonly #window: number | 'by length'
  readonly #outScale: number
  readonly inProj: Linear
  readonly forwardBranch: Branch
  readonly backwardBranch: Branch | null
  readonly outProj: Linear
  constructor(config: VimMixerConfig) {
    super()
    const { d_model, d_state = 16, d_conv = 4, expand = 2, bimamba_type, if_divide_out = true, window = 0 } = config
    this.#inner = expand * d_model
    this.#states = d_state
    this.#rank = Math.ceil(d_model / 16)
    this.#window = window
    this.#outScale = bimamba_type === 'v2' && if_divide_out ? 0.5 : 1
    const { initial } = config
    this.inProj = this.child('in_proj', new Linear(d_model, 2 * this.#inner, { ...initial, bias: false }))
    this.forwardBranch = this.#branch('', d_conv, initial)
    this.backwardBranch = bimamba_type === 'v2' ? this.#branch('_b', d_conv, initial) : null
    const weightInitializer = initializers.kaimingUniform(this.#inner, config.outProjRescale)
    this.outProj = this.child(
      'out_proj',
      new Linear(this.#inner, d_model, { weightInitializer, ...initial, bias: false }),
    )
  }

  #branch(suffix: string, width: number, initial: VimMixerConfig['initial']): Branch {
    const [inner, states, rank] = [this.#inner, this.#states, this.#rank]
    return {
      // The official optimiser decays A_log though it is marked otherwise, as every parameter of two axes.
      ALog: this.parameter(`A${suffix}_log`, [inner, states], initializers.logSpectrum),
      D: this.parameter(`D${suffix}`, [inner], initializers.constant(1), { decay: false }),
      conv: this.child(`conv1d${suffix}`, new DepthwiseConvParameters(inner, width, true)),
      xProj: this.child(`x_proj${suffix}`, new Linear(inner, rank + 2 * states, { ...initial, bias: false })),
      dtProj: this.child(
        `dt_proj${suffix}`,
        new Linear(rank, inner, {
          weightInitializer: initializers.uniformWithin(rank ** -0.5),
          biasInitializer: initializers.stepSizeBias(0.001, 0.1, 1e-4),
          ...initial,
        }),
      ),
    }
  }

  /** (B, L, d) -> (B, L, d); `reverse` gives what flipping the sequence before and after would. */
  forward(input: Tensor, { reverse = false }: { reverse?: boolean } = {}): Tensor {
    const [x, z] = split(this.inProj.forward(input), [this.#inner, this.#inner])
    const forth = this.#scan(this.forwardBranch, x, z, reverse)
    const both = this.backwardBranch ? add(forth, this.#scan(this.backwardBranch, x, z, !reverse)) : forth
    return this.outProj.forward(this.#outScale === 1 ? both : mul(both, this.#outScale))
  }

  #scan({ conv, xProj, dtProj, ALog, D }: Branch, x: Tensor, z: Tensor, reverse: boolean): Tensor {
    const { out: u } = causalConv1d(x, conv.weight.value, { bias: conv.bias!.value, activation: 'silu', reverse })
    const [dtLow, B, C] = split(xProj.forward(u), [this.#rank, this.#states, this.#states])
    return selectiveScan(u, linear(dtLow, dtProj.weight.value), neg(exp(ALog.value)), B, C, {
      ...{ D: D.value, z, reverse },
      deltaBias: dtProj.bias!.value,
      deltaSoftplus: true,
      window: this.#window === 'by length' ? localWindow(x.shape[1]) : this.#window,
    }).out
  }
}
