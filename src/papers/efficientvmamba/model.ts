// EfficientVMamba (arXiv 2403.09977): scans that skip in the first stages, inverted residuals in the last.
// Idea: four scans that each visit every other row and column share the map out, so that each position is scanned once; a
// convolution beside them joins what they keep apart.
// Letters: D width of a stage, E inner width, N states, R rank of dt, K = 4 scans of T positions each; maps (B, h, w, D).
import { MambakitError } from '../../errors.js'
import type { ImageClassifier, ImageForwardOptions } from '../../models/image-classifier.js'
import { PatchMerging2d, PyramidHead, type Stage, stageWidths, VMambaStem, VssPyramid } from '../../models/vmamba.js'
import {
  BatchNorm2d,
  Conv2d,
  DropPath,
  dropPathRates,
  imageLinear,
  LayerNorm,
  type Linear,
  Module,
  SqueezeExcitation,
} from '../../nn/index.js'
import { scanPath } from '../../ssm/scan-paths.js'
import { scan2d } from '../../ssm/scan2d.js'
import { SS2D, type SS2DConfig } from '../../ssm/ss2d.js'
import {
  add,
  concat,
  exp,
  gelu,
  groupedLinear,
  mean,
  mul,
  neg,
  pad,
  permute,
  relu,
  reshape,
  select,
  sigmoid,
  slice,
  split,
  type Tensor,
} from '../../tensor/index.js'

/** Under the official names; `stage_types` and `ssm_d_state` are fixed there. */
export interface EfficientVMambaConfig {
  in_chans: number
  num_classes: number
  /** Blocks of each stage. */
  depths: readonly number[]
  /** D of the first stage, which doubles from stage to stage; or of each. */
  dims: number | readonly number[]
  /** What the blocks of each stage are. */
  stage_types: readonly BlockType[]
  /** N. */
  ssm_d_state: number
  /** E / D. */
  ssm_ratio: number
  /** Pixels that the stem makes a position of. */
  patch_size: number
  /** Of the last block; it grows linearly from 0. */
  drop_path_rate: number
}
export type BlockType = 'scan' | 'inverted-residual'

/** What the published sizes have in common. */
export const efficientVMambaDefaults = {
  stage_types: ['scan', 'scan', 'inverted-residual', 'inverted-residual'] as readonly BlockType[],
  ssm_d_state: 16,
  ssm_ratio: 2,
  patch_size: 4,
  drop_path_rate: 0.1,
} as const satisfies Partial<EfficientVMambaConfig>

/** The map with even sides, zeros at the right and bottom. */
export function evenSides(map: Tensor): Tensor {
  const [right, bottom] = [map.shape[2] % 2, map.shape[1] % 2]
  return right || bottom ? pad(map, [[0, bottom], [0, right]]) : map // biome-ignore format: pairs
}

