// Units on disk: every training and timing is kept under a hash of all that decides it, so that an interrupted experiment
// goes on where it was and nothing is measured twice. Node only.
import { createHash } from 'node:crypto'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { replaceFile, writeAll } from '../hub/atomic.node.js'
import type { Measured, Settings } from './experiment.js'

/** Everything that decides what a unit measures. */
export interface UnitKey {
  readonly experiment: string
  readonly part: string
  /** Of the part's recipe. */
  readonly version: number
  readonly method: string
  readonly sizes: Settings
  readonly settings: Settings
  readonly seed: number
  /** sha256 of the files of its data sets, by 'set/file'. */
  readonly data: Readonly<Record<string, string>>
  /** Device and instruction set, where time is measured; trainings differ by rounding only and serve all devices. */
  readonly device?: string
}

export interface UnitRecord {
  readonly key: UnitKey
  readonly measured: Measured
  /** The device and its instruction set or adapter. */
  readonly device: string
  /** Seconds on the clock and of all processors, of the run that finished it. */
  readonly seconds: number
  readonly cpuSeconds: number
}

/** The same for equal keys, whatever the order of their fields. */
export function unitHash(key: UnitKey): string {
  return createHash('sha256').update(canonicalJson(key)).digest('hex').slice(0, 20)
}

function canonicalJson(value: unknown): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${entries.map(([name, inner]) => `${JSON.stringify(name)}:${canonicalJson(inner)}`).join(',')}}`
}

export class UnitStore {
  /** `folder`: runs/<slug>/units. */
  constructor(readonly folder: string) {}

  #file(key: UnitKey): string {
    return join(this.folder, `${unitHash(key)}.json`)
  }
  /** Where a unit under way keeps its checkpoints. */
  workFolder(key: UnitKey): string {
    return join(this.folder, unitHash(key))
  }
  /** A finished unit, or null. A file that was damaged counts as none. */
  async read(key: UnitKey): Promise<UnitRecord | null> {
    const text = await readFile(this.#file(key), 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null
      throw error
    })
    if (text === null) return null
    try {
      const record = JSON.parse(text) as UnitRecord
      return canonicalJson(record.key) === canonicalJson(key) && record.measured ? record : null
    } catch {
      return null
    }
  }
  /** Keeps a finished unit and drops its checkpoints. */
  async write(record: UnitRecord): Promise<void> {
    await mkdir(this.folder, { recursive: true })
    const bytes = new TextEncoder().encode(`${JSON.stringify(record)}\n`)
    await replaceFile(this.#file(record.key), (handle) => writeAll(handle, bytes))
    await rm(this.workFolder(record.key), { recursive: true, force: true })
  }
}
