// VMamba (arXiv 2401.10166): a pyramid of four stages whose token mixer is the 2-D selective scan.
// Idea: four scans along rows, columns and both backwards see the whole map at linear cost.
// Letters: D width of a stage, h, w sides of its map; maps (B, h, w, D).
import { MambakitError, ShapeError } from '../errors.js'
import { Conv2d, DropPath, dropPathRates, imageLinear, LayerNorm, type Linear, Module } from '../nn/index.js'
import { SS2D } from '../ssm/ss2d.js'
import { add, gelu, mean, pad, permute, reshape, type Tensor } from '../tensor/index.js'
import { type ImageModelSettings, type ImageModelShape, withSettings } from './image-catalogue.js'
import { checkImages, type ImageClassifier, type ImageForwardOptions, throughBlocks } from './image-classifier.js'

/** Under the official names. */
export interface VMambaConfig {
  in_chans: number
  num_classes: number
  /** Blocks of each stage. */
  depths: readonly number[]
  /** D of the first stage, which doubles from stage to stage; or of each. */
  dims: number | readonly number[]
  /** N of the scans. */
  ssm_d_state: number
  /** E / D. */
  ssm_ratio: number
  ssm_conv_bias: boolean
  /** First values of the scans' parameters; see `SS2DConfig`. */
  ssm_init: string
  /** What the mixer computes; see `parseForwardType`. */
  forward_type: string
  /** Steps of a window of the locally bidirectional scan (LBMamba), 'by length' as its kernel chooses, 0 for none. */
  window: number | 'by length'
  /** Hidden width of the MLP over D; 0 leaves it out. */
  mlp_ratio: number
  patchembed_version: 'v1' | 'v2'
  /** Pixels that the stem makes a position of. */
  patch_size: number
  downsample_version: 'v1' | 'v2' | 'v3'
  /** Of the last block; it grows linearly from 0. */
  drop_path_rate: number
}

/** The final paper's models ('v05_noz'). */
export const vMambaDefaults = {
  ssm_d_state: 1,
  ssm_ratio: 2,
  ssm_conv_bias: false,
  ssm_init: 'v0',
  forward_type: 'v05_noz',
  window: 0 as VMambaConfig['window'],
  mlp_ratio: 4,
  patchembed_version: 'v2',
  patch_size: 4,
  downsample_version: 'v3',
  drop_path_rate: 0.2,
} as const satisfies Partial<VMambaConfig>

/** The first version's models ('v0'). */
export const vanillaVMambaDefaults = {
  ...vMambaDefaults,
  ssm_d_state: 16,
  ssm_conv_bias: true,
  forward_type: 'v0',
  mlp_ratio: 0,
  patchembed_version: 'v1',
  downsample_version: 'v1',
} as const satisfies Partial<VMambaConfig>

/** D of each stage. */
export const stageWidths = (dims: number | readonly number[], stages: number): readonly number[] =>
  typeof dims === 'number' ? Array.from({ length: stages }, (_, i) => dims * 2 ** i) : dims

/** A convolution of a patch and a norm; or (v2) two that halve twice, a norm after each, GELU between. */
export class VMambaStem extends Module {
  readonly #convolutions: readonly (readonly [Conv2d, LayerNorm])[]
  constructor(inChannels: number, width: number, patch: number, version: VMambaConfig['patchembed_version']) {
    super()
    const step = (
      at: number,
      from: number,
      to: number,
      kernel: number,
      options: { stride: number; padding?: number },
    ) =>
      [this.child(`${at}`, new Conv2d(from, to, kernel, options)), this.child(`${at + 2}`, new LayerNorm(to))] as const
    // Where a position is of 2 pixels, which the official code has no stem for, the second keeps the sides.
    const [half, stride] = [width >> 1, Math.max(2, patch >> 1)]
    const overlapping = { stride, padding: 1 }
    const last = { stride: patch === 2 ? 1 : stride, padding: 1 }
    // Places in the official Sequential; permutations and GELU lie between.
    this.#convolutions =
      version === 'v1'
        ? [step(0, inChannels, width, patch, { stride: patch })]
        : [step(0, inChannels, half, stride + 1, overlapping), step(5, half, width, stride + 1, last)]
  }
  /** (B, H, W, C) -> (B, h, w, D) */
  forward(images: Tensor): Tensor {
    return this.#convolutions.reduce(
      (map, [conv, norm], i) => norm.forward(conv.forward(i > 0 ? gelu(map) : map)),
      images,
    )
  }
}

