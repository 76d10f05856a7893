// Vision Transformer for small images, the baseline of experiments: patches, learned positions, pre-norm blocks of
// attention and an MLP, the mean of all tokens into the head. mirrors: timm VisionTransformer(class_token=False,
// global_pool='avg'), whose names and layouts the parameters carry (arXiv 2010.11929).
// Letters: B batch, p patch side, h = H/p and w = W/p tokens a side, L = h w, d embed_dim, K classes.
import { MambakitError, ShapeError } from '../errors.js'
import {
  DropPath,
  dropPathRates,
  imageLinear,
  initializers,
  LayerNorm,
  type Linear,
  Module,
  type Parameter,
} from '../nn/index.js'
import { add, attention, gelu, linear, mean, permute, reshape, split, type Tensor } from '../tensor/index.js'
import { type ImageModelSettings, type ImageModelShape, withSettings } from './image-catalogue.js'
import { checkImages, type ImageClassifier, type ImageForwardOptions, throughBlocks } from './image-classifier.js'

/** Under timm's names. */
export interface ViTConfig {
  img_size: number
  patch_size: number
  in_chans: number
  num_classes: number
  embed_dim: number
  depth: number
  num_heads: number
  mlp_ratio: number
  /** Of the last block; falls linearly to 0 at the first. */
  drop_path_rate: number
}

const eps = 1e-6

class ViTAttention extends Module {
  readonly qkv: Linear
  readonly proj: Linear
  constructor(
    dim: number,
    readonly heads: number,
  ) {
    super()
    this.qkv = this.child('qkv', imageLinear(dim, 3 * dim))
    this.proj = this.child('proj', imageLinear(dim, dim))
  }
  /** (B, L, d) -> (B, L, d) */
  forward(input: Tensor): Tensor {
    const [batch, length, dim] = input.shape
    const shape = [batch, length, this.heads, dim / this.heads]
    const [q, k, v] = split(this.qkv.forward(input), [dim, dim, dim]).map((part) => reshape(part, shape))
    return this.proj.forward(reshape(attention(q, k, v, { causal: false }), input.shape))
  }
}

class ViTMlp extends Module {
  readonly fc1: Linear
  readonly fc2: Linear
  constructor(dim: number, hidden: number) {
    super()
    this.fc1 = this.child('fc1', imageLinear(dim, hidden))
    this.fc2 = this.child('fc2', imageLinear(hidden, dim))
  }
  forward(input: Tensor): Tensor {
    return this.fc2.forward(gelu(this.fc1.forward(input)))
  }
}

class ViTBlock extends Module {
  readonly norm1: LayerNorm
  readonly attn: ViTAttention
  readonly norm2: LayerNorm
  readonly mlp: ViTMlp
  readonly dropPath: DropPath
  constructor({ embed_dim, num_heads, mlp_ratio }: ViTConfig, dropPath: number) {
    super()
    this.norm1 = this.child('norm1', new LayerNorm(embed_dim, eps))
    this.attn = this.child('attn', new ViTAttention(embed_dim, num_heads))
    this.norm2 = this.child('norm2', new LayerNorm(embed_dim, eps))
    this.mlp = this.child('mlp', new ViTMlp(embed_dim, Math.round(embed_dim * mlp_ratio)))
    this.dropPath = this.child('drop_path', new DropPath(dropPath))
  }
  /** (B, L, d) -> (B, L, d) */
  forward(input: Tensor): Tensor {
    const mixed = add(input, this.dropPath.forward(this.attn.forward(this.norm1.forward(input))))
    return add(mixed, this.dropPath.forward(this.mlp.forward(this.norm2.forward(mixed))))
  }
}

