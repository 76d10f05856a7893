// Part 5: raw sound, one token a sample. SaShiMi's causal U-Net with Mamba blocks beside the same with the time-invariant
// block (section 4.4 of the paper, with spoken digits).
import { encodeMuLaw } from '../../data/mu-law.js'
import { tokensInMemory } from '../../data/text.js'
import { readWav } from '../../data/wav.js'
import { readZip } from '../../data/zip.js'
import type { Measured, Part, UnitContext } from '../../experiments/experiment.js'
import { AudioUNet } from '../../models/audio-unet.js'
import { TimeInvariantMixer } from '../../ssm/time-invariant.js'
import { LanguageModeling, windowBits } from '../../tasks/language-modeling.js'

const size = { dModel: 32, pool: [4, 4], blocks: 2 }
const models: Record<string, () => AudioUNet> = {
  mamba: () => new AudioUNet(size),
  lti: () => new AudioUNet(size, (mixer) => new TimeInvariantMixer(mixer)),
}

async function measure({
  method,
  sizes,
  settings,
  seed,
  backend,
  data,
  train,
  progress,
}: UnitContext): Promise<Measured> {
  // The data: takes 0 to 4 are the official test, take 5 tunes, the rest trains.
  const clips = readZip('fsdd-1200.zip', await (await data('fsdd')).read('fsdd-1200.zip'), (path) =>
    /\.wav$/.test(path),
  )
  const takes = (first: number, last: number) => {
    const chosen = [...clips].filter(([path]) => {
      const take = Number(/_(\d+)\.wav$/.exec(path)?.[1])
      return take >= first && take <= last
    })
    const levels = chosen.map(([path, bytes]) => encodeMuLaw(readWav(path, bytes).samples))
    return tokensInMemory(`takes ${first} to ${last}`, joined(levels), 256)
  }
  const text = { train: takes(6, 19), heldOut: takes(5, 5) }

  // The model, and its training.
  const model = models[method]().initialize({ seed, backend })
  const windows = { length: sizes.length, batch: sizes.batch, seed }
  await train(new LanguageModeling(model, text, { ...windows, evaluationTokens: 16 * sizes.length }), {
    steps: sizes.steps,
    schedule: 'cosine',
    learningRate: settings.learningRate,
    warmup: Math.floor(sizes.steps / 10),
    finalRate: 0.01,
    betas: [0.9, 0.95],
    weightDecay: 0.1,
    clipNorm: 1,
    seed,
  })

  // The measurements: bits per sample of each window of the test.
  progress('scoring', 0.97)
  const bits = await windowBits(model, takes(0, 4), { ...windows, evaluationTokens: sizes.testWindows * sizes.length })
  const measured = {
    numbers: {
      parameters: model.parameterCount(),
      'bits per sample': bits.reduce((sum, value) => sum + value, 0) / bits.length,
    },
    items: { bits },
    series: {},
  }
  model.dispose()
  return measured
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

const tuned = { learningRate: 2e-3 }

export const audioPart: Part = {
  name: 'audio',
  title: 'Raw sound',
  version: 1,
  only: ['quick', 'full'],
  data: ['fsdd'],
  sizes: {
    quick: { length: 256, batch: 2, steps: 3, testWindows: 8 },
    default: { length: 4096, batch: 8, steps: 300, testWindows: 256 },
    full: { length: 4096, batch: 8, steps: 300, testWindows: 256 },
  },
  methods: {
    mamba: { label: 'U-Net of Mamba blocks', tuned, grid: [], seconds: 100 },
    lti: { label: 'U-Net of time-invariant blocks', tuned, grid: [], seconds: 95 },
  },
  standIns: { mamba: 'lti' },
  criteria: [
    {
      name: 'lti',
      statement: 'Mamba over the time-invariant block',
      metric: 'bits',
      method: 'mamba',
      minus: 'lti',
      better: 'lower',
      expected: 0,
      failure: 0.02,
      unit: 'bits per sample',
      digits: 4,
    },
  ],
  plots: [],
  measure,
}