/** Four neighbours become one position of twice the width; odd sides are padded with zeros. mirrors: PatchMerging2D */
export class PatchMerging2d extends Module {
  readonly reduction: Linear
  readonly norm: LayerNorm
  constructor(from: number, to: number) {
    super()
    this.reduction = this.child('reduction', imageLinear(4 * from, to, false))
    this.norm = this.child('norm', new LayerNorm(4 * from))
  }
  /** (B, h, w, D) -> (B, ceil(h / 2), ceil(w / 2), D') */
  forward(map: Tensor): Tensor {
    const even = map.shape[1] % 2 || map.shape[2] % 2 ? pad(map, [[0, map.shape[1] % 2], [0, map.shape[2] % 2]]) : map // biome-ignore format: pairs
    const [batch, height, width, channels] = even.shape
    const cells = reshape(even, [batch, height / 2, 2, width / 2, 2, channels])
    // Rows fastest: (0, 0), (1, 0), (0, 1), (1, 1).
    const joined = reshape(permute(cells, [0, 1, 3, 4, 2, 5]), [batch, height / 2, width / 2, 4 * channels])
    return this.reduction.forward(this.norm.forward(joined))
  }
}

/** A convolution that halves the map, and a norm. mirrors: VSSM._make_downsample, _make_downsample_v3 */
class ConvolutionMerging extends Module {
  readonly conv: Conv2d
  readonly norm: LayerNorm
  constructor(from: number, to: number, version: 'v2' | 'v3') {
    super()
    const [kernel, padding] = version === 'v2' ? [2, 0] : [3, 1]
    this.conv = this.child('1', new Conv2d(from, to, kernel, { stride: 2, padding }))
    this.norm = this.child('3', new LayerNorm(to))
  }
  forward(map: Tensor): Tensor {
    return this.norm.forward(this.conv.forward(map))
  }
}

class Mlp extends Module {
  readonly fc1: Linear
  readonly fc2: Linear
  constructor(width: number, hidden: number) {
    super()
    this.fc1 = this.child('fc1', imageLinear(width, hidden))
    this.fc2 = this.child('fc2', imageLinear(hidden, width))
  }
  forward(map: Tensor): Tensor {
    return this.fc2.forward(gelu(this.fc1.forward(map)))
  }
}

export type VssBlockConfig = Pick<
  VMambaConfig,
  'ssm_d_state' | 'ssm_ratio' | 'ssm_conv_bias' | 'ssm_init' | 'forward_type' | 'window' | 'mlp_ratio'
>

/** x + SS2D(norm(x)), then x + MLP(norm(x)) where there is one. mirrors: VSSBlock */
export class VssBlock extends Module {
  readonly norm: LayerNorm
  readonly op: SS2D
  readonly dropPath: DropPath
  readonly norm2: LayerNorm | null
  readonly mlp: Mlp | null
  constructor(width: number, config: VssBlockConfig, dropPath = 0) {
    super()
    const { ssm_d_state, ssm_ratio, ssm_conv_bias, ssm_init, forward_type, window, mlp_ratio } = config
    this.norm = this.child('norm', new LayerNorm(width))
    const scan = { d_model: width, d_state: ssm_d_state, ssm_ratio, conv_bias: ssm_conv_bias }
    this.op = this.child('op', new SS2D({ ...scan, forward_type, window, initialize: ssm_init }))
    this.dropPath = this.child('drop_path', new DropPath(dropPath))
    const withMlp = mlp_ratio > 0
    this.norm2 = withMlp ? this.child('norm2', new LayerNorm(width)) : null
    this.mlp = withMlp ? this.child('mlp', new Mlp(width, Math.trunc(width * mlp_ratio))) : null
  }
  /** (B, h, w, D) -> (B, h, w, D) */
  forward(map: Tensor): Tensor {
    const mixed = add(map, this.dropPath.forward(this.op.forward(this.norm.forward(map))))
    if (!this.mlp || !this.norm2) return mixed
    return add(mixed, this.dropPath.forward(this.mlp.forward(this.norm2.forward(mixed))))
  }
}

type MapModule = Module & { forward(map: Tensor): Tensor }

/** Blocks that work on one map, and what halves it for the next stage. */
export interface Stage {
  /** Official names: 'layers.0', and that of which its blocks are numbered. */
  readonly name: string
  readonly blocksName: string
  readonly blocks: readonly MapModule[]
  readonly downsample: MapModule | null
}

/** A stem and stages; what VMamba and its heirs are below their heads. */
export abstract class VssPyramid extends Module {
  recompute = false
  readonly inChannels: number
  protected abstract readonly stem: MapModule
  protected abstract readonly stages: readonly Stage[]
  protected constructor(
    /** For error messages. */
    protected readonly label: string,
    inChannels: number,
    protected readonly patch: number,
  ) {
    super()
    this.inChannels = inChannels
  }
  /** The maps of the stages before they are halved, at strides 4, 8, 16, 32. `observe` is shown each stage as well, halved. */
  features(images: Tensor, { observe }: ImageForwardOptions = {}): Tensor[] {
    checkImages(this.label, images, this.inChannels)
    if (images.shape[1] < this.patch || images.shape[2] < this.patch)
      throw new ShapeError(this.label, [images.shape], `expected sides of at least ${this.patch}, a patch`)
    let entering = this.stem.forward(images)
    observe?.('patch_embed', entering)
    return this.stages.map(({ name, blocksName, blocks, downsample }) => {
      const map = throughBlocks(blocksName, blocks, entering, this.recompute, observe)
      entering = downsample ? downsample.forward(map) : map
      observe?.(name, entering)
      return map
    })
  }
}

