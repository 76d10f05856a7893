// SS2D, the 2-D selective scan of VMamba (arXiv 2401.10166): a depth-wise convolution and four selective scans along rows,
// columns and both backwards, whose sum is normalised and gated.
// Idea: four causal scans together let every position see every other, at linear cost.
// Letters: B batch, H, W sides of the map, L = H W, d width, E inner width, N states, R rank of dt, K = 4 directions.
import { MambakitError } from '../errors.js'
import { Conv2d, initializers, LayerNorm, Linear, Module, type Parameter } from '../nn/index.js'
import {
  add,
  addLayerNorm,
  embedding,
  exp,
  gatedActivation,
  gelu,
  groupedLinear,
  linear,
  mul,
  neg,
  normal,
  permute,
  reshape,
  sigmoid,
  silu,
  slice,
  softmax,
  split,
  type Tensor,
  tensor,
  uniform,
} from '../tensor/index.js'
import { directionsOf, type ScanPattern, scanPath } from './scan-paths.js'
import { type Scan2dOptions, type Scan2dParameters, scan2d } from './scan2d.js'

/** Under the official names. */
export interface SS2DConfig {
  /** d. */
  d_model: number
  /** N. Default 16. */
  d_state?: number
  /** E / d, truncated. Default 2. */
  ssm_ratio?: number
  /** R; 'auto' is ceil(d / 16). Default 'auto'. */
  dt_rank?: number | 'auto'
  /** Side of the convolution; 1 leaves it out. Default 3. */
  d_conv?: number
  /** Default true. */
  conv_bias?: boolean
  /** What is computed; see `parseForwardType`. Default 'v0'. */
  forward_type?: string
  /** Other directions than those of `forward_type`. */
  pattern?: ScanPattern
  /** See `MapScanConfig`. */
  initialize?: string
  window?: Scan2dOptions['window']
}

const outNorms = ['none', 'dwconv3', 'cnorm', 'softmax', 'sigmoid', 'layernorm'] as const
type OutNorm = (typeof outNorms)[number]

interface ForwardType {
  /** 'cascade': rows first, then columns of what comes out. */
  readonly scan: ScanPattern | 'cascade'
  readonly outNorm: OutNorm
  readonly gate: 'silu' | 'linear' | 'none'
  /** GELU after the norm. */
  readonly outActivation: boolean
}

/** The bases that compute different things; the others of v01 .. v05 are the same by other kernels. */
const scans: Readonly<Record<string, ForwardType['scan']>> = {
  v051d: 'unidirectional',
  v052d: 'bidirectional',
  v052dc: 'cascade',
}

/**
 * '<base>[_on<norm>][_noz|_nozact][_oact]', in this order: v0 and v01 to v05 scan crosswise, v051d along rows alone, v052d
 * along rows both ways, v052dc rows, then columns. Throws MambakitError for others.
 */
export function parseForwardType(text: string): ForwardType {
  const match = /^(v\w*?)(?:_on(none|dwconv3|cnorm|softmax|sigmoid))?(_nozact|_noz)?(_oact)?$/.exec(text)
  const base = match?.[1] ?? ''
  if (!match || !(/^v(0|0[1-5])$/.test(base) || Object.hasOwn(scans, base)))
    throw new MambakitError(
      `forward_type: expected v0, v01 to v05, ${Object.keys(scans).join(', ')} with _on${outNorms.slice(0, 5).join('|')}, _noz or _nozact, _oact; got '${text}'`,
    )
  const gates = { _noz: 'none', _nozact: 'linear' } as const
  return {
    scan: scans[base] ?? 'cross',
    outNorm: (match[2] as OutNorm | undefined) ?? 'layernorm',
    gate: match[3] ? gates[match[3] as '_noz' | '_nozact'] : 'silu',
    outActivation: match[4] !== undefined,
  }
}

