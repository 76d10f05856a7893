import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openNative } from '../backend/native/index.js'
import { mambaDefaults } from '../models/mamba-config.js'
import { MambaLM } from '../models/mamba-lm.js'
import { inductionHeads } from '../tasks/recall.js'
import { RecallTraining } from '../tasks/recall-training.js'
import type { Criterion, Experiment, Measured, Part, UnitContext } from './experiment.js'
import { type RunOptions, runExperiment, runSweep } from './runner.node.js'
import { unitHash } from './units.node.js'

const folder = mkdtempSync(join(tmpdir(), 'mambakit-experiment-'))
const backend = openNative({ threads: 1 })
after(async () => {
  rmSync(folder, { recursive: true })
  await backend.close()
})
let folders = 0
const options = (more: Partial<RunOptions> = {}): RunOptions => ({
  backend,
  scale: 'full',
  seeds: [0, 1, 2],
  folder: join(folder, `${folders++}`),
  ...more,
})

/** Scores of 50 items about `level`, with noise that the seed decides. */
function scores(level: number, seed: number): number[] {
  return Array.from({ length: 50 }, (_, i) => level + 0.1 * Math.sin(31 * seed + 7 * i))
}

const criterion: Criterion = {
  name: 'gain',
  statement: 'new over old',
  metric: 'score',
  method: 'new',
  minus: 'old',
  better: 'higher',
  expected: 0.2,
}

/** A part that measures at once: the new method is better by `gain`. `asked` lists the units it was asked for. */
function partOf(gain: number, asked: string[] = [], more: Partial<Part> = {}): Part {
  const size = { trials: 1 }
  return {
    name: 'part',
    title: 'Part',
    version: 1,
    sizes: { quick: size, default: size, full: size },
    methods: {
      new: { label: 'new', tuned: { rate: 2 }, grid: [{ rate: 1 }, { rate: 2 }], seconds: 1 },
      old: { label: 'old', tuned: { rate: 1 }, grid: [{ rate: 1 }, { rate: 2 }], seconds: 1 },
    },
    standIns: { new: 'old' },
    tuneBy: { number: 'tuning', better: 'higher' },
    criteria: [criterion],
    plots: [],
    async measure({ method, seed, settings }): Promise<Measured> {
      asked.push(`${method} ${seed}`)
      const items = { score: method === 'new' ? scores(gain, seed + 50) : scores(0, seed) }
      return { numbers: { tuning: settings.rate + (method === 'new' ? gain : 0) }, items, series: {} }
    },
    ...more,
  }
}
const experimentOf = (...parts: Part[]): Experiment => ({
  slug: 'some-paper',
  claim: 'New is better.',
  headline: 'part/gain',
  notes: [],
  parts,
})

test('mIoU adds the counts of all items up before it divides, and is compared on the same items', async () => {
  // By seed and item, of two classes: the new method tells everything right, the old one half of class 1 in large items.
  const right = [
    [5, 0, 0, 5],
    [40, 0, 0, 60],
  ]
  const half = [
    [5, 0, 0, 5],
    [40, 0, 30, 30],
  ]
  const miou = { ...criterion, metric: 'confusion', statistic: 'mIoU', expected: 0.1 } as const
  const counted: Partial<Part> = {
    criteria: [miou, { ...miou, name: 'own', minus: undefined, expected: 0.9, decides: false }],
    measure: async ({ method }) => ({
      ...{ numbers: {}, items: {}, series: {} },
      counts: { confusion: method === 'new' ? right : half },
    }),
  }
  const { parts } = await runExperiment(experimentOf(partOf(0, [], counted)), options({ seeds: [0] }))
  const [gain, own] = parts[0].criteria
  // Class 0: 45 of 75; class 1: 35 of 65.
  const old = (45 / 75 + 35 / 65) / 2
  assert.ok(Math.abs(gain.interval.mean - (1 - old)) < 1e-12)
  assert.deepEqual(gain.perSeed, [1 - old])
  // A resample may hold the small item alone, where both are right.
  assert.equal(gain.interval.low, 0)
  assert.equal(own.interval.mean, 1)
  const none: Partial<Part> = { criteria: [{ ...miou, metric: 'other' }], measure: counted.measure }
  await assert.rejects(
    runExperiment(experimentOf(partOf(0, [], none)), options()),
    /criterion gain: expected 'new' to count 'other', it did not/,
  )
})

