// A training run as a whole: the same seed gives the same bits for any number of threads, an interrupted run continues as
// if it had not been, and numbers that stop being finite are located without harming the weights.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openNative } from '../backend/native/index.js'
import type { Backend } from '../backend/types.js'
import { blobSource } from '../data/bytes.js'
import { splitHeldOut, textTokens } from '../data/text.js'
import { mambaDefaults } from '../models/mamba-config.js'
import { MambaLM } from '../models/mamba-lm.js'
import type { MambaMixer } from '../ssm/mamba.js'
import { LanguageModeling } from '../tasks/language-modeling.js'
import { full, keep } from '../tensor/index.js'
import { RunFolder } from './run-folder.node.js'
import { NonFiniteError, type Precision, Trainer, type TrainingEvent } from './trainer.js'

const folder = mkdtempSync(join(tmpdir(), 'mambakit-train-'))
after(() => rmSync(folder, { recursive: true }))

const config = { ...mambaDefaults, dModel: 24, nLayer: 2, vocabSize: 256, layout: 'state-spaces' as const }
const prose = Array.from(
  { length: 400 },
  (_, i) => `Line ${i} of a text whose words ${(i * 7919) % 97} repeat.\n`,
).join('')

async function makeTrainer(
  backend: Backend,
  run: string | null,
  options: { resume?: boolean; averageDecay?: number; precision?: Precision } = {},
) {
  const text = splitHeldOut(await textTokens([blobSource('prose.txt', new Blob([prose]))]))
  const model = new MambaLM(config).initialize({ seed: 7, backend })
  const task = new LanguageModeling(model, text, { length: 48, batch: 3, seed: 7, evaluationTokens: 500 })
  const trainerOptions = {
    steps: 8,
    learningRate: 0.01,
    warmup: 2,
    accumulation: 2,
    seed: 7,
    checkpointEvery: 3,
    averageDecay: options.averageDecay,
    precision: options.precision,
  }
  const store = run
    ? await RunFolder.open(join(folder, run), { config: {}, settings: { steps: 8 }, resume: options.resume ?? false })
    : null
  const trainer = new Trainer(task, trainerOptions, store)
  if (options.resume) await store!.resume(trainer as never)
  return trainer
}

async function finish(trainer: Trainer<never>, until = Number.POSITIVE_INFINITY): Promise<TrainingEvent[]> {
  const events: TrainingEvent[] = []
  for await (const event of trainer.run()) {
    events.push(event)
    if (event.type === 'checkpoint' && event.step >= until) break
  }
  return events
}

async function fingerprint(trainer: { task: { model: MambaLM } } | Trainer<never>): Promise<string> {
  const hash = createHash('sha256')
  for (const [name, { value }] of trainer.task.model.namedParameters()) hash.update(name).update(await value.bytes())
  return hash.digest('hex')
}
const losses = (events: readonly TrainingEvent[]) =>
  events.flatMap((event) => (event.type === 'step' ? [event.loss] : []))

test('two runs with one seed are bit-equal, with one thread and with two', async () => {
  const results = []
  for (const threads of [1, 2, 2]) {
    const backend = openNative({ threads })
    const trainer = (await makeTrainer(backend, null)) as Trainer<never>
    const events = await finish(trainer)
    results.push({ losses: losses(events), weights: await fingerprint(trainer) })
    await backend.close()
  }
  assert.equal(results[0].losses.length, 8)
  assert.ok(results[0].losses[7] < results[0].losses[0])
  assert.deepEqual(results[1], results[0])
  assert.deepEqual(results[2], results[0])
})