/** What is done to the merged scans, (B, H, W, E) -> the same. mirrors: SS2Dv2.get_outnorm */
class OutNormalization extends Module {
  readonly #apply: (map: Tensor) => Tensor
  constructor(kind: OutNorm, channels: number) {
    super()
    const conv = () => new Conv2d(channels, channels, 3, { padding: 1, groups: channels, bias: false })
    // The places 1 and 2 are those of the official Sequential.
    const parts = {
      none: () => (map: Tensor) => map,
      layernorm: () => {
        const norm = new LayerNorm(channels)
        this.share('weight', norm.weight)
        this.share('bias', norm.bias)
        return (map: Tensor) => norm.forward(map)
      },
      dwconv3: () => {
        const local = this.child('1', conv())
        return (map: Tensor) => local.forward(map)
      },
      cnorm: () => {
        const norm = this.child('0', new LayerNorm(channels))
        const local = this.child('2', conv())
        return (map: Tensor) => local.forward(norm.forward(map))
      },
      softmax: () => (map: Tensor) => {
        const [batch, height, width] = map.shape
        const byChannel = reshape(permute(map, [0, 3, 1, 2]), [batch, channels, height * width])
        return permute(reshape(softmax(byChannel), [batch, channels, height, width]), [0, 2, 3, 1])
      },
      sigmoid: () => sigmoid,
    }
    this.#apply = parts[kind]()
  }
  forward(map: Tensor): Tensor {
    return this.#apply(map)
  }
}

const { constant, kaimingUniform, imageNormal, logSpectrum, stepSizeBias, uniformWithin } = initializers

/** First values of dt's weight and bias, A and D. */
function scanInitializers(kind: string, rank: number) {
  const normals = (factor: number) => (shape: readonly number[]) => normal(shape, 0, factor)
  const uniforms = (factor: number) => (shape: readonly number[]) => uniform(shape, 0, factor)
  const kinds = {
    v0: {
      dtWeight: uniformWithin(rank ** -0.5),
      dtBias: stepSizeBias(0.001, 0.1, 1e-4),
      ALogs: logSpectrum,
    },
    v1: { dtWeight: normals(0.1), dtBias: normals(0.1), ALogs: normals(1) },
    v2: { dtWeight: uniforms(0.1), dtBias: uniforms(0.1), ALogs: constant(0) },
  }
  if (!Object.hasOwn(kinds, kind))
    throw new MambakitError(`ssm_init: expected one of ${Object.keys(kinds).join(', ')}, got '${kind}'`)
  return kinds[kind as keyof typeof kinds]
}

export interface MapScanConfig {
  /** E. */
  channels: number
  /** N. */
  states: number
  /** R. */
  rank: number
  pattern: ScanPattern
  /** First values of A, D and dt: 'v0' as Mamba, 'v1' random, 'v2' zeros and small. Default 'v0'. */
  initialize?: string
  /** Window of a locally bidirectional scan, which the official code does not have. Default 0. */
  window?: Scan2dOptions['window']
}

