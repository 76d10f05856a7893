// PlainMamba (arXiv 2403.17695): identical layers at one width and one resolution, each with one mixer.
// Idea: the scan follows four snakes, so that neighbours in a sequence are neighbours in the image, and a learned vector
// for the direction of each step is added to its B.
// Letters: B batch, H, W tokens a side, L = H W, C width, E = expand C, N states, R rank of dt, K = 4 paths.

import {
  BatchNorm2d,
  Conv2d,
  DropPath,
  dropPathRates,
  imageLinear,
  initializers,
  LayerNorm,
  type Linear,
  Module,
  type Parameter,
} from '../nn/index.js'
import { type ScanPath, scanPath } from '../ssm/scan-paths.js'
import { scan2d } from '../ssm/scan2d.js'
import {
  add,
  embedding,
  exp,
  expand,
  gelu,
  interpolate,
  mean,
  neg,
  pad,
  relu,
  reshape,
  silu,
  split,
  type Tensor,
} from '../tensor/index.js'
import { checkImages, type ImageClassifier, type ImageForwardOptions, throughBlocks } from './image-classifier.js'

/** Under the official names of the mixer. */
export interface PlainMamba2DConfig {
  d_model: number
  /** N. */
  d_state: number
  /** E / C. */
  expand: number
  /** Side of the depth-wise convolution. */
  conv_size: number
  conv_bias: boolean
  /** Of in_proj and out_proj. */
  bias: boolean
  /**
   * Whether step size, B and C follow the path as the paper has it. The published weights were trained without: there
   * step t takes those of token t, wherever the path is.
   */
  alignScanParams: boolean
  /** The four paths: 'continuous' as the paper has them, 'cross' for rasters. */
  path: 'continuous' | 'cross'
  /** Whether a learned vector for the way that each step takes (Theta) is added to its B, as the paper has it. */
  directionAware: boolean
  /** Steps of a window of the locally bidirectional scan (LBMamba), 'by length' as its kernel chooses, 0 for none. */
  window: number | 'by length'
}

/** Under the official names of the backbone. */
export interface PlainMambaConfig extends Omit<PlainMamba2DConfig, 'd_model'> {
  /** The image that the positions are learned for: a side, or height and width. */
  img_size: number | readonly number[]
  /** An even number; the stem halves the image, the projection does the rest. */
  patch_size: number
  in_channels: number
  /** Channels of the stem; 0 for none, where one convolution makes tokens of patches. */
  stem_channels: number
  embed_dims: number
  num_layers: number
  num_convs_patch_embed: number
  /** Layers that a depth-wise convolution follows. */
  layers_with_dwconv: readonly number[]
  /** Layers whose maps `features` gives, the last one among them or not. */
  out_indices: readonly number[]
  /** Of the last layer; it grows linearly from 0. */
  drop_path_rate: number
  num_classes: number
}

/** What the published sizes have in common. */
export const plainMambaDefaults = {
  patch_size: 16,
  stem_channels: 64,
  d_state: 16,
  expand: 2,
  conv_size: 7,
  conv_bias: true,
  bias: true,
  layers_with_dwconv: [] as readonly number[],
  drop_path_rate: 0,
  alignScanParams: false,
  path: 'continuous' as PlainMamba2DConfig['path'],
  directionAware: true,
  window: 0 as number | 'by length',
}

const { constant, imageNormal, logSpectrum } = initializers
// The training configuration draws every linear map so, dt_proj included.
const paths = 4