test('a run that ended after a checkpoint continues bit-equal, its average and its log too', async () => {
  const backend = openNative({ threads: 2 })
  const averageDecay = 0.9
  const whole = (await makeTrainer(backend, 'whole', { averageDecay })) as Trainer<never>
  await finish(whole)
  const first = (await makeTrainer(backend, 'parts', { averageDecay })) as Trainer<never>
  await finish(first, 3)
  const second = (await makeTrainer(backend, 'parts', { averageDecay, resume: true })) as Trainer<never>
  assert.equal(second.step, 3)
  await finish(second)
  assert.equal(await fingerprint(second), await fingerprint(whole))
  const stored = (run: string, file: string) => readFileSync(join(folder, run, file))
  for (const file of [
    'last/model.safetensors',
    'last/optimizer.safetensors',
    'last/average.safetensors',
    'best/model.safetensors',
  ])
    assert.ok(stored('parts', file).equals(stored('whole', file)), `${file} differs`)
  const steps = (run: string) =>
    stored(run, 'metrics.jsonl')
      .toString()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
      .filter(({ type }) => type === 'step')
      .map(({ step, loss }) => [step, loss])
  assert.deepEqual(steps('parts'), steps('whole'))
  await backend.close()
})

test('a new run does not overwrite an old one, and there must be one to resume', async () => {
  const backend = openNative({ threads: 1 })
  await assert.rejects(makeTrainer(backend, 'whole'), /holds a run already; continue it with --resume/)
  await assert.rejects(makeTrainer(backend, 'nothing', { resume: true }), /holds no checkpoint to resume/)
  await backend.close()
})

test('settings that would change a resumed run are refused by name', async () => {
  const settings = { steps: 9 }
  const backend = openNative({ threads: 1 })
  const store = await RunFolder.open(join(folder, 'whole'), { config: {}, settings, resume: true })
  const trainer = (await makeTrainer(backend, null)) as Trainer<never>
  await assert.rejects(store.resume(trainer), /was started with steps 8; it cannot be resumed with 9/)
  await backend.close()
})

test('a loss that is not finite names step and layer and leaves the weights as they were', async () => {
  const backend = openNative({ threads: 2 })
  const trainer = (await makeTrainer(backend, null)) as Trainer<never>
  const model = trainer.task.model as MambaLM
  const broken = (model.backbone.layers[1].mixer as MambaMixer).D
  broken.value = keep(full([broken.shape[0]], Number.NaN, { backend }))
  const before = await fingerprint(trainer)
  await assert.rejects(finish(trainer), (error: unknown) => {
    assert.ok(error instanceof NonFiniteError)
    assert.equal(error.step, 1)
    assert.equal(error.layer, 'backbone.layers.1')
    assert.match(error.message, /the loss is not finite at step 1, first in backbone.layers.1/)
    return true
  })
  assert.equal(await fingerprint(trainer), before)
  await backend.close()
})

test('mixed precision learns as float32 does, skips steps that overflow, and resumes with its loss scale', async () => {
  const backend = openNative()
  const runs: number[][] = []
  for (const precision of ['f32', 'mixed'] as const) {
    const trainer = (await makeTrainer(backend, null, { precision })) as Trainer<never>
    runs.push(losses(await finish(trainer)))
  }
  runs[0].forEach((loss, i) => {
    assert.ok(
      Math.abs(runs[1][i] - loss) < 0.01 * loss,
      `step ${i + 1}: ${runs[1][i]} in mixed precision, ${loss} in f32`,
    )
  })
  const trainer = (await makeTrainer(backend, 'mixed', { precision: 'mixed' })) as Trainer<never>
  trainer.lossScale!.state = { value: 2 ** 40, goodSteps: 5 }
  const weights = await fingerprint(trainer)
  const steps = trainer.run()
  const { value: first } = await steps.next()
  assert.ok(first?.type === 'step' && first.skipped && first.lossScale === 2 ** 40, JSON.stringify(first))
  assert.equal(await fingerprint(trainer), weights)
  assert.equal(trainer.optimizer.stepCount, 0)
  assert.deepEqual(trainer.lossScale!.state, { value: 2 ** 39, goodSteps: 0 })
  for await (const event of steps) if (event.type === 'checkpoint') break
  const resumed = (await makeTrainer(backend, 'mixed', { precision: 'mixed', resume: true })) as Trainer<never>
  assert.deepEqual(resumed.lossScale!.state, trainer.lossScale!.state)
  await backend.close()
})