/** Selective scans of a map along the directions of a pattern, each by its own dt, B and C, added up: the core of SS2D. */
export class MapScan extends Module {
  readonly #config: MapScanConfig
  readonly #directions: number
  readonly xProj: Parameter
  readonly dtProj: Parameter
  readonly dtBias: Parameter
  readonly ALogs: Parameter
  readonly Ds: Parameter
  constructor(config: MapScanConfig) {
    super()
    const { channels, states, rank, pattern, initialize = 'v0' } = config
    const directions = directionsOf(pattern)
    this.#config = config
    this.#directions = directions
    const initial = scanInitializers(initialize, rank)
    this.xProj = this.parameter('x_proj_weight', [directions, rank + 2 * states, channels], kaimingUniform(channels))
    this.dtProj = this.parameter('dt_projs_weight', [directions, channels, rank], initial.dtWeight)
    this.dtBias = this.parameter('dt_projs_bias', [directions, channels], initial.dtBias)
    this.ALogs = this.parameter('A_logs', [directions * channels, states], initial.ALogs)
    this.Ds = this.parameter('Ds', [directions * channels], constant(1), { decay: false })
  }
  /** (B, H, W, E) -> (B, H, W, E) */
  scan(u: Tensor): Tensor {
    const { pattern, window } = this.#config
    const [, height, width] = u.shape
    return scan2d(u, this.parametersFor(u, 0, this.#directions), scanPath(pattern, height, width), { window })
  }
  /** delta, B, C of every position (B, L, ...) for directions [from, to), each by its own maps, and the rest of a scan. */
  protected parametersFor(u: Tensor, from: number, to: number): Scan2dParameters {
    const { channels, states, rank } = this.#config
    const [batch, count, all] = [u.shape[0], to - from, this.#directions]
    const length = u.shape.slice(1, -1).reduce((a, b) => a * b, 1)
    const own = ({ value, shape }: Parameter) =>
      count === all ? value : slice(value, 0, (from * shape[0]) / all, (to * shape[0]) / all)
    const width = rank + 2 * states
    const maps = linear(u, reshape(own(this.xProj), [count * width, channels]))
    const [dtLow, B, C] = split(reshape(maps, [batch, length, count, width]), [rank, states, states])
    return {
      delta: reshape(groupedLinear(dtLow, own(this.dtProj)), [batch, length, count * channels]),
      ...{ A: neg(exp(own(this.ALogs))), B, C, D: own(this.Ds) },
      deltaBias: reshape(own(this.dtBias), [count * channels]),
    }
  }
}

/** mirrors: SS2D of MzeroMiko/VMamba (classification/models/vmamba.py), v0 and v2 */
export class SS2D extends MapScan {
  readonly dInner: number
  readonly #type: ForwardType
  readonly #window: Scan2dOptions['window']
  readonly inProj: Linear
  readonly conv: Conv2d | null
  readonly outNorm: OutNormalization
  readonly outProj: Linear

  constructor(config: SS2DConfig) {
    const { d_model, d_state = 16, ssm_ratio = 2, dt_rank = 'auto', d_conv = 3, conv_bias = true } = config
    const { forward_type = 'v0', initialize, window } = config
    const type = parseForwardType(forward_type)
    const inner = Math.trunc(ssm_ratio * d_model)
    const rank = dt_rank === 'auto' ? Math.ceil(d_model / 16) : dt_rank
    const pattern = config.pattern ?? (type.scan === 'cascade' ? 'cross' : type.scan)
    super({ channels: inner, states: d_state, rank, pattern, initialize, window })
    this.#type = type
    this.#window = window
    this.dInner = inner
    const plain = { bias: false, weightInitializer: imageNormal }
    this.inProj = this.child('in_proj', new Linear(d_model, type.gate === 'none' ? inner : 2 * inner, plain))
    this.conv =
      d_conv > 1
        ? this.child(
            'conv2d',
            new Conv2d(inner, inner, d_conv, { padding: (d_conv - 1) >> 1, groups: inner, bias: conv_bias }),
          )
        : null
    this.outNorm = this.child('out_norm', new OutNormalization(type.outNorm, inner))
    this.outProj = this.child('out_proj', new Linear(inner, d_model, plain))
  }

  /** (B, H, W, d) -> (B, H, W, d) */
  forward(map: Tensor): Tensor {
    const { gate, outActivation, scan } = this.#type
    const inner = this.dInner
    const projected = this.inProj.forward(map)
    const [x, z] = gate === 'none' ? [projected, null] : split(projected, [inner, inner])
    const u = silu(this.conv ? this.conv.forward(x) : x)
    const merged = scan === 'cascade' ? this.#cascade(u) : this.scan(u)
    const normed = this.outNorm.forward(merged)
    const y = outActivation ? gelu(normed) : normed
    const gated = !z ? y : gate === 'silu' ? gatedActivation(z, y, 'silu') : mul(y, z)
    return this.outProj.forward(gated)
  }

  /**
   * Every row both ways, then every column of what comes out, a norm without parameters before each. As the official code
   * has it, what the way back gives stays in the order of its steps.
   */
  #cascade(u: Tensor): Tensor {
    const along = (map: Tensor, from: number): Tensor => {
      const [batch, height, width, inner] = map.shape
      const sequences = reshape(addLayerNorm(map, { eps: 1e-5 }).out, [batch * height, width, inner])
      const [forth, back] = [0, 1].map((k) => {
        const parameters = this.parametersFor(sequences, from + k, from + k + 1)
        const path = scanPath(k === 0 ? 'rows' : 'rowsBack', 1, width)
        return scan2d(sequences, parameters, path, { window: this.#window })
      })
      return reshape(add(forth, turned(back)), map.shape)
    }
    const exchanged = (map: Tensor) => permute(map, [0, 2, 1, 3])
    return exchanged(along(exchanged(along(u, 0)), 2))
  }
}

/** Every sequence of (B, L, E) from its end. */
function turned(sequences: Tensor): Tensor {
  const [batch, length, width] = sequences.shape
  const order = Int32Array.from({ length: batch * length }, (_, i) => i + length - 1 - 2 * (i % length))
  return embedding(
    reshape(sequences, [batch * length, width]),
    tensor(order, { shape: [batch, length], backend: sequences.backend }),
  )
}
