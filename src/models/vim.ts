// Vision Mamba (Vim, arXiv 2401.09417) and its locally bidirectional form (LBVim, arXiv 2506.15976): patches as a sequence
// through identical layers. Vim reads it both ways in every layer; LBVim one way, from the other end in every other layer.
// Letters: B batch, p patch side, h, w tokens a side, L tokens, d embed_dim, K classes.
import { MambakitError, ShapeError } from '../errors.js'
import {
  Conv2d,
  DropPath,
  dropPathRates,
  initializers,
  LayerNorm,
  Linear,
  Module,
  type Norm,
  type Parameter,
  RmsNorm,
} from '../nn/index.js'
import { VimMixer } from '../ssm/vim-mixer.js'
import {
  add,
  attention,
  concat,
  expand,
  mean,
  reshape,
  scope,
  select,
  slice,
  split,
  type Tensor,
} from '../tensor/index.js'
import { type ImageModelSettings, type ImageModelShape, withSettings } from './image-catalogue.js'
import { checkImages, type ImageClassifier, type ImageForwardOptions, throughBlocks } from './image-classifier.js'

/** Under the official names. */
export interface VimConfig {
  /** A side, or height and width. */
  img_size: number | readonly number[]
  patch_size: number
  /** Of the patches; smaller than their side where they overlap. */
  stride: number
  /** C of the images. */
  channels: number
  num_classes: number
  embed_dim: number
  depth: number
  d_state: number
  /** Of the last layer's output; it grows linearly from 0. */
  drop_path_rate: number
  norm_epsilon: number
  /** RmsNorm, else LayerNorm. */
  rms_norm: boolean
  /** 'v2': each mixer reads both ways; 'none': one way. */
  bimamba_type: 'v2' | 'none'
  if_divide_out: boolean
  if_cls_token: boolean
  /** The class token stands in the middle, else at the front. */
  use_middle_cls_token: boolean
  /** Every other layer reads the sequence from its end. */
  layerwise_reverse_sq: boolean
  /** Steps of a window of the locally bidirectional scan, 'by length' as LBMamba's kernel has it, 0 for none. */
  window: number | 'by length'
  /** What reads the tokens where there is no class token: their mean, or a learned query that attends to them. */
  head_type: 'mean' | 'attention'
  /** Heads of that attention. */
  head_n_heads: number
  /** Layers whose maps `features` gives; empty for the last. */
  out_indices: readonly number[]
}

/** Vim: every layer both ways, and a class token in the middle. */
export const vimDefaults = {
  patch_size: 16,
  stride: 16,
  embed_dim: 192,
  depth: 24,
  d_state: 16,
  drop_path_rate: 0,
  norm_epsilon: 1e-5,
  rms_norm: true,
  bimamba_type: 'v2' as VimConfig['bimamba_type'],
  if_divide_out: true,
  if_cls_token: true,
  use_middle_cls_token: true,
  layerwise_reverse_sq: false,
  window: 0 as VimConfig['window'],
  head_type: 'mean' as VimConfig['head_type'],
  head_n_heads: 6,
  out_indices: [] as readonly number[],
}
/** LBVim: one way, alternating, with windows; the mean of all tokens. */
export const lbVimDefaults = {
  ...vimDefaults,
  bimamba_type: 'none' as VimConfig['bimamba_type'],
  if_cls_token: false,
  layerwise_reverse_sq: true,
  window: 'by length' as VimConfig['window'],
}

const { constant, imageNormal, normalWith } = initializers
const initial = { weightInitializer: imageNormal, biasInitializer: constant(0) }

