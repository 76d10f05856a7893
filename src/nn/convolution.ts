// Convolutions as modules, channels last, with PyTorch's parameters and defaults.

import { MambakitError } from '../errors.js'
import {
  type ConvolutionOptions,
  convolution,
  convolutionTransposed,
  type Padding,
  type PerAxis,
  type Tensor,
  type TransposedConvolutionOptions,
} from '../tensor/index.js'
import { kaimingUniform } from './initializers.js'
import { type Initializer, Module, type Parameter } from './module.js'

interface ParameterOptions {
  /** Default true. */
  bias?: boolean
  /** Default: PyTorch's Kaiming-uniform. */
  weightInitializer?: Initializer
  /** Default: as the weight's default. A bias carries no weight decay. */
  biasInitializer?: Initializer
}

export interface ConvolutionModuleOptions extends ParameterOptions {
  /** Default 1. */
  stride?: PerAxis
  /** Default 0. */
  padding?: Padding
  /** Default 1. */
  dilation?: PerAxis
  /** Default 1. */
  groups?: number
}

export interface TransposedModuleOptions extends ParameterOptions {
  /** Default 1. */
  stride?: PerAxis
  /** Default 0. */
  padding?: Exclude<Padding, 'same'>
  /** Default 0. */
  outputPadding?: PerAxis
  /** Default 1. */
  dilation?: PerAxis
  /** Default 1. */
  groups?: number
}

/** Channels of a group. Throws where they do not come out even. */
function perGroup(channels: number, groups: number): number {
  if (channels % groups === 0) return channels / groups
  throw new MambakitError(`convolution: expected channels divisible by ${groups} groups, got ${channels}`)
}

const perAxis = (size: PerAxis, axes: number) => (typeof size === 'number' ? new Array<number>(axes).fill(size) : size)

/** `weight` (leading, Cin or Cout a group, ...kernel) and `bias`, drawn as PyTorch draws them: within the fan-in, which counts the weight's second axis. */
abstract class Convolution extends Module {
  readonly weight: Parameter
  readonly bias: Parameter | null
  protected constructor(shape: readonly number[], channels: number, options: ParameterOptions) {
    super()
    const initializer = kaimingUniform(shape.slice(1).reduce((a, b) => a * b, 1))
    this.weight = this.parameter('weight', shape, options.weightInitializer ?? initializer)
    this.bias =
      options.bias === false
        ? null
        : this.parameter('bias', [channels], options.biasInitializer ?? initializer, { decay: false })
  }
}

abstract class ConvolutionNd extends Convolution {
  readonly #geometry: ConvolutionOptions
  protected constructor(
    readonly inChannels: number,
    readonly outChannels: number,
    kernel: readonly number[],
    options: ConvolutionModuleOptions,
  ) {
    const { stride, padding, dilation, groups = 1 } = options
    super([outChannels, perGroup(inChannels, groups), ...kernel], outChannels, options)
    this.#geometry = { stride, padding, dilation, groups }
  }
  /** (B, ...spatial, Cin) -> (B, ...spatial', Cout) */
  forward(input: Tensor): Tensor {
    return convolution(input, this.weight.value, { ...this.#geometry, bias: this.bias?.value })
  }
}

/** `weight` (Cout, Cin/groups, k), `bias` (Cout); over (B, L, C). mirrors: torch.nn.Conv1d */
export class Conv1d extends ConvolutionNd {
  constructor(inChannels: number, outChannels: number, kernelSize: PerAxis, options: ConvolutionModuleOptions = {}) {
    super(inChannels, outChannels, perAxis(kernelSize, 1), options)
  }
}

/** `weight` (Cout, Cin/groups, kh, kw), `bias` (Cout); over (B, H, W, C). mirrors: torch.nn.Conv2d */
export class Conv2d extends ConvolutionNd {
  constructor(inChannels: number, outChannels: number, kernelSize: PerAxis, options: ConvolutionModuleOptions = {}) {
    super(inChannels, outChannels, perAxis(kernelSize, 2), options)
  }
}

/** `weight` (Cout, Cin/groups, kt, kh, kw), `bias` (Cout); over (B, T, H, W, C). mirrors: torch.nn.Conv3d */
export class Conv3d extends ConvolutionNd {
  constructor(inChannels: number, outChannels: number, kernelSize: PerAxis, options: ConvolutionModuleOptions = {}) {
    super(inChannels, outChannels, perAxis(kernelSize, 3), options)
  }
}

/** `weight` (Cin, Cout/groups, kh, kw), `bias` (Cout); over (B, H, W, C). mirrors: torch.nn.ConvTranspose2d */
export class ConvTranspose2d extends Convolution {
  readonly #geometry: TransposedConvolutionOptions
  constructor(
    readonly inChannels: number,
    readonly outChannels: number,
    kernelSize: PerAxis,
    options: TransposedModuleOptions = {},
  ) {
    const { stride, padding, outputPadding, dilation, groups = 1 } = options
    super([inChannels, perGroup(outChannels, groups), ...perAxis(kernelSize, 2)], outChannels, options)
    this.#geometry = { stride, padding, outputPadding, dilation, groups }
  }
  /** (B, H, W, Cin) -> (B, H', W', Cout) */
  forward(input: Tensor): Tensor {
    return convolutionTransposed(input, this.weight.value, { ...this.#geometry, bias: this.bias?.value })
  }
}