/** SS2D whose four scans visit every other row and column (`scanPath('skip')`). mirrors: SS2D with EfficientScan */
export class SkipSS2D extends SS2D {
  readonly #states: number
  readonly #rank: number
  constructor(config: Omit<SS2DConfig, 'pattern' | 'window' | 'forward_type'>) {
    super({ ...config, forward_type: 'v0', pattern: 'skip' })
    this.#states = config.d_state ?? 16
    this.#rank = this.dtProj.shape[2]
  }
  /** (B, h, w, E) -> the same. dt, B and C are made for the steps of each scan alone, a quarter of the positions. */
  override scan(u: Tensor): Tensor {
    const [, height, width] = u.shape
    const even = evenSides(u)
    const [batch, h, w, inner] = even.shape
    const steps = (h * w) / 4
    // (B, h/2, w/2, K, E); scan k = row + 2 column of the two by two cell.
    const cells = permute(reshape(even, [batch, h / 2, 2, w / 2, 2, inner]), [0, 1, 3, 4, 2, 5])
    const maps = groupedLinear(reshape(cells, [batch, h / 2, w / 2, 4, inner]), this.xProj.value)
    const [dtLow, B, C] = split(inSteps(maps), [this.#rank, this.#states, this.#states])
    const delta = reshape(groupedLinear(dtLow, this.dtProj.value), [batch, steps, 4 * inner])
    const parameters = {
      ...{ delta, B, C, A: neg(exp(this.ALogs.value)), D: this.Ds.value },
      deltaBias: reshape(this.dtBias.value, [4 * inner]),
    }
    const merged = scan2d(even, parameters, scanPath('skip', h, w), { byStep: true })
    return even === u ? merged : slice(slice(merged, 1, 0, height), 2, 0, width)
  }
}

/** (B, h/2, w/2, K, M) in the order in which each scan takes its steps: by rows, those of odd rows by columns. (B, T, K, M) */
function inSteps(maps: Tensor): Tensor {
  const [batch, h2, w2, , width] = maps.shape
  const cells = reshape(maps, [batch, h2, w2, 2, 2, width])
  const [even, odd] = [0, 1].map((row) => select(cells, 4, row))
  const parts = [even, permute(odd, [0, 2, 1, 3, 4])].map((part) => reshape(part, [batch, h2 * w2, 2, 1, width]))
  return reshape(concat(parts, 3), [batch, h2 * w2, 4, width])
}

/** v times a gate of each channel, from the mean over positions of a norm that v itself does not go through. mirrors: BiAttn */
class ChannelAttention extends Module {
  readonly norm: LayerNorm
  readonly reduce: Linear
  readonly select: Linear
  constructor(width: number) {
    super()
    const reduced = Math.floor(width / 8)
    this.norm = this.child('norm', new LayerNorm(width))
    this.reduce = this.child('global_reduce', imageLinear(width, reduced))
    this.select = this.child('channel_select', imageLinear(reduced, width))
  }
  forward(map: Tensor): Tensor {
    const pooled = mean(this.norm.forward(map), { axis: [1, 2], keepDims: true })
    return mul(map, sigmoid(this.select.forward(gelu(this.reduce.forward(pooled)))))
  }
}

/** Depth-wise convolution, batch norm, GELU, 1 x 1 convolution. */
class ConvolutionBranch extends Module {
  readonly local: Conv2d
  readonly norm: BatchNorm2d
  readonly pointwise: Conv2d
  constructor(width: number) {
    super()
    this.local = this.child('0', new Conv2d(width, width, 3, { padding: 1, groups: width }))
    this.norm = this.child('1', new BatchNorm2d(width))
    this.pointwise = this.child('3', new Conv2d(width, width, 1))
  }
  forward(map: Tensor): Tensor {
    return this.pointwise.forward(gelu(this.norm.forward(this.local.forward(map))))
  }
}

/** x + SE(SS2D(n)) + SE(conv(n)), n = norm(x), with one SE for both. mirrors: VSSBlock of EfficientVMamba */
export class EvssBlock extends Module {
  readonly norm: LayerNorm
  readonly op: SS2D
  readonly branch: ConvolutionBranch | null
  readonly attention: ChannelAttention
  readonly dropPath: DropPath
  constructor(
    width: number,
    { ssm_d_state, ssm_ratio }: Pick<EfficientVMambaConfig, 'ssm_d_state' | 'ssm_ratio'>,
    dropPath = 0,
    /** What experiments compare with: scans of every position, or no convolution beside them. */
    { skip = true, convolve = true }: { skip?: boolean; convolve?: boolean } = {},
  ) {
    super()
    this.norm = this.child('norm', new LayerNorm(width))
    const scan = { d_model: width, d_state: ssm_d_state, ssm_ratio }
    this.op = this.child('op', skip ? new SkipSS2D(scan) : new SS2D(scan))
    this.branch = convolve ? this.child('conv_branch', new ConvolutionBranch(width)) : null
    this.attention = this.child('se', new ChannelAttention(width))
    this.dropPath = this.child('drop_path', new DropPath(dropPath))
  }
  /** (B, h, w, D) -> (B, h, w, D) */
  forward(map: Tensor): Tensor {
    const normed = this.norm.forward(map)
    const scanned = this.attention.forward(this.op.forward(normed))
    const both = this.branch ? add(scanned, this.attention.forward(this.branch.forward(normed))) : scanned
    return add(map, this.dropPath.forward(both))
  }
}

/** A convolution without bias and a batch norm. */
class ConvolutionNorm extends Module {
  readonly conv: Conv2d
  readonly norm: BatchNorm2d
  constructor(from: number, to: number, kernel: number, groups = 1) {
    super()
    this.conv = this.child('0', new Conv2d(from, to, kernel, { padding: kernel >> 1, groups, bias: false }))
    this.norm = this.child('1', new BatchNorm2d(to))
  }
  forward(map: Tensor): Tensor {
    return this.norm.forward(this.conv.forward(map))
  }
}

/** x + narrow(SE(local(wide(x)))): widened by 4, ReLU after the first two. mirrors: InvertedResidual */
export class InvertedResidual extends Module {
  readonly wide: ConvolutionNorm
  readonly local: ConvolutionNorm
  readonly attention: SqueezeExcitation
  readonly narrow: ConvolutionNorm
  readonly dropPath: DropPath
  constructor(width: number, dropPath = 0) {
    super()
    const hidden = 4 * width
    this.wide = this.child('conv_pw', new ConvolutionNorm(width, hidden, 1))
    this.local = this.child('conv_dw', new ConvolutionNorm(hidden, hidden, 3, hidden))
    this.attention = this.child('se', new SqueezeExcitation(hidden, Math.floor(hidden / 8)))
    this.narrow = this.child('conv_pw2', new ConvolutionNorm(hidden, width, 1))
    this.dropPath = this.child('drop_path', new DropPath(dropPath))
  }
  /** (B, h, w, D) -> (B, h, w, D) */
  forward(map: Tensor): Tensor {
    const hidden = relu(this.local.forward(relu(this.wide.forward(map))))
    return add(map, this.dropPath.forward(this.narrow.forward(this.attention.forward(hidden))))
  }
}

/** Stem and stages of a configuration. */
abstract class EfficientPyramid extends VssPyramid {
  protected readonly stem: VMambaStem
  protected readonly stages: readonly Stage[]
  protected readonly widths: readonly number[]
  /** `evss` makes the blocks of scans; experiments give others. */
  constructor(
    config: Omit<EfficientVMambaConfig, 'num_classes'>,
    evss = (width: number, dropPath: number) => new EvssBlock(width, config, dropPath),
  ) {
    super('efficientvmamba', config.in_chans, config.patch_size)
    const { depths, stage_types } = config
    this.widths = stageWidths(config.dims, depths.length)
    if (this.widths.length !== depths.length || stage_types.length < depths.length)
      throw new MambakitError(
        `efficientvmamba: expected dims and stage_types for ${depths.length} stages, got ${this.widths.length} and ${stage_types.length}`,
      )
    this.stem = this.child('patch_embed', new VMambaStem(config.in_chans, this.widths[0], config.patch_size, 'v1'))
    const rates = dropPathRates(
      config.drop_path_rate,
      depths.reduce((sum, depth) => sum + depth, 0),
    )
    this.stages = this.widths.map((width, i): Stage => {
      const name = `layers.${i}`
      const scans = stage_types[i] === 'scan'
      const own = rates.splice(0, depths[i])
      const next = this.widths[i + 1]
      const merging = (at: string) => (next === undefined ? null : this.child(at, new PatchMerging2d(width, next)))
      if (scans) {
        const blocks = own.map((rate) => evss(width, rate))
        return {
          name,
          blocksName: `${name}.blocks`,
          blocks: this.childList(`${name}.blocks`, blocks),
          downsample: merging(`${name}.downsample`),
        }
      }
      // The official Sequential permutes before the blocks and after them.
      const blocks = own.map((rate, m) => this.child(`${name}.${m + 1}`, new InvertedResidual(width, rate)))
      return { name, blocksName: `${name}.blocks`, blocks, downsample: merging(`${name}.${depths[i] + 2}`) }
    })
  }
}

/** mirrors: EfficientVSSM of TerryPei/EfficientVMamba (classification/models/vmamba_efficient.py) */
export class EfficientVMamba extends EfficientPyramid implements ImageClassifier {
  readonly numClasses: number
  readonly heads = ['classifier.head']
  readonly classifier: PyramidHead
  constructor(
    readonly config: EfficientVMambaConfig,
    evss?: (width: number, dropPath: number) => EvssBlock,
  ) {
    super(config, evss)
    this.numClasses = config.num_classes
    this.classifier = this.child('classifier', new PyramidHead(this.widths[this.widths.length - 1], config.num_classes))
  }
  /** (B, H, W, C) -> logits (B, K). Any sides of at least a patch. */
  forward(images: Tensor, options: ImageForwardOptions = {}): Tensor {
    const maps = this.features(images, options)
    const logits = this.classifier.forward(maps[maps.length - 1])
    options.observe?.('classifier', logits)
    return logits
  }
}

/** The stages' maps through norms of their own, for detection and segmentation. mirrors: Backbone_EfficientVSSM */
export class EfficientVMambaBackbone extends EfficientPyramid {
  readonly norms: readonly LayerNorm[]
  constructor(config: Omit<EfficientVMambaConfig, 'num_classes'>) {
    super(config)
    this.norms = this.widths.map((width, i) => this.child(`outnorm${i}`, new LayerNorm(width)))
  }
  override features(images: Tensor, options: ImageForwardOptions = {}): Tensor[] {
    return super.features(images, options).map((map, i) => this.norms[i].forward(map))
  }
}
