// GroupMamba (arXiv 2407.13772): a pyramid of four stages whose token mixer gives each quarter of the channels one scan
// direction.
// Idea: four directions at the price of one; a channel gate mixes the quarters again, and a second head learns from a
// teacher.
// Letters: C channels of a stage, c = C/4 of a group, r hidden ratio of the MLP; maps (B, H, W, C).
import {
  checkImages,
  type ImageClassifier,
  type ImageForwardOptions,
  throughBlocks,
} from '../../models/image-classifier.js'
import {
  BatchNorm2d,
  Conv2d,
  DropPath,
  dropPathRates,
  type Initializer,
  imageLinear,
  initializers,
  LayerNorm,
  type Linear,
  Module,
  type Parameter,
} from '../../nn/index.js'
import { type ScanPattern, scanPath } from '../../ssm/scan-paths.js'
import { MapScan } from '../../ssm/ss2d.js'
import {
  add,
  affine,
  concat,
  convolution,
  exp,
  gatedActivation,
  gelu,
  groupedLinear,
  layerNorm,
  mean,
  mul,
  neg,
  relu,
  reshape,
  selectiveScan,
  sigmoid,
  silu,
  split,
  type Tensor,
} from '../../tensor/index.js'

/** Under the official names. */
export interface GroupMambaConfig {
  in_chans: number
  num_classes: number
  /** Channels of the stem's first convolutions. */
  stem_hidden_dim: number
  /** C of each stage. */
  embed_dims: readonly number[]
  /** r of each stage. */
  mlp_ratios: readonly number[]
  /** Blocks of each stage. */
  depths: readonly number[]
  /** Of the last block; it grows linearly from 0. */
  drop_path_rate: number
  /** Whether there is a second head, for the classes that a teacher says. */
  distillation: boolean
}

/** What the published sizes have in common. */
export const groupMambaDefaults = { drop_path_rate: 0.05, distillation: true }

const { constant, normalWith } = initializers
/** Of the norms in and around the mixer, and of all others. */
export const mixerEps = 1e-5
export const eps = 1e-6

interface ConvSettings {
  readonly stride?: number
  readonly groups?: number
  readonly bias?: boolean
}
function convOf(from: number, to: number, kernel: number, { groups = 1, ...settings }: ConvSettings = {}): Conv2d {
  const weightInitializer: Initializer = normalWith(Math.sqrt(2 / (kernel * kernel * (to / groups))))
  const biasInitializer = constant(0)
  return new Conv2d(from, to, kernel, { padding: kernel >> 1, groups, ...settings, weightInitializer, biasInitializer })
}

/** Of the four groups, in order. */
export const groupPatterns: readonly ScanPattern[] = ['rows', 'columns', 'rowsBack', 'columnsBack']

/**
 * The parameters of one group: VMamba's SS2D with a gate, along one direction. `scanGroups` computes with those of all groups
 * at once. mirrors: SS2D of ss2d.py
 */
export class GroupScan extends MapScan {
  readonly inProj: Linear
  readonly conv: Conv2d
  readonly outNorm: LayerNorm
  readonly outProj: Linear
  constructor(
    readonly channels: number,
    readonly states: number,
    pattern: ScanPattern,
  ) {
    super({ channels, states, rank: Math.ceil(channels / 16), pattern })
    this.inProj = this.child('in_proj', imageLinear(channels, 2 * channels, false))
    this.conv = this.child('conv2d', new Conv2d(channels, channels, 3, { padding: 1, groups: channels }))
    this.outNorm = this.child('out_norm', new LayerNorm(channels, mixerEps))
    this.outProj = this.child('out_proj', imageLinear(channels, channels, false))
  }
}

/**
 * SS2D of every group on its own channels, group g along direction g of `pattern`: (B, H, W, G c) -> the same. The groups'
 * weights are put side by side, so that each step is one operation for all of them.
 */
