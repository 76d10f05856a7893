// `mambakit bench images`: image models beside what their counted arithmetic would take at the rates that this machine's
// matrix products and register-only scan reach: reading an image of 224 x 224, and a training step on images of 32 x 32.
import os from 'node:os'
import { launch } from '../src/backend/kernels.js'
import type { NativeBackend } from '../src/backend/native/index.js'
import { MambakitError } from '../src/errors.js'
import { type Cost, countCost } from '../src/models/cost.js'
import type { ImageModelEntry, ImageModelShape } from '../src/models/image-catalogue.js'
import type { ImageClassifier } from '../src/models/image-classifier.js'
import { findImageModel, imageModelNames } from '../src/papers/image-models.js'
import {
  backward,
  crossEntropy,
  empty,
  noGrad,
  normal,
  randomIntegers,
  scope,
  withBackend,
} from '../src/tensor/index.js'
import { Trainer, type TrainingTask } from '../src/train/trainer.js'
import { Bench } from './devices.js'
import { type Contender, median, takeTurns } from './measure.js'
import { type BenchReport, type Section, type StepShare, stepShares } from './report.js'

export interface ImageBenchOptions {
  /** Tiny sizes, to see that it works. */
  readonly quick: boolean
  /** Names of image models. */
  readonly models: readonly string[]
  readonly onSection?: (title: string) => void
}

/** Images read in a turn, one after another: a processor that has just rested takes a few milliseconds to be itself. */
const imagesATurn = 4

/** Side of the matrices whose rate counts as the machine's. */
const gemmSide = 1024
/** The scan's backward is counted as two more forwards, as the backward of a matrix product is. */
const backwardScans = 2

interface Work {
  readonly title: string
  readonly shape: ImageModelShape
  readonly batch: number
  readonly training: boolean
}

export async function benchImages({ quick, models, onSection }: ImageBenchOptions): Promise<BenchReport> {
  const load = os.loadavg()[0]
  const entries = await Promise.all(models.map(async (name) => [name, await known(name)] as const))
  const bench = new Bench()
  const published = { classes: 1000, channels: 3, size: quick ? 32 : 224 }
  const works: readonly Work[] = [
    { title: `reading an image of ${published.size}`, shape: published, batch: 1, training: false },
    {
      title: 'a training step on images of 32',
      shape: { classes: 10, channels: 3, size: 32 },
      batch: quick ? 2 : 64,
      training: true,
    },
  ]
  try {
    const sections: Section[] = []
    for (const [name, entry] of entries)
      for (const work of works) {
        onSection?.(`${name}, ${work.title}`)
        sections.push(await benchWork(bench, name, entry, work, quick))
      }
    const cores = os.availableParallelism()
    const machine = { processor: os.cpus()[0]?.model.trim() ?? 'unknown', cores, load, node: process.version }
    return { command: 'bench images', quick, device: bench.backend.description, machine, sections }
  } finally {
    await bench.close()
  }
}

async function known(name: string): Promise<ImageModelEntry> {
  const entry = await findImageModel(name)
  if (entry) return entry
  throw new MambakitError(`no image model is called '${name}'; choose one of ${imageModelNames().join(', ')}`)
}

/** A training task on random images: only the time matters. */
function randomImages({ backend }: Bench, model: ImageClassifier, { shape, batch }: Work): TrainingTask<number> {
  const { size, channels, classes } = shape
  return {
    model,
    unit: 'images',
    unitsPerBatch: batch,
    batch: async (index) => index,
    loss: () =>
      crossEntropy(
        model.forward(normal([batch, size, size, channels], 0, 1, { backend })),
        randomIntegers([batch], 0, classes, { backend }),
      ),
    evaluate: async () => ({ loss: 0 }),
    observe() {},
  }
}

/** What the arithmetic of one turn counts up to. */
function countWork(model: ImageClassifier, { shape, batch, training }: Work): Cost {
  return countCost((backend) => {
    model.initialize({ backend }).train(training)
    const images = () => empty(backend, [batch, shape.size, shape.size, shape.channels])
    const targets = () => empty(backend, [batch], 'int32')
    const step = () =>
      training ? backward(crossEntropy(model.forward(images()), targets())) : void noGrad(() => model.forward(images()))
    withBackend(backend, () => scope(step))
    model.clearGradients()
  })
}