/** x + mixer(norm(x)). mirrors: Block of hustvl/Vim, whose layers carry the sum and the last output apart */
class VimBlock extends Module {
  readonly mixer: VimMixer
  readonly norm: Norm
  readonly dropPath: DropPath
  readonly #reverse: boolean
  constructor(config: VimConfig, reverse: boolean, dropPath: number) {
    super()
    const { embed_dim, d_state, bimamba_type, if_divide_out, window, depth } = config
    const outProjRescale = Math.sqrt(depth)
    this.mixer = this.child(
      'mixer',
      new VimMixer({ d_model: embed_dim, d_state, bimamba_type, if_divide_out, window, outProjRescale }),
    )
    this.norm = this.child('norm', normOf(config))
    this.dropPath = this.child('drop_path', new DropPath(dropPath))
    this.#reverse = reverse
  }
  /** The mixer's output, (B, L, d) -> (B, L, d). */
  mix(tokens: Tensor): Tensor {
    return this.mixer.forward(this.norm.forward(tokens), { reverse: this.#reverse })
  }
  forward(tokens: Tensor): Tensor {
    return add(tokens, this.dropPath.forward(this.mix(tokens)))
  }
}

const normOf = ({ embed_dim, norm_epsilon, rms_norm }: VimConfig): Norm & Module =>
  rms_norm ? new RmsNorm(embed_dim, norm_epsilon) : new LayerNorm(embed_dim, norm_epsilon)

class PatchEmbed extends Module {
  readonly proj: Conv2d
  constructor({ channels, embed_dim, patch_size, stride }: VimConfig) {
    super()
    // timm's lecun_normal_, but for its cut at two deviations.
    const lecunNormal = normalWith(1 / Math.sqrt(channels * patch_size * patch_size))
    this.proj = this.child(
      'proj',
      new Conv2d(channels, embed_dim, patch_size, {
        stride,
        weightInitializer: lecunNormal,
        biasInitializer: constant(0),
      }),
    )
  }
}

/** One learned query attends to all tokens. mirrors: att_qkv_onlyatt_pnorm_nomapq of LBMamba's models_utils.py */
class AttentionPool extends Module {
  readonly latent: Parameter
  readonly kv: Linear
  readonly postNorm: LayerNorm
  constructor(
    readonly width: number,
    readonly heads: number,
  ) {
    super()
    if (width % heads !== 0)
      throw new MambakitError(`vim: expected embed_dim divisible by head_n_heads, got ${width} and ${heads}`)
    this.latent = this.parameter('latent', [1, 1, width], imageNormal, { decay: false })
    this.kv = this.child('kv', new Linear(width, 2 * width, initial))
    this.postNorm = this.child('post_norm', new LayerNorm(width, 1e-5))
  }
  /** (B, L, d) -> (B, d) */
  forward(tokens: Tensor): Tensor {
    const [batch, length, width] = tokens.shape
    const size = width / this.heads
    const query = reshape(expand(this.latent.value, [batch, 1, width]), [batch, 1, this.heads, size])
    const [keys, values] = split(this.kv.forward(tokens), [width, width]).map((part) =>
      reshape(part, [batch, length, this.heads, size]),
    )
    return this.postNorm.forward(reshape(attention(query, keys, values), [batch, width]))
  }
}

/** mirrors: VisionMamba of hustvl/Vim, BiVisionMamba of cvlab-stonybrook/LBMamba */
export class VisionMamba extends Module implements ImageClassifier {
  readonly numClasses: number
  readonly inChannels: number
  readonly heads: readonly string[]
  recompute = false
  /** Tokens a side. */
  readonly #grid: readonly [height: number, width: number]
  /** Where the class token stands, if there is one. */
  readonly #classPlace: number
  readonly classToken: Parameter | null
  readonly positions: Parameter
  readonly patchEmbed: PatchEmbed
  readonly layers: readonly VimBlock[]
  readonly norm: Norm
  readonly pool: AttentionPool | null
  readonly head: Linear
  constructor(readonly config: VimConfig) {
    super()
    const { img_size, patch_size, stride, embed_dim, depth, num_classes, drop_path_rate, if_cls_token } = config
    const sides = typeof img_size === 'number' ? [img_size, img_size] : img_size
    const [height, width] = sides.map((side) => Math.floor((side - patch_size) / stride) + 1)
    if (!(height >= 1 && width >= 1))
      throw new MambakitError(
        `vim: expected images of at least ${patch_size} x ${patch_size}, got ${sides.join(' x ')}`,
      )
    this.numClasses = num_classes
    this.inChannels = config.channels
    this.#grid = [height, width]
    const patches = height * width
    this.#classPlace = config.use_middle_cls_token ? Math.floor(patches / 2) : 0
    const learned = { decay: false }
    this.classToken = if_cls_token ? this.parameter('cls_token', [1, 1, embed_dim], imageNormal, learned) : null
    const tokens = patches + (if_cls_token ? 1 : 0)
    this.positions = this.parameter('pos_embed', [1, tokens, embed_dim], imageNormal, learned)
    this.patchEmbed = this.child('patch_embed', new PatchEmbed(config))
    this.layers = this.childList(
      'layers',
      dropPathRates(drop_path_rate, depth).map(
        (rate, i) => new VimBlock(config, config.layerwise_reverse_sq && i % 2 === 1, rate),
      ),
    )
    this.norm = this.child('norm_f', normOf(config))
    const linear = new Linear(embed_dim, num_classes, initial)
    // With a pool the official head is a list of it and the linear map.
    this.pool =
      config.head_type === 'attention' ? this.child('head.0', new AttentionPool(embed_dim, config.head_n_heads)) : null
    const name = this.pool ? 'head.1' : 'head'
    this.head = this.child(name, linear)
    this.heads = [name]
  }

  /** (B, H, W, C) -> tokens (B, L, d) before the first layer. */
  embed(images: Tensor): Tensor {
    checkImages('vim', images, this.inChannels)
    const map = this.patchEmbed.proj.forward(images)
    const [batch, height, width, channels] = map.shape
    if (height !== this.#grid[0] || width !== this.#grid[1])
      throw new ShapeError(
        'vim',
        [images.shape],
        `expected images of ${this.#grid.join(' x ')} patches, its learned positions`,
      )
    const patches = reshape(map, [batch, height * width, channels])
    if (!this.classToken) return add(patches, this.positions.value)
    const own = expand(this.classToken.value, [batch, 1, channels])
    const place = this.#classPlace
    return add(concat([slice(patches, 1, 0, place), own, slice(patches, 1, place)], 1), this.positions.value)
  }

  /** Normalised tokens (B, L, d), in the order of the image. */
  tokens(images: Tensor, observe?: ImageForwardOptions['observe']): Tensor {
    return this.norm.forward(throughBlocks('layers', this.layers, this.embed(images), this.recompute, observe))
  }

  /** What the head reads: (B, L, d) -> (B, d). */
  pooled(tokens: Tensor): Tensor {
    if (this.classToken) return select(tokens, 1, this.#classPlace)
    return this.pool ? this.pool.forward(tokens) : mean(tokens, { axis: 1 })
  }

  /** (B, H, W, C) -> logits (B, K) */
  forward(images: Tensor, { observe }: ImageForwardOptions = {}): Tensor {
    const logits = this.head.forward(this.pooled(this.tokens(images, observe)))
    observe?.('head', logits)
    return logits
  }

  /**
   * Maps (B, h, w, d) of the layers `out_indices`: what their mixers give, as the official wrappers for dense tasks have it,
   * the class token left out. None of them is normalised.
   */
  features(images: Tensor): Tensor[] {
    return this.#layerMaps(images, 'mixed')
  }

  /** The same maps of the layers' sums, x + mixer(norm(x)): all that the next layer reads. */
  sums(images: Tensor): Tensor[] {
    return this.#layerMaps(images, 'after')
  }

  #layerMaps(images: Tensor, which: 'mixed' | 'after'): Tensor[] {
    const { out_indices, depth } = this.config
    const wanted = out_indices.length > 0 ? out_indices : [depth - 1]
    const maps: Tensor[] = []
    let tokens = this.embed(images)
    this.layers.forEach((layer, i) => {
      const outputs = scope(() => {
        const mixed = layer.dropPath.forward(layer.mix(tokens))
        return { mixed, after: add(tokens, mixed) }
      })
      if (wanted.includes(i)) maps.push(this.#map(outputs[which]))
      tokens = outputs.after
    })
    return maps
  }

  #map(tokens: Tensor): Tensor {
    const place = this.#classPlace
    const patches = this.classToken ? concat([slice(tokens, 1, 0, place), slice(tokens, 1, place + 1)], 1) : tokens
    return reshape(patches, [tokens.shape[0], ...this.#grid, tokens.shape[2]])
  }
}

/** A network of `preset` for the shape at hand, with the user's settings. */
export function buildVim(
  preset: typeof vimDefaults,
  shape: ImageModelShape,
  settings?: ImageModelSettings,
): VisionMamba {
  const chosen = withSettings('vim', preset, settings)
  return new VisionMamba({ ...chosen, img_size: shape.size, channels: shape.channels, num_classes: shape.classes })
}