/** The norm of each position, their mean, and a linear map: (B, h, w, D) -> (B, K). */
export class PyramidHead extends Module {
  readonly norm: LayerNorm
  readonly head: Linear
  constructor(width: number, numClasses: number) {
    super()
    this.norm = this.child('norm', new LayerNorm(width))
    this.head = this.child('head', imageLinear(width, numClasses))
  }
  forward(map: Tensor): Tensor {
    return this.head.forward(mean(this.norm.forward(map), { axis: [1, 2] }))
  }
}

/** Stem and stages of a configuration. */
abstract class VMambaPyramid extends VssPyramid {
  protected readonly stem: VMambaStem
  protected readonly stages: readonly Stage[]
  protected readonly widths: readonly number[]
  constructor(config: Omit<VMambaConfig, 'num_classes'>) {
    super('vmamba', config.in_chans, config.patch_size)
    const { depths, downsample_version: version } = config
    this.widths = stageWidths(config.dims, depths.length)
    if (this.widths.length !== depths.length)
      throw new MambakitError(`vmamba: expected as many dims as depths, got ${this.widths.length} and ${depths.length}`)
    this.stem = this.child(
      'patch_embed',
      new VMambaStem(config.in_chans, this.widths[0], config.patch_size, config.patchembed_version),
    )
    const rates = dropPathRates(
      config.drop_path_rate,
      depths.reduce((sum, depth) => sum + depth, 0),
    )
    this.stages = this.widths.map((width, i): Stage => {
      const name = `layers.${i}`
      const blocks = rates.splice(0, depths[i]).map((rate) => new VssBlock(width, config, rate))
      const next = this.widths[i + 1]
      const merging = () =>
        version === 'v1' ? new PatchMerging2d(width, next) : new ConvolutionMerging(width, next, version)
      return {
        name,
        blocksName: `${name}.blocks`,
        blocks: this.childList(`${name}.blocks`, blocks),
        downsample: next === undefined ? null : this.child(`${name}.downsample`, merging()),
      }
    })
  }
}

/** Names of the first checkpoints -> those of the official code since. mirrors: VSSM._load_from_state_dict */
const oldNames: readonly (readonly [RegExp, string])[] = [
  [/^patch_embed\.proj\./, 'patch_embed.0.'],
  [/^patch_embed\.norm\./, 'patch_embed.2.'],
  [/^(layers\.\d+\.blocks\.\d+)\.ln_1\./, '$1.norm.'],
  [/^(layers\.\d+\.blocks\.\d+)\.self_attention\./, '$1.op.'],
  [/^norm\./, 'classifier.norm.'],
  [/^head\./, 'classifier.head.'],
]

/** mirrors: VSSM of MzeroMiko/VMamba (classification/models/vmamba.py) */
export class VMamba extends VMambaPyramid implements ImageClassifier {
  readonly numClasses: number
  readonly heads = ['classifier.head']
  readonly classifier: PyramidHead
  constructor(readonly config: VMambaConfig) {
    super(config)
    this.numClasses = config.num_classes
    this.classifier = this.child('classifier', new PyramidHead(this.widths[this.widths.length - 1], config.num_classes))
  }
  checkpointName(stored: string): string {
    return oldNames.reduce((name, [old, present]) => name.replace(old, present), stored)
  }
  /** (B, H, W, C) -> logits (B, K). Any sides of at least a patch. */
  forward(images: Tensor, options: ImageForwardOptions = {}): Tensor {
    const maps = this.features(images, options)
    const logits = this.classifier.forward(maps[maps.length - 1])
    options.observe?.('classifier', logits)
    return logits
  }
}

/** The stages' maps through norms of their own, for detection and segmentation. mirrors: Backbone_VSSM */
export class VMambaBackbone extends VMambaPyramid {
  readonly norms: readonly LayerNorm[]
  constructor(config: Omit<VMambaConfig, 'num_classes'>) {
    super(config)
    this.norms = this.widths.map((width, i) => this.child(`outnorm${i}`, new LayerNorm(width)))
  }
  override features(images: Tensor, options: ImageForwardOptions = {}): Tensor[] {
    return super.features(images, options).map((map, i) => this.norms[i].forward(map))
  }
}

/** A VMamba of `preset` for the shape at hand, with the user's settings. */
export function buildVMamba(
  preset: Omit<VMambaConfig, 'in_chans' | 'num_classes'>,
  { classes, channels }: ImageModelShape,
  settings?: ImageModelSettings,
): VMamba {
  return new VMamba({ ...withSettings('vmamba', preset, settings), in_chans: channels, num_classes: classes })
}