test('a clear advantage is reproduced, a clear lack of it is not, and what lies between is undecided', async () => {
  const verdict = async (gain: number) => (await runExperiment(experimentOf(partOf(gain)), options())).verdict
  assert.equal(await verdict(0.5), 'reproduced')
  assert.equal(await verdict(0.05), 'not reproduced')
  assert.equal(await verdict(0.2), 'undecided')
})

test('a baseline in the method’s place is trained anew and never reproduces the claim', async () => {
  const asked: string[] = []
  const outcome = await runExperiment(experimentOf(partOf(0.5, asked)), options({ null: true }))
  assert.equal(outcome.verdict, 'not reproduced')
  assert.deepEqual(asked.sort(), ['old 0', 'old 1', 'old 1000', 'old 1001', 'old 1002', 'old 2'])
})

test('quick runs decide nothing', async () => {
  assert.equal((await runExperiment(experimentOf(partOf(0.5)), options({ scale: 'quick' }))).verdict, 'smoke')
})

test('what was measured is not measured again, by whatever order of fields it is asked for', async () => {
  const asked: string[] = []
  const given = options()
  const first = await runExperiment(experimentOf(partOf(0.5, asked)), given)
  assert.equal(asked.length, 6)
  const second = await runExperiment(experimentOf(partOf(0.5, asked)), given)
  assert.equal(asked.length, 6)
  assert.deepEqual(second.parts[0].criteria[0].interval, first.parts[0].criteria[0].interval)
  const key = first.parts[0].methods[0].units[0].key
  assert.equal(unitHash(Object.fromEntries(Object.entries(key).reverse()) as never), unitHash(key))
})

test('another version, size, setting or seed is another unit, and a damaged file counts as none', async () => {
  const asked: string[] = []
  const given = { ...options(), seeds: [0] }
  const count = async (part: Part, more: Partial<RunOptions> = {}) => {
    asked.length = 0
    await runExperiment(experimentOf(part), { ...given, ...more })
    return asked.length
  }
  assert.equal(await count(partOf(0.5, asked)), 2)
  assert.equal(await count(partOf(0.5, asked, { version: 2 })), 2)
  const size = { trials: 2 }
  assert.equal(await count(partOf(0.5, asked, { sizes: { quick: size, default: size, full: size } })), 2)
  assert.equal(await count(partOf(0.5, asked), { seeds: [0, 7] }), 2)
  const units = join(given.folder, 'units')
  for (const file of readdirSync(units)) writeFileSync(join(units, file), '{"key":')
  assert.equal(await count(partOf(0.5, asked)), 2)
})

test('a run that is stopped between units goes on with what is missing', async () => {
  const asked: string[] = []
  const controller = new AbortController()
  const part = partOf(0.5, asked)
  const stopping: Part = {
    ...part,
    measure: async (context) => {
      if (asked.length === 2) controller.abort()
      return part.measure(context)
    },
  }
  const given = options()
  await assert.rejects(runExperiment(experimentOf(stopping), { ...given, signal: controller.signal }), {
    name: 'AbortError',
  })
  assert.equal(asked.length, 3)
  const outcome = await runExperiment(experimentOf(part), given)
  assert.equal(asked.length, 6)
  assert.equal(outcome.verdict, 'reproduced')
})

