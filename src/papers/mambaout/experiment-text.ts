// Part 2: a long, autoregressive task, where the hypothesis wants a state-space model: characters of Shakespeare. The block
// without one sees 13 characters back over four layers.
import { tokenRange, tokensInMemory } from '../../data/text.js'
import type { Measured, Part, UnitContext } from '../../experiments/experiment.js'
import { gatedCnnEps } from '../../models/gated-cnn.js'
import type { LanguageModel } from '../../models/language-model.js'
import { Embedding, imageLinear, initializers, LayerNorm, Linear, Module } from '../../nn/index.js'
import { DepthwiseConvParameters } from '../../ssm/mamba.js'
import { MapScan } from '../../ssm/ss2d.js'
import { LanguageModeling, windowBits } from '../../tasks/language-modeling.js'
import {
  add,
  causalConv1d,
  concat,
  gatedActivation,
  linearCrossEntropy,
  reshape,
  scope,
  silu,
  split,
  type Tensor,
} from '../../tensor/index.js'

const vocabSize = 256
const states = 8
const convWidth = 4
const layers = 4

/** The gated convolution block over time, with a causal convolution and, where `scanned`, a selective scan behind it. */
class CausalBlock extends Module {
  readonly #norm: LayerNorm
  readonly #fc1: Linear
  readonly #conv: DepthwiseConvParameters
  readonly #scan: MapScan | null
  readonly #fc2: Linear
  readonly #parts: readonly [gate: number, identity: number, convolved: number]
  constructor(width: number, scanned: boolean) {
    super()
    const hidden = Math.trunc((8 / 3) * width)
    this.#parts = [hidden, hidden - width, width]
    this.#norm = this.child('norm', new LayerNorm(width, gatedCnnEps))
    this.#fc1 = this.child('fc1', imageLinear(width, 2 * hidden))
    this.#conv = this.child('conv', new DepthwiseConvParameters(width, convWidth, true))
    const scan = { channels: width, states, rank: Math.ceil(width / 16), pattern: 'rows' } as const
    this.#scan = scanned ? this.child('ssm', new MapScan(scan)) : null
    this.#fc2 = this.child('fc2', imageLinear(hidden, width))
  }
  /** (B, L, d) -> (B, L, d) */
  forward(input: Tensor): Tensor {
    const [batch, length] = input.shape
    const [gate, identity, convolved] = split(this.#fc1.forward(this.#norm.forward(input)), this.#parts)
    const past = causalConv1d(convolved, this.#conv.weight.value, { bias: this.#conv.bias?.value }).out
    const row = (x: Tensor) => reshape(x, [batch, 1, length, this.#parts[2]])
    const mixed = this.#scan ? reshape(this.#scan.scan(row(silu(past))), past.shape) : past
    return add(input, this.#fc2.forward(gatedActivation(gate, concat([identity, mixed], -1), 'gelu')))
  }
}

class CausalGatedCnn extends Module implements LanguageModel {
  readonly #embedding: Embedding
  readonly #blocks: readonly CausalBlock[]
  readonly #norm: LayerNorm
  readonly head: Linear
  constructor(width: number, scanned: boolean) {
    super()
    this.#embedding = this.child('embedding', new Embedding(vocabSize, width, initializers.imageNormal))
    this.#blocks = this.childList(
      'blocks',
      Array.from({ length: layers }, () => new CausalBlock(width, scanned)),
    )
    this.#norm = this.child('norm', new LayerNorm(width, gatedCnnEps))
    this.head = this.child(
      'head',
      new Linear(width, vocabSize, { bias: false, weightInitializer: initializers.imageNormal }),
    )
  }
  hidden(ids: Tensor, { observe }: { observe?: (layer: string, output: Tensor) => void } = {}): { hidden: Tensor } {
    let x = this.#embedding.forward(ids)
    this.#blocks.forEach((block, i) => {
      x = scope(() => block.forward(x))
      observe?.(`blocks.${i}`, x)
    })
    return { hidden: this.#norm.forward(x) }
  }
  logits(hidden: Tensor): Tensor {
    return this.head.forward(hidden)
  }
  loss(ids: Tensor, targets: Tensor): Tensor {
    return linearCrossEntropy(this.hidden(ids).hidden, this.head.weight.value, targets)
  }
}

/** The width without scans that comes nearest to the parameters with them. */
const scannedWidth = 96
const scannedParameters = new CausalGatedCnn(scannedWidth, true).parameterCount()
const plainWidth = Array.from({ length: 32 }, (_, i) => scannedWidth + i).reduce((best, width) => {
  const distance = (w: number) => Math.abs(new CausalGatedCnn(w, false).parameterCount() - scannedParameters)
  return distance(width) < distance(best) ? width : best
}, scannedWidth)

const models = {
  scanned: () => new CausalGatedCnn(scannedWidth, true),
  mambaout: () => new CausalGatedCnn(plainWidth, false),
}
const learningRates = [{ learningRate: 1e-3 }, { learningRate: 2e-3 }, { learningRate: 4e-3 }]

async function measure(context: UnitContext): Promise<Measured> {
  const { method, sizes, settings, seed, backend, data, train, progress } = context
  // The data: the first 90 % to train on, the last 10 % to score, less a piece to tune by.
  const text = await (await data('text-tinyshakespeare')).read('input.txt.gz')
  const whole = tokensInMemory('input.txt', text, vocabSize)
  const [scoredFrom, tunedFrom] = [Math.floor(0.9 * whole.length), Math.floor(0.97 * whole.length)]
  const scored = tokenRange(whole, scoredFrom, Math.min(tunedFrom, scoredFrom + sizes.scoredBytes))
  const texts = { train: tokenRange(whole, 0, scoredFrom), heldOut: tokenRange(whole, tunedFrom, whole.length) }

  // The model, and its training: the same batches for every method of a seed.
  const model = models[method as keyof typeof models]().initialize({ seed, backend })
  const windows = { length: sizes.length, batch: 8, seed, evaluationTokens: 16_384 }
  const curve = await train(new LanguageModeling(model, texts, windows), {
    steps: sizes.steps,
    schedule: 'cosine',
    learningRate: settings.learningRate,
    warmup: Math.floor(sizes.steps / 10),
    weightDecay: 0.05,
    clipNorm: 5,
    evaluateEvery: Math.ceil(sizes.steps / 5),
    seed,
  })

  // The measurements: bits per character of each window of the scored text.
  progress('scoring', 0.97)
  const bits = await windowBits(model, scored, { length: sizes.length, batch: 8 })
  const checks = curve.evaluations.map(({ step, measurements }) => [step, measurements['bits per token']] as const)
  const measured = {
    numbers: { parameters: model.parameterCount(), 'tuning bits': checks[checks.length - 1][1] },
    items: { bits },
    series: { bits: checks },
  }
  model.dispose()
  return measured
}

export const textPart: Part = {
  name: 'text',
  title: 'Characters of Shakespeare',
  version: 1,
  data: ['text-tinyshakespeare'],
  sizes: {
    quick: { length: 64, steps: 10, scoredBytes: 2048 },
    default: { length: 512, steps: 1500, scoredBytes: 78_000 },
    full: { length: 512, steps: 1500, scoredBytes: 78_000 },
    sweep: { length: 512, steps: 300, scoredBytes: 4096 },
  },
  methods: {
    scanned: { label: 'with a selective scan', tuned: { learningRate: 2e-3 }, grid: learningRates, seconds: 110 },
    mambaout: { label: 'gated convolutions alone', tuned: { learningRate: 4e-3 }, grid: learningRates, seconds: 90 },
  },
  standIns: { scanned: 'mambaout' },
  tuneBy: { number: 'tuning bits', better: 'lower' },
  criteria: [
    {
      name: 'scan',
      statement: 'bits per character with a scan over those without',
      metric: 'bits',
      method: 'scanned',
      minus: 'mambaout',
      better: 'lower',
      expected: -0.05,
      failure: 0,
      unit: 'bits per character',
      digits: 4,
    },
  ],
  plots: [
    {
      name: 'bits',
      title: 'Bits per character of held-out text during training',
      series: 'bits',
      x: { label: 'step' },
      y: { label: 'bits per character' },
    },
  ],
  measure,
}
