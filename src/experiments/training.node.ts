// A training inside a unit: checkpoints in the unit's folder, continued from the last one after an interruption. Node only.
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { RunFolder } from '../train/run-folder.node.js'
import { Trainer, type TrainingEvent, type TrainingTask } from '../train/trainer.js'
import type { Evaluation, TrainingCurve, UnitTraining } from './experiment.js'

export interface TrainingPlace {
  readonly folder: string
  readonly signal?: AbortSignal
  onStep(step: number, steps: number, loss: number): void
}

/** Trains to the end, or until `enough`. Throws an AbortError where interrupted, after saving a checkpoint. */
export async function trainInFolder<Batch>(
  task: TrainingTask<Batch>,
  { name, enough, halfway, ...options }: UnitTraining,
  { folder: unit, signal, onStep }: TrainingPlace,
): Promise<TrainingCurve> {
  const folder = name ? join(unit, name) : unit
  const halfwayFile = join(folder, 'halfway.json')
  const resume = ['last', '.last-new', '.last-old'].some((name) => existsSync(join(folder, name, 'trainer.json')))
  const store = await RunFolder.open(folder, { config: {}, settings: { ...options }, resume })
  const checkpointEvery = Math.max(1, Math.floor(options.steps / 20))
  const trainer = new Trainer(task, { checkpointEvery, ...options }, store)
  try {
    if (resume) await store.resume(trainer as never)
    const events = resume ? await readLog(folder) : []
    // An interruption measures once more before it saves; only the planned measurements count.
    const planned = ({ step }: Evaluation) =>
      step === options.steps || (options.evaluateEvery ? step % options.evaluateEvery === 0 : false)
    const evaluations = events.flatMap((event) => (event.type === 'evaluation' && planned(event) ? [event] : []))
    const losses = events.flatMap((event) => (event.type === 'step' ? [[event.step, event.loss] as const] : []))
    const gradientNorms = events.flatMap((event) => (event.type === 'step' ? [event.gradientNorm] : []))
    if (!enough?.(evaluations)) {
      for await (const event of trainer.run()) {
        if (signal?.aborted) trainer.stop()
        if (event.type === 'step') {
          losses.push([event.step, event.loss])
          gradientNorms.push(event.gradientNorm)
          onStep(event.step, options.steps, event.loss)
          // Before the checkpoint of this step, so that a run that resumes behind it finds the file.
          if (event.step === halfway?.step) await writeFile(halfwayFile, JSON.stringify(await halfway.measure()))
        } else if (event.type === 'evaluation' && planned(event)) {
          evaluations.push(event)
          if (enough?.(evaluations)) trainer.stop()
        }
      }
      // Whoever interrupts in the last step gets the result.
      if (trainer.step < options.steps && !enough?.(evaluations)) signal?.throwIfAborted()
    }
    const measured = existsSync(halfwayFile) ? JSON.parse(await readFile(halfwayFile, 'utf8')) : []
    return {
      losses,
      gradientNorms,
      evaluations: evaluations.map(({ step, measurements }): Evaluation => ({ step, measurements })),
      halfway: measured,
    }
  } finally {
    trainer.dispose()
  }
}

async function readLog(folder: string): Promise<TrainingEvent[]> {
  const text = await readFile(join(folder, 'metrics.jsonl'), 'utf8')
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
}