/** mirrors: PlainMamba2D of ChenhongyiYang/PlainMamba */
export class PlainMamba2D extends Module {
  readonly #config: PlainMamba2DConfig
  readonly #inner: number
  readonly #rank: number
  readonly ALog: Parameter
  readonly D: Parameter
  readonly directionBs: Parameter | null
  readonly inProj: Linear
  readonly conv: Conv2d
  readonly xProj: Linear
  readonly dtProj: Linear
  readonly outProj: Linear
  constructor(config: PlainMamba2DConfig) {
    super()
    const { d_model, d_state, conv_size, conv_bias, bias, directionAware } = config
    const inner = Math.trunc(config.expand * d_model)
    this.#config = config
    this.#inner = inner
    this.#rank = Math.ceil(d_model / 16)
    this.ALog = this.parameter('A_log', [inner, d_state], logSpectrum, { decay: false })
    this.D = this.parameter('D', [inner], constant(1), { decay: false })
    this.directionBs = directionAware
      ? this.parameter('direction_Bs', [paths + 1, d_state], imageNormal, { decay: false })
      : null
    this.inProj = this.child('in_proj', imageLinear(d_model, 2 * inner, bias))
    const convOptions = { padding: (conv_size - 1) >> 1, groups: inner, bias: conv_bias }
    this.conv = this.child('conv2d', new Conv2d(inner, inner, conv_size, convOptions))
    this.xProj = this.child('x_proj', imageLinear(inner, this.#rank + 2 * d_state, false))
    this.dtProj = this.child('dt_proj', imageLinear(this.#rank, inner))
    this.outProj = this.child('out_proj', imageLinear(inner, d_model, bias))
  }

  /** (B, H, W, C) -> (B, H, W, C) */
  forward(map: Tensor): Tensor {
    const { d_state, alignScanParams, window } = this.#config
    const inner = this.#inner
    const [batch, height, width] = map.shape
    const length = height * width
    const [v, z] = split(this.inProj.forward(map), [inner, inner])
    const u = silu(this.conv.forward(v))
    const tokens = reshape(u, [batch, length, inner])
    const [dtLow, B, C] = split(this.xProj.forward(tokens), [this.#rank, d_state, d_state])
    const path = scanPath(this.#config.path, height, width)
    const directed = this.#directed(B, path)
    const everyPath = (x: Tensor) => {
      const [rows, ...rest] = x.shape
      return reshape(expand(x, [paths, rows, ...rest]), [paths * rows, ...rest])
    }
    // The bias of dt_proj is added twice, here and in the scan, as in the code that the published weights come from.
    const scanned = scan2d(
      u,
      {
        delta: this.dtProj.forward(dtLow),
        A: everyPath(neg(exp(this.ALog.value))),
        B: directed,
        C,
        D: everyPath(this.D.value),
        deltaBias: everyPath(this.dtProj.bias!.value),
        z,
      },
      path,
      { byStep: !alignScanParams, window },
    )
    return this.outProj.forward(scanned)
  }
  /** (B, L, 1, N) + (L, K, N): the same B for every path, and a vector for the way each step takes. */
  #directed(B: Tensor, path: ScanPath): Tensor {
    if (!this.directionBs) return B
    const [batch, length, states] = B.shape
    const codes = path.codesOn(B.backend, { byPosition: this.#config.alignScanParams })
    return add(reshape(B, [batch, length, 1, states]), embedding(this.directionBs.value, codes))
  }
}

/** A convolution without a bias and its batch norm, under consecutive places of the official Sequential. */
class ConvNorm extends Module {
  readonly conv: Conv2d
  readonly norm: BatchNorm2d
  constructor(from: number, to: number, kernel: number, options: { stride?: number; groups?: number } = {}) {
    super()
    this.conv = this.child('0', new Conv2d(from, to, kernel, { ...options, padding: kernel >> 1, bias: false }))
    this.norm = this.child('1', new BatchNorm2d(to))
  }
  forward(map: Tensor): Tensor {
    return this.norm.forward(this.conv.forward(map))
  }
}

/**
 * Convolutions at half the image's sides, then one of stride patch / 2; without a stem one of the patch's stride.
 * mirrors: patch_embed.PatchEmbed
 */
class PatchEmbed extends Module {
  readonly #stem: ConvNorm | null
  readonly #convs: readonly (readonly [conv: Conv2d, norm: BatchNorm2d])[]
  readonly #projection: Conv2d
  readonly #cell: number
  constructor({ in_channels, stem_channels, embed_dims, patch_size, num_convs_patch_embed }: PlainMambaConfig) {
    super()
    const withStem = stem_channels > 0
    this.#cell = withStem ? patch_size / 2 : patch_size
    this.#stem = withStem ? this.child('stem', new ConvNorm(in_channels, stem_channels, 7, { stride: 2 })) : null
    // Convolution, norm and ReLU follow one another in one list.
    this.#convs = Array.from({ length: withStem ? num_convs_patch_embed : 0 }, (_, i) => [
      this.child(`convs.${3 * i}`, new Conv2d(stem_channels, stem_channels, 3, { padding: 1, bias: false })),
      this.child(`convs.${3 * i + 1}`, new BatchNorm2d(stem_channels)),
    ])
    const cell = this.#cell
    const from = withStem ? stem_channels : in_channels
    this.#projection = this.child('projection', new Conv2d(from, embed_dims, cell, { stride: cell }))
  }
  /** (B, H, W, 3) -> (B, ceil(H / patch), ceil(W / patch), C): zeros at the right and the bottom where cells are not full. */
  forward(images: Tensor): Tensor {
    let map = this.#stem ? relu(this.#stem.forward(images)) : images
    for (const [conv, norm] of this.#convs) map = relu(norm.forward(conv.forward(map)))
    const missing = (extent: number) => (this.#cell - (extent % this.#cell)) % this.#cell
    const [below, right] = [missing(map.shape[1]), missing(map.shape[2])]
    if (below || right)
      map = pad(map, [
        [0, below],
        [0, right],
      ])
    return this.#projection.forward(map)
  }
}

/** x + mixer(norm(x)), then, where there is one, GELU(norm(depth-wise convolution)). mirrors: PlainMambaLayer */
class PlainMambaLayer extends Module {
  readonly norm: LayerNorm
  readonly mamba: PlainMamba2D
  readonly dropPath: DropPath
  readonly dw: ConvNorm | null
  constructor(config: PlainMambaConfig, withConv: boolean, dropPath: number) {
    super()
    const width = config.embed_dims
    this.norm = this.child('norm', new LayerNorm(width, 1e-5))
    this.mamba = this.child('mamba', new PlainMamba2D({ ...config, d_model: width }))
    this.dropPath = this.child('drop_path', new DropPath(dropPath))
    this.dw = withConv ? this.child('dw', new ConvNorm(width, width, 3, { groups: width })) : null
  }
  /** (B, H, W, C) -> (B, H, W, C) */
  forward(map: Tensor): Tensor {
    const mixed = add(map, this.dropPath.forward(this.mamba.forward(this.norm.forward(map))))
    return this.dw ? gelu(this.dw.forward(mixed)) : mixed
  }
}

const normEps = 1e-6

class PlainMambaBackbone extends Module {
  readonly #config: PlainMambaConfig
  /** Tokens that the positions are learned for. */
  readonly #grid: readonly number[]
  readonly positions: Parameter
  readonly patchEmbed: PatchEmbed
  readonly layers: readonly PlainMambaLayer[]
  readonly ln1: LayerNorm
  readonly #norms = new Map<number, LayerNorm>()
  constructor(config: PlainMambaConfig) {
    super()
    const { img_size, patch_size, embed_dims, num_layers, layers_with_dwconv, drop_path_rate, out_indices } = config
    const sides = typeof img_size === 'number' ? [img_size, img_size] : img_size
    this.#config = config
    this.#grid = sides.map((side) => Math.floor(side / patch_size))
    this.positions = this.parameter('pos_embed', [1, this.#grid[0] * this.#grid[1], embed_dims], imageNormal, {
      decay: false,
    })
    this.patchEmbed = this.child('patch_embed', new PatchEmbed(config))
    this.layers = this.childList(
      'layers',
      dropPathRates(drop_path_rate, num_layers).map(
        (rate, i) => new PlainMambaLayer(config, layers_with_dwconv.includes(i), rate),
      ),
    )
    this.ln1 = this.child('ln1', new LayerNorm(embed_dims, normEps))
    for (const i of out_indices)
      if (i < num_layers - 1) this.#norms.set(i, this.child(`norm_layer${i}`, new LayerNorm(embed_dims, normEps)))
  }

  /** The map (B, h, w, C) before the first layer. */
  embed(images: Tensor): Tensor {
    checkImages('plainmamba', images, this.#config.in_channels)
    const map = this.patchEmbed.forward(images)
    const [, height, width, channels] = map.shape
    const learned = reshape(this.positions.value, [1, ...this.#grid, channels])
    const fits = height === this.#grid[0] && width === this.#grid[1]
    return add(map, fits ? learned : interpolate(learned, { size: [height, width], mode: 'bicubic' }))
  }
  /** A layer's map through its own norm. */
  normalized(layer: number, map: Tensor): Tensor {
    return (this.#norms.get(layer) ?? this.ln1).forward(map)
  }
}

/** The head under its official name, `head.fc`. mirrors: LinearClsHead of MMClassification */
class LinearHead extends Module {
  readonly fc: Linear
  constructor(channels: number, numClasses: number) {
    super()
    this.fc = this.child('fc', imageLinear(channels, numClasses))
  }
}

/** mirrors: ImageClassifier(PlainMamba, CustomAveragePooling, LinearClsHead) of ChenhongyiYang/PlainMamba */
export class PlainMamba extends Module implements ImageClassifier {
  readonly numClasses: number
  readonly inChannels: number
  readonly heads = ['head']
  recompute = false
  readonly backbone: PlainMambaBackbone
  readonly #head: LinearHead
  constructor(readonly config: PlainMambaConfig) {
    super()
    this.numClasses = config.num_classes
    this.inChannels = config.in_channels
    this.backbone = this.child('backbone', new PlainMambaBackbone(config))
    this.#head = this.child('head', new LinearHead(config.embed_dims, config.num_classes))
  }

  /** (B, H, W, 3) -> logits (B, classes). Any sides; a border that does not fill a patch is padded. */
  forward(images: Tensor, { observe }: ImageForwardOptions = {}): Tensor {
    const map = throughBlocks('layers', this.backbone.layers, this.backbone.embed(images), this.recompute, observe)
    const pooled = mean(this.backbone.ln1.forward(map), { axis: [1, 2] })
    const logits = this.#head.fc.forward(pooled)
    observe?.('head', logits)
    return logits
  }

  /** The normalised maps (B, h, w, C) after the layers `out_indices`, all at the same stride. */
  features(images: Tensor): Tensor[] {
    let map = this.backbone.embed(images)
    let next = 0
    return this.config.out_indices.map((layer) => {
      map = throughBlocks('layers', this.backbone.layers.slice(next, layer + 1), map, this.recompute)
      next = layer + 1
      return this.backbone.normalized(layer, map)
    })
  }
}
