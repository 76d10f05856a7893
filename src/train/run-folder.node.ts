// A run on disk: last/ (everything to continue), best/ (the model that measured best), metrics.jsonl. A checkpoint is
// written whole beside the old one and then takes its place, so that a kill at any moment leaves one that is whole.
import { appendFile, mkdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MambakitError } from '../errors.js'
import { loadModule, moduleToWrite, restoreTensors, tensorsToWrite } from '../hub/module-state.js'
import { openSafetensors, writeSafetensors } from '../hub/safetensors.node.js'
import { writeSmall } from '../hub/save.node.js'
import type { LossScaleState } from './loss-scale.js'
import type { RunStore, Trainer, TrainingEvent } from './trainer.js'

/** What trainer.json holds; written last, so a folder with it is whole. */
interface TrainerRecord {
  readonly format: 1
  readonly step: number
  readonly best: number | null
  readonly optimizerSteps: number
  /** In mixed precision. */
  readonly lossScale?: LossScaleState
  /** What must be the same for a resumed run to be the same run. */
  readonly settings: Readonly<Record<string, unknown>>
}

export class RunFolder implements RunStore {
  private constructor(
    readonly path: string,
    private readonly config: Readonly<Record<string, unknown>>,
    private readonly settings: Readonly<Record<string, unknown>>,
    private readonly files: Readonly<Record<string, string>>,
  ) {}

