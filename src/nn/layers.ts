// The layers that most models share: linear maps, embeddings, norms, dropout.
import { MambakitError } from '../errors.js'
import {
  addLayerNorm,
  addRmsNorm,
  cast,
  checkpoint,
  defaultRandom,
  dropout,
  embedding,
  greaterEqual,
  linear,
  mul,
  type RandomStream,
  type Tensor,
  uniform,
} from '../tensor/index.js'
import { constant, kaimingUniform, normalWith } from './initializers.js'
import { type Initializer, Module, type Parameter } from './module.js'

export interface LinearOptions {
  /** Default true. */
  bias?: boolean
  /** Default: PyTorch's Kaiming-uniform. */
  weightInitializer?: Initializer
  /** Default: as the weight's default. A bias carries no weight decay. */
  biasInitializer?: Initializer
}

/** y = x W^T + b; `weight` (out, in), `bias` (out). mirrors: torch.nn.Linear */
export class Linear extends Module {
  readonly weight: Parameter
  readonly bias: Parameter | null
  constructor(
    readonly inFeatures: number,
    readonly outFeatures: number,
    options: LinearOptions = {},
  ) {
    super()
    const initializer = kaimingUniform(inFeatures)
    this.weight = this.parameter('weight', [outFeatures, inFeatures], options.weightInitializer ?? initializer)
    this.bias =
      options.bias === false
        ? null
        : this.parameter('bias', [outFeatures], options.biasInitializer ?? initializer, { decay: false })
  }
  /** (..., in) -> (..., out) */
  forward(input: Tensor): Tensor {
    return linear(input, this.weight.value, this.bias?.value)
  }
}

/** Rows of `weight` (V, n) by int32 ids. mirrors: torch.nn.Embedding */
export class Embedding extends Module {
  readonly weight: Parameter
  constructor(vocabularySize: number, features: number, weightInitializer: Initializer = normalWith(1)) {
    super()
    this.weight = this.parameter('weight', [vocabularySize, features], weightInitializer)
  }
  /** (...) int32 -> (..., n) */
  forward(ids: Tensor): Tensor {
    return embedding(this.weight.value, ids)
  }
}

/** What both norms offer: normalise, and normalise after adding a residual. */
export interface Norm extends Module {
  forward(input: Tensor): Tensor
  /** Normalises input + residual and returns the sum as well; without a residual the sum is the input. */
  addAndNormalize(input: Tensor, residual: Tensor | null): { out: Tensor; sum: Tensor }
}

/** x rsqrt(mean(x^2) + eps) weight over the last axis. mirrors: RMSNorm of state-spaces/mamba */
export class RmsNorm extends Module implements Norm {
  readonly weight: Parameter
  constructor(
    features: number,
    readonly eps = 1e-5,
  ) {
    super()
    this.weight = this.parameter('weight', [features], constant(1), { decay: false })
  }
  forward(input: Tensor): Tensor {
    return this.addAndNormalize(input, null).out
  }
  addAndNormalize(input: Tensor, residual: Tensor | null): { out: Tensor; sum: Tensor } {
    return addRmsNorm(input, { weight: this.weight.value, residual, eps: this.eps })
  }
}

/** (x - mean) rsqrt(variance + eps) weight + bias over the last axis. mirrors: torch.nn.LayerNorm */
export class LayerNorm extends Module implements Norm {
  readonly weight: Parameter
  readonly bias: Parameter
  constructor(
    features: number,
    readonly eps = 1e-5,
  ) {
    super()
    this.weight = this.parameter('weight', [features], constant(1), { decay: false })
    this.bias = this.parameter('bias', [features], constant(0), { decay: false })
  }
  forward(input: Tensor): Tensor {
    return this.addAndNormalize(input, null).out
  }
  addAndNormalize(input: Tensor, residual: Tensor | null): { out: Tensor; sum: Tensor } {
    return addLayerNorm(input, { weight: this.weight.value, bias: this.bias.value, residual, eps: this.eps })
  }
}

/** Zeroes values with probability p while training. */
export class Dropout extends Module {
  constructor(readonly p: number) {
    super()
  }
  forward(input: Tensor, stream?: RandomStream): Tensor {
    return this.training ? dropout(input, this.p, stream) : input
  }
}

/** Drops a whole sample's branch with probability p while training, and scales the rest. mirrors: DropPath of timm */
export class DropPath extends Module {
  constructor(readonly p: number) {
    super()
    if (!(p >= 0 && p < 1)) throw new MambakitError(`DropPath: expected a probability in [0, 1), got ${p}`)
  }
  /** (B, ...) -> (B, ...) */
  forward(input: Tensor, stream: RandomStream = defaultRandom()): Tensor {
    if (!this.training || this.p === 0) return input
    const shape = input.shape.map((extent, axis) => (axis === 0 ? extent : 1))
    const kept = cast(greaterEqual(uniform(shape, 0, 1, { stream, backend: input.backend }), this.p), input.dtype)
    return mul(input, mul(kept, 1 / (1 - this.p)))
  }
}

/** Drop-path rates that grow linearly from 0 at the first of `blocks` to `rate` at the last. mirrors: torch.linspace(0, rate, blocks) */
export function dropPathRates(rate: number, blocks: number): number[] {
  return Array.from({ length: blocks }, (_, i) => (blocks > 1 ? (rate * i) / (blocks - 1) : 0))
}

/** Runs a block; where `recompute` is set, its backward pass computes the activations again instead of keeping them. */
export function runBlock(
  block: Module & { forward(input: Tensor): Tensor },
  input: Tensor,
  recompute: boolean,
): Tensor {
  if (!recompute) return block.forward(input)
  const parameters = block.parameters().map(({ value }) => value)
  return checkpoint((x) => block.forward(x), [input], parameters)
}