export function scanGroups(groups: readonly GroupScan[], pattern: ScanPattern, input: Tensor): Tensor {
  const [batch, height, width, all] = input.shape
  const [{ channels, states, dtProj }] = groups
  const length = height * width
  const rank = dtProj.shape[2]
  const stacked = (shape: readonly number[], of: (group: GroupScan) => Parameter) =>
    concat(groups.map((group) => reshape(of(group).value, shape)))
  const perGroup = (x: Tensor) => reshape(x, [batch, length, groups.length, channels])
  const onMap = (x: Tensor) => reshape(x, [batch, height, width, all])

  const projected = groupedLinear(
    perGroup(input),
    stacked([1, 2 * channels, channels], ({ inProj }) => inProj.weight),
  )
  const [v, z] = split(projected, [channels, channels])
  const kernel = stacked([channels, 1, 3, 3], ({ conv }) => conv.weight)
  const bias = stacked([channels], ({ conv }) => conv.bias!)
  const u = silu(convolution(onMap(v), kernel, { bias, padding: 1, groups: all }))

  const maps = groupedLinear(
    perGroup(u),
    stacked([1, rank + 2 * states, channels], ({ xProj }) => xProj),
  )
  const [dtLow, B, C] = split(maps, [rank, states, states])
  const delta = groupedLinear(
    dtLow,
    stacked([1, channels, rank], (group) => group.dtProj),
  )
  const { out } = selectiveScan(
    reshape(u, [batch, length, all]),
    reshape(delta, [batch, length, all]),
    neg(exp(stacked([channels, states], ({ ALogs }) => ALogs))),
    B,
    C,
    {
      D: stacked([channels], ({ Ds }) => Ds),
      deltaBias: stacked([channels], ({ dtBias }) => dtBias),
      deltaSoftplus: true,
      path: scanPath(pattern, height, width).on(input.backend),
    },
  )

  const normed = layerNorm(perGroup(out), { eps: mixerEps })
  const scaled = add(
    mul(
      normed,
      stacked([1, channels], ({ outNorm }) => outNorm.weight),
    ),
    stacked([1, channels], ({ outNorm }) => outNorm.bias),
  )
  const gated = gatedActivation(z, scaled, 'silu')
  return onMap(
    groupedLinear(
      gated,
      stacked([1, channels, channels], ({ outProj }) => outProj.weight),
    ),
  )
}