  /**
   * Prepares a folder for a new run, or for continuing one where `resume`. Throws where a new run would overwrite an old
   * one, or where there is nothing to continue.
   * @param config the model's config.json
   * @param files small files that go with the model, by name
   * @param settings options that decide what the run computes
   */
  static async open(
    path: string,
    options: {
      config: Record<string, unknown>
      files?: Readonly<Record<string, string>>
      settings: Record<string, unknown>
      resume: boolean
    },
  ): Promise<RunFolder> {
    const folder = new RunFolder(path, options.config, options.settings, options.files ?? {})
    const last = await folder.#recover()
    if (last && !options.resume)
      throw new MambakitError(`${path}: holds a run already; continue it with --resume, or choose another --out`)
    if (!last && options.resume)
      throw new MambakitError(`${path}: holds no checkpoint to resume; leave --resume out to start a run`)
    await mkdir(path, { recursive: true })
    if (!last) await writeFile(folder.#log, '')
    return folder
  }

  get #last(): string {
    return join(this.path, 'last')
  }
  get #log(): string {
    return join(this.path, 'metrics.jsonl')
  }

  /** Finishes what a killed save left undone. Returns whether there is a whole checkpoint. */
  async #recover(): Promise<boolean> {
    const fresh = join(this.path, '.last-new')
    const old = join(this.path, '.last-old')
    if (!(await isWhole(this.#last))) {
      const source = (await isWhole(fresh)) ? fresh : (await isWhole(old)) ? old : null
      if (!source) return false
      await rm(this.#last, { recursive: true, force: true })
      await rename(source, this.#last)
    }
    await rm(fresh, { recursive: true, force: true })
    await rm(old, { recursive: true, force: true })
    return true
  }

  /** Puts a trainer where the last checkpoint left it. The log is cut back to that step. */
  async resume(trainer: Trainer<never>): Promise<void> {
    const record = await readRecord(this.#last)
    for (const [name, value] of Object.entries(this.settings)) {
      const before = record.settings[name]
      if (JSON.stringify(before) !== JSON.stringify(value))
        throw new MambakitError(
          `${this.path}: the run was started with ${name} ${JSON.stringify(before)}; it cannot be resumed with ${JSON.stringify(value)}`,
        )
    }
    const { model } = trainer.task
    const [{ value }] = model.parameters()
    await withFile(join(this.#last, 'model.safetensors'), (reader) =>
      loadModule(model, reader, { backend: value.backend }),
    )
    await withFile(join(this.#last, 'optimizer.safetensors'), (reader) =>
      restoreTensors(trainer.optimizer.state(), reader),
    )
    const { average } = trainer
    if (average)
      await withFile(join(this.#last, 'average.safetensors'), (reader) => restoreTensors(average.state(), reader))
    trainer.step = record.step
    trainer.best = record.best ?? Number.POSITIVE_INFINITY
    trainer.optimizer.stepCount = record.optimizerSteps
    if (trainer.lossScale && record.lossScale) trainer.lossScale.state = record.lossScale
    await this.#cutLog(record.step)
  }

  /** Drops log lines of steps that the checkpoint does not hold, and a line that a kill cut short. */
  async #cutLog(step: number): Promise<void> {
    const text = await readFile(this.#log, 'utf8').catch(() => '')
    let kept = 0
    for (const line of text.split('\n').slice(0, -1)) {
      if ((JSON.parse(line) as TrainingEvent).step > step) break
      kept += Buffer.byteLength(line) + 1
    }
    if (kept > 0) await truncate(this.#log, kept)
    else await writeFile(this.#log, '')
  }

  async saveLast(trainer: Trainer<never>): Promise<void> {
    const fresh = join(this.path, '.last-new')
    const old = join(this.path, '.last-old')
    await rm(fresh, { recursive: true, force: true })
    await mkdir(fresh, { recursive: true })
    await this.#saveModel(fresh, trainer)
    await writeSafetensors(join(fresh, 'optimizer.safetensors'), tensorsToWrite(trainer.optimizer.state()))
    if (trainer.average)
      await writeSafetensors(join(fresh, 'average.safetensors'), tensorsToWrite(trainer.average.state()))
    const record: TrainerRecord = {
      format: 1,
      step: trainer.step,
      best: Number.isFinite(trainer.best) ? trainer.best : null,
      optimizerSteps: trainer.optimizer.stepCount,
      lossScale: trainer.lossScale?.state,
      settings: this.settings,
    }
    await writeJson(join(fresh, 'trainer.json'), record)
    await rm(old, { recursive: true, force: true })
    if (await exists(this.#last)) await rename(this.#last, old)
    await rename(fresh, this.#last)
    await rm(old, { recursive: true, force: true })
  }

  async saveBest(trainer: Trainer<never>, measurements: Record<string, number>): Promise<void> {
    const folder = join(this.path, 'best')
    await mkdir(folder, { recursive: true })
    await this.#saveModel(folder, trainer)
    await writeJson(join(folder, 'measurements.json'), { step: trainer.step, ...measurements })
  }

  async #saveModel(folder: string, trainer: Trainer<never>): Promise<void> {
    await writeJson(join(folder, 'config.json'), this.config)
    for (const [name, text] of Object.entries(this.files)) await writeSmall(join(folder, name), text)
    await writeSafetensors(join(folder, 'model.safetensors'), moduleToWrite(trainer.task.model), { format: 'pt' })
  }

  async log(event: TrainingEvent): Promise<void> {
    const line = `${JSON.stringify(event)}\n`
    await appendFile(this.#log, line)
  }
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  )
const isWhole = (folder: string): Promise<boolean> => exists(join(folder, 'trainer.json'))

async function writeJson(path: string, value: unknown): Promise<void> {
  await writeSmall(path, `${JSON.stringify(value, null, 2)}\n`)
}

async function readRecord(folder: string): Promise<TrainerRecord> {
  const path = join(folder, 'trainer.json')
  try {
    const record = JSON.parse(await readFile(path, 'utf8')) as TrainerRecord
    if (record.format !== 1 || !Number.isInteger(record.step)) throw new Error('unknown format')
    return record
  } catch (error) {
    throw new MambakitError(`${path}: expected a record of this version's trainer (${(error as Error).message})`)
  }
}

async function withFile(
  path: string,
  use: (reader: Awaited<ReturnType<typeof openSafetensors>>) => Promise<void>,
): Promise<void> {
  const reader = await openSafetensors(path)
  try {
    await use(reader)
  } finally {
    await reader.close()
  }
}