/** A convolution whose stride is its side: a linear map of each patch. `proj.weight` (d, C, p, p). */
class PatchEmbed extends Module {
  readonly weight: Parameter
  readonly bias: Parameter
  constructor(
    readonly channels: number,
    readonly patch: number,
    dim: number,
  ) {
    super()
    const initializer = initializers.kaimingUniform(channels * patch * patch)
    this.weight = this.parameter('proj.weight', [dim, channels, patch, patch], initializer)
    this.bias = this.parameter('proj.bias', [dim], initializer, { decay: false })
  }
  /** (B, H, W, C) -> (B, L, d) */
  forward(images: Tensor): Tensor {
    const [batch, height, width, channels] = images.shape
    const p = this.patch
    const [h, w] = [height / p, width / p]
    const cells = permute(reshape(images, [batch, h, p, w, p, channels]), [0, 1, 3, 5, 2, 4])
    const patches = reshape(cells, [batch, h * w, channels * p * p])
    const weight = reshape(this.weight.value, [this.weight.shape[0], channels * p * p])
    return linear(patches, weight, this.bias.value)
  }
}

export class ViT extends Module implements ImageClassifier {
  readonly numClasses: number
  readonly inChannels: number
  readonly heads = ['head']
  recompute = false
  readonly patchEmbed: PatchEmbed
  readonly positions: Parameter
  readonly blocks: readonly ViTBlock[]
  readonly norm: LayerNorm
  readonly head: Linear
  constructor(readonly config: ViTConfig) {
    super()
    const { img_size, patch_size, in_chans, num_classes, embed_dim, depth, num_heads, drop_path_rate } = config
    if (img_size % patch_size !== 0)
      throw new MambakitError(`vit: expected an image size that the patch size ${patch_size} divides, got ${img_size}`)
    if (embed_dim % num_heads !== 0)
      throw new MambakitError(`vit: expected embed_dim divisible by num_heads, got ${embed_dim} and ${num_heads}`)
    this.numClasses = num_classes
    this.inChannels = in_chans
    this.patchEmbed = this.child('patch_embed', new PatchEmbed(in_chans, patch_size, embed_dim))
    const tokens = (img_size / patch_size) ** 2
    this.positions = this.parameter('pos_embed', [1, tokens, embed_dim], initializers.imageNormal, { decay: false })
    const blocks = dropPathRates(drop_path_rate, depth).map((rate) => new ViTBlock(config, rate))
    this.blocks = this.childList('blocks', blocks)
    this.norm = this.child('fc_norm', new LayerNorm(embed_dim, eps))
    this.head = this.child('head', imageLinear(embed_dim, num_classes))
  }

  /** (B, H, W, C) -> tokens (B, L, d) after the last block. */
  #tokens(images: Tensor, observe?: ImageForwardOptions['observe']): Tensor {
    const { img_size, in_chans } = this.config
    checkImages('vit', images, in_chans)
    if (images.shape[1] !== img_size || images.shape[2] !== img_size)
      throw new ShapeError('vit', [images.shape], `expected images of ${img_size} x ${img_size}, its learned positions`)
    const tokens = add(this.patchEmbed.forward(images), this.positions.value)
    observe?.('patch_embed', tokens)
    return throughBlocks('blocks', this.blocks, tokens, this.recompute, observe)
  }

  /** (B, H, W, C) -> logits (B, K) */
  forward(images: Tensor, { observe }: ImageForwardOptions = {}): Tensor {
    const pooled = mean(this.#tokens(images, observe), { axis: 1 })
    const logits = this.head.forward(this.norm.forward(pooled))
    observe?.('head', logits)
    return logits
  }

  /** One map (B, h, w, d): a ViT has one stage. */
  features(images: Tensor): Tensor[] {
    const tokens = this.#tokens(images)
    const side = this.config.img_size / this.config.patch_size
    return [reshape(tokens, [images.shape[0], side, side, this.config.embed_dim])]
  }
}

/** A ViT of `preset` for the shape at hand, with the user's settings. */
export function buildViT(preset: Partial<ViTConfig>, shape: ImageModelShape, settings?: ImageModelSettings): ViT {
  const { classes, channels, size } = shape
  const known = { patch_size: 4, embed_dim: 128, depth: 4, num_heads: 4, mlp_ratio: 4, drop_path_rate: 0, ...preset }
  const chosen = withSettings('vit', known, settings)
  return new ViT({ ...chosen, img_size: size, in_chans: channels, num_classes: classes })
}