/** proj(norm(gate(x^) * skip_scale * x^ * [scans of the four quarters of x^])), x^ = norm(x). mirrors: GroupMambaLayer */
export class ModulatedGroupMamba extends Module {
  readonly #skipScale: Parameter
  readonly #fc1: Linear
  readonly #fc2: Linear
  readonly #norm: LayerNorm
  readonly #groups: readonly GroupScan[]
  readonly #proj: Linear
  constructor(channels: number) {
    super()
    const group = channels / 4
    const narrow = Math.floor(channels / 16)
    this.#skipScale = this.parameter('skip_scale', [1], constant(1), { decay: false })
    this.#fc1 = this.child('fc1', imageLinear(channels, narrow))
    this.#fc2 = this.child('fc2', imageLinear(narrow, channels))
    this.#norm = this.child('norm', new LayerNorm(channels, mixerEps))
    this.#groups = groupPatterns.map((pattern, k) => this.child(`mamba_g${k + 1}`, new GroupScan(group, 1, pattern)))
    this.#proj = this.child('proj', imageLinear(channels, channels))
  }
  /** (B, H, W, C) -> (B, H, W, C) */
  forward(input: Tensor): Tensor {
    const normed = this.#norm.forward(input)
    const [batch, , , channels] = input.shape
    const pooled = mean(normed, { axis: [1, 2] })
    const gate = sigmoid(this.#fc2.forward(relu(this.#fc1.forward(pooled))))
    // The four groups' patterns are the directions of the cross scan.
    const mixed = scanGroups(this.#groups, 'cross', normed)
    const factor = mul(reshape(gate, [batch, 1, 1, channels]), this.#skipScale.value)
    return this.#proj.forward(this.#norm.forward(mul(mul(mixed, normed), factor)))
  }
}

/** fc2(gelu(dwconv(fc1(x)))); without the convolution where `convolve` is false. mirrors: PVT2FFN, FFN */
class Mlp extends Module {
  readonly #fc1: Linear
  readonly #conv: Conv2d | null
  readonly #fc2: Linear
  constructor(channels: number, hidden: number, convolve: boolean) {
    super()
    this.#fc1 = this.child('fc1', imageLinear(channels, hidden))
    this.#conv = convolve ? this.child('dwconv.dwconv', convOf(hidden, hidden, 3, { groups: hidden })) : null
    this.#fc2 = this.child('fc2', imageLinear(hidden, channels))
  }
  forward(input: Tensor): Tensor {
    const hidden = this.#fc1.forward(input)
    return this.#fc2.forward(gelu(this.#conv ? this.#conv.forward(hidden) : hidden))
  }
}

/** Mixes positions: (B, H, W, C) -> (B, H, W, C). */
type MapMixer = Module & { forward(input: Tensor): Tensor }

/** x + mixer(x), then x + mlp(norm(x)). mirrors: Block_mamba */
export class GroupMambaBlock extends Module {
  readonly #norm: LayerNorm
  readonly #mixer: MapMixer
  readonly #mlp: Mlp
  readonly #dropPath: DropPath
  constructor(channels: number, mlpRatio: number, dropPath: number, mixer: MapMixer) {
    super()
    this.#norm = this.child('norm2', new LayerNorm(channels, eps))
    this.#mixer = this.child('attn', mixer)
    this.#mlp = this.child('mlp', new Mlp(channels, mlpRatio * channels, true))
    this.#dropPath = this.child('drop_path', new DropPath(dropPath))
  }
  forward(input: Tensor): Tensor {
    const mixed = add(input, this.#dropPath.forward(this.#mixer.forward(input)))
    return add(mixed, this.#dropPath.forward(this.#mlp.forward(this.#norm.forward(mixed))))
  }
}

/** The last mixing of the mean token alone: t + norm1(mixer(t)), then t + mlp(norm2(t)). mirrors: ClassBlock */
class ClassBlock extends Module {
  readonly #norm1: LayerNorm
  readonly #norm2: LayerNorm
  readonly #mixer: ModulatedGroupMamba
  readonly #mlp: Mlp
  constructor(channels: number, mlpRatio: number) {
    super()
    this.#norm1 = this.child('norm1', new LayerNorm(channels, eps))
    this.#norm2 = this.child('norm2', new LayerNorm(channels, eps))
    this.#mixer = this.child('attn', new ModulatedGroupMamba(channels))
    this.#mlp = this.child('mlp', new Mlp(channels, mlpRatio * channels, false))
  }
  /** (B, 1, 1, C) -> (B, 1, 1, C) */
  forward(token: Tensor): Tensor {
    const mixed = add(token, this.#norm1.forward(this.#mixer.forward(token)))
    return add(mixed, this.#mlp.forward(this.#norm2.forward(mixed)))
  }
}

/** Three convolutions with batch norms, then a fourth: a quarter of the sides. mirrors: Stem */
class Stem extends Module {
  readonly #layers: readonly (readonly [Conv2d, BatchNorm2d])[]
  readonly #proj: Conv2d
  readonly #norm: LayerNorm
  constructor(inChannels: number, hidden: number, channels: number) {
    super()
    this.#layers = [0, 1, 2].map((i) => [
      this.child(
        `conv.${3 * i}`,
        convOf(i === 0 ? inChannels : hidden, hidden, i === 0 ? 7 : 3, { stride: i === 0 ? 2 : 1, bias: false }),
      ),
      this.child(`conv.${3 * i + 1}`, new BatchNorm2d(hidden)),
    ])
    this.#proj = this.child('proj', convOf(hidden, channels, 3, { stride: 2 }))
    this.#norm = this.child('norm', new LayerNorm(channels, mixerEps))
  }
  forward(images: Tensor): Tensor {
    const map = this.#layers.reduce((x, [conv, norm]) => relu(norm.forward(conv.forward(x))), images)
    return this.#norm.forward(this.#proj.forward(map))
  }
}

/** Half the sides. mirrors: DownSamples */
export class Downsampling extends Module {
  readonly #proj: Conv2d
  readonly #norm: LayerNorm
  constructor(from: number, to: number) {
    super()
    this.#proj = this.child('proj', convOf(from, to, 3, { stride: 2 }))
    this.#norm = this.child('norm', new LayerNorm(to, mixerEps))
  }
  forward(map: Tensor): Tensor {
    return this.#norm.forward(this.#proj.forward(map))
  }
}

/** mirrors: GroupMamba of Amshaker/GroupMamba (classification/models/groupmamba.py) */
export class GroupMamba extends Module implements ImageClassifier {
  readonly numClasses: number
  readonly inChannels: number
  readonly heads: readonly string[]
  recompute = false
  readonly #entries: readonly (Stem | Downsampling)[]
  readonly #blocks: readonly (readonly GroupMambaBlock[])[]
  /** Of each stage's last map; the last one is for the class token. */
  readonly #norms: readonly LayerNorm[]
  readonly #classBlock: ClassBlock
  readonly #head: Linear
  readonly #distilled: Linear | null
  constructor(readonly config: GroupMambaConfig) {
    super()
    const { in_chans, num_classes, stem_hidden_dim, embed_dims, mlp_ratios, depths } = config
    this.numClasses = num_classes
    this.inChannels = in_chans
    const total = depths.reduce((sum, depth) => sum + depth, 0)
    const rates = dropPathRates(config.drop_path_rate, total)
    const stages = embed_dims.map((channels, i) => ({
      entry: this.child(
        `patch_embed${i + 1}`,
        i === 0 ? new Stem(in_chans, stem_hidden_dim, channels) : new Downsampling(embed_dims[i - 1], channels),
      ),
      blocks: this.childList(
        `block${i + 1}`,
        rates
          .splice(0, depths[i])
          .map((rate) => new GroupMambaBlock(channels, mlp_ratios[i], rate, new ModulatedGroupMamba(channels))),
      ),
      norm: this.child(`norm${i + 1}`, new LayerNorm(channels, eps)),
    }))
    this.#entries = stages.map(({ entry }) => entry)
    this.#blocks = stages.map(({ blocks }) => blocks)
    this.#norms = stages.map(({ norm }) => norm)
    const last = embed_dims[embed_dims.length - 1]
    this.#classBlock = this.child('post_network.0', new ClassBlock(last, mlp_ratios[mlp_ratios.length - 1]))
    this.#head = this.child('head', imageLinear(last, num_classes))
    this.#distilled = config.distillation ? this.child('dist_head', imageLinear(last, num_classes)) : null
    this.heads = config.distillation ? ['head', 'dist_head'] : ['head']
  }

  /** The maps after the blocks of each stage, before its norm. */
  stages(images: Tensor, { observe }: ImageForwardOptions = {}): Tensor[] {
    checkImages('groupmamba', images, this.inChannels)
    let map = images
    return this.#blocks.map((blocks, i) => {
      const entered = this.#entries[i].forward(i === 0 ? map : this.#norms[i - 1].forward(map))
      map = throughBlocks(`block${i + 1}`, blocks, entered, this.recompute, observe)
      return map
    })
  }
  /** The maps at strides 4, 8, 16 and 32, normed but for the last, whose norm is trained on the class token alone. */
  features(images: Tensor): Tensor[] {
    return this.stages(images).map((map, i, all) => (i < all.length - 1 ? this.#norms[i].forward(map) : map))
  }
  /** The class token (B, C4) that the heads see. */
  #token(images: Tensor, options: ImageForwardOptions): Tensor {
    const maps = this.stages(images, options)
    const pooled = mean(maps[maps.length - 1], { axis: [1, 2], keepDims: true })
    const token = this.#norms[maps.length - 1].forward(this.#classBlock.forward(pooled))
    return reshape(token, [token.shape[0], token.shape[3]])
  }
  /** Logits of both heads, each (B, classes). */
  bothLogits(images: Tensor, options: ImageForwardOptions = {}): readonly [logits: Tensor, distilled: Tensor] {
    const token = this.#token(images, options)
    const logits = this.#head.forward(token)
    return [logits, this.#distilled ? this.#distilled.forward(token) : logits]
  }
  /** (B, H, W, 3) -> logits (B, classes), the mean of both heads. Any sides. */
  forward(images: Tensor, options: ImageForwardOptions = {}): Tensor {
    const [logits, distilled] = this.bothLogits(images, options)
    const out = this.#distilled ? affine(add(logits, distilled), 0.5) : logits
    options.observe?.('head', out)
    return out
  }
}