test('a training that is cut off in the middle continues from its checkpoint and ends with the same numbers', async () => {
  const steps: number[] = []
  let controller = new AbortController()
  const config = { ...mambaDefaults, dModel: 16, nLayer: 1, vocabSize: 8 }
  const part = partOf(0, [], {
    methods: { new: { label: 'new', tuned: {}, grid: [], seconds: 1 } },
    standIns: {},
    criteria: [],
    async measure({ train, seed }: UnitContext): Promise<Measured> {
      const model = new MambaLM(config).initialize({ seed, backend })
      const task = inductionHeads({ seed, vocabSize: 8, length: 12 })
      const curve = await train(new RecallTraining(model, task, { batch: 2, checkSequences: 4 }), {
        steps: 40,
        learningRate: 1e-3,
        evaluateEvery: 8,
        halfway: { step: 20, measure: async () => [steps.length] },
        seed,
      })
      const [weights] = model.parameters()
      const first = Array.from(await weights.value.data())
      model.dispose()
      return {
        numbers: {},
        items: {
          first,
          losses: curve.losses.map(([, loss]) => loss),
          checks: curve.evaluations.map(({ step }) => step),
        },
        series: {},
      }
    },
  })
  const run = (given: RunOptions, stopAt = Number.POSITIVE_INFINITY) => {
    steps.length = 0
    controller = new AbortController()
    return runExperiment(experimentOf(part), {
      ...given,
      seeds: [0],
      signal: controller.signal,
      onProgress: ({ what }) => {
        const step = /^step (\d+)/.exec(what)?.[1]
        if (step === undefined) return
        steps.push(Number(step))
        if (Number(step) >= stopAt) controller.abort()
      },
    })
  }
  const whole = await run(options())
  assert.equal(steps.length, 40)
  const given = options()
  await assert.rejects(run(given, 13), { name: 'AbortError' })
  await assert.rejects(run(given, 27), { name: 'AbortError' })
  assert.ok(steps[0] >= 13 && steps[0] <= 15, `went on at step ${steps[0]}`)
  const resumed = await run(given)
  assert.ok(steps[0] >= 27 && steps.length <= 14, `went on at step ${steps[0]}`)
  const itemsOf = (outcome: Awaited<ReturnType<typeof run>>) => outcome.parts[0].methods[0].units[0].measured.items
  assert.deepEqual(itemsOf(resumed), itemsOf(whole))
  assert.deepEqual(itemsOf(resumed).checks, [8, 16, 24, 32, 40])
  assert.deepEqual(
    readdirSync(join(given.folder, 'units')).filter((name) => !name.endsWith('.json')),
    [],
  )
})

test('a comparison takes the seeds that both methods have', async () => {
  const part = partOf(0.5)
  const limited = { ...part, methods: { ...part.methods, old: { ...part.methods.old, seeds: 1 } } }
  const outcome = await runExperiment(experimentOf(limited), options())
  assert.equal(outcome.parts[0].criteria[0].perSeed.length, 1)
})

test('the sweep gives every method the same tries and says which was best and which is used', async () => {
  const rows = await runSweep(experimentOf(partOf(0.5)), options())
  assert.deepEqual(
    rows.map(({ method, settings, value, best, tuned }) => [method.label, settings.rate, value, best, tuned]),
    [
      ['new', 1, 1.5, false, false],
      ['new', 2, 2.5, true, true],
      ['old', 1, 1, false, true],
      ['old', 2, 2, true, false],
    ],
  )
})

test('errors name the part, the method and the metric', async () => {
  const part = partOf(0.5)
  await assert.rejects(
    runExperiment(experimentOf(part), options({ parts: ['other'] })),
    /some-paper: expected a part among part at this scale, got 'other'/,
  )
  const wrong = { ...part, criteria: [{ ...criterion, metric: 'speed' }] }
  await assert.rejects(
    runExperiment(experimentOf(wrong), options()),
    /criterion gain: expected 'new' to measure 'speed', it did not/,
  )
})