async function benchWork(
  bench: Bench,
  name: string,
  entry: ImageModelEntry,
  work: Work,
  quick: boolean,
): Promise<Section> {
  const model = await entry.build(work.shape)
  const cost = countWork(model, work)
  // Published operations count a multiply-add as one and a scan in full.
  const products = 2 * (cost.flops - cost.publishedFlops)
  const { backend } = bench
  model.initialize({ seed: 1, backend }).train(work.training)
  const turn = work.training ? trainingTurn(bench, model, work) : readingTurn(bench, model, work)
  const side = quick ? 128 : gemmSide
  const [a, b, out] = [0, 1, 2].map(() => bench.uniform([1, side, side]))
  const plain = { transposeA: 0, transposeB: 0, alpha: 1, accumulate: 0, activation: 0 }
  const scanned = quick ? 1e6 : 2e8
  const gemm = bench.contender('GEMM', 2, () => launch(backend, 'gemm', { a, b, out }, plain))
  const limit = bench.limit('scan', 'benchScanLimit', scanned)
  try {
    const taken = await takeTurns([gemm, limit, turn], quick ? 1 : 9)
    const updates = cost.stateUpdates * (work.training ? 1 + backwardScans : 1)
    const [gemms, scans, turns] = ['GEMM', 'scan', turn.name].map((name) => taken.get(name)!)
    // By round, since the rates of a machine change.
    const limits = gemms.map(
      (seconds, i) => products / ((2 * side ** 3) / seconds) + updates / ((scanned * backend.threads) / scans[i]),
    )
    const kernels = await sharesOf(backend, turn, work.training ? 1 : imagesATurn)
    return {
      title: `${name}, ${work.title}`,
      ratios: [
        {
          name: 'speed, of the limit',
          value: median(turns.map((seconds, i) => limits[i] / seconds)),
          unit: 'percent',
          goal: 'at least 50 %',
        },
      ],
      measurements: [
        { name: `${work.batch} images`, value: 1000 * median(turns), unit: 'ms' },
        { name: 'the limit', value: 1000 * median(limits), unit: 'ms' },
        { name: 'matrix products and convolutions', value: products / 1e9, unit: 'GFLOP' },
        { name: 'state updates', value: updates / 1e6, unit: 'M' },
        { name: `GEMM ${side}^3`, value: (2 * side ** 3) / median(gemms) / 1e9, unit: 'GFLOP/s' },
        { name: 'register-only scan', value: (scanned * backend.threads) / median(scans) / 1e9, unit: 'G updates/s' },
      ],
      peers: [],
      remarks: [],
      kernels,
    }
  } finally {
    bench.clear()
    model.dispose()
  }
}

function readingTurn({ backend }: Bench, model: ImageClassifier, { shape, batch }: Work): Contender {
  const images = normal([batch, shape.size, shape.size, shape.channels], 0, 1, { backend })
  return {
    name: 'read',
    async run() {
      const start = performance.now()
      for (let i = 0; i < imagesATurn; i++) {
        const logits = noGrad(() => scope(() => model.forward(images)))
        await logits.data()
        logits.dispose()
      }
      return (performance.now() - start) / 1000 / imagesATurn
    },
  }
}

function trainingTurn(bench: Bench, model: ImageClassifier, work: Work): Contender {
  const trainer = new Trainer(randomImages(bench, model, work), { steps: 1000, learningRate: 1e-5 })
  const events = trainer.run()
  return {
    name: 'train',
    async run() {
      const start = performance.now()
      await events.next()
      return (performance.now() - start) / 1000
    },
  }
}

/** The kernels of one turn of `steps`. */
async function sharesOf(backend: NativeBackend, turn: Contender, steps: number): Promise<StepShare[]> {
  let seconds = 0
  const times = await backend.profile(async () => {
    seconds = await turn.run()
  })
  return stepShares(times, steps, seconds)
}
