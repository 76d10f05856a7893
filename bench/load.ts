// `mambakit bench load`: how fast a checkpoint comes from disk into a model beside a plain read of its file, and how much
// memory that takes. Each turn is a process of its own.
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { openNative } from '../src/backend/native/index.js'
import { byteTokenizer } from '../src/data/tokenizer.js'
import { languageModels } from '../src/models/catalogue.js'
import { MambaLM } from '../src/models/mamba-lm.js'
import { LanguageModel } from '../src/pipeline/language-model.js'
import { saveModel } from '../src/pipeline/save.node.js'
import type { ChildResult } from './load-child.js'
import { type Contender, median, medianOf, ratio, takeTurns } from './measure.js'
import type { BenchReport, Section } from './report.js'

export interface LoadBenchOptions {
  /** A tiny model, to see that it works. */
  readonly quick: boolean
  readonly onSection?: (title: string) => void
}

const child = fileURLToPath(new URL('./load-child.js', import.meta.url))

/** Makes the next read come from the disk. False where that is not allowed. */
async function dropCaches(): Promise<boolean> {
  try {
    await writeFile('/proc/sys/vm/drop_caches', '1')
    return true
  } catch {
    return false
  }
}

export async function benchLoad({ quick, onSection }: LoadBenchOptions): Promise<BenchReport> {
  const load = os.loadavg()[0]
  const name = quick ? 'mamba-tiny' : 'mamba-130m'
  const backend = openNative()
  const folder = await mkdtemp(join(os.tmpdir(), 'mambakit-bench-load-'))
  try {
    onSection?.(`loading ${name}`)
    const model = new MambaLM(languageModels[name].config).initialize({ seed: 1, backend })
    const { bytes } = await saveModel(new LanguageModel(model, byteTokenizer), join(folder, 'model'), {
      layout: 'huggingface',
    })
    model.dispose()
    const section = await benchFolder(join(folder, 'model'), { name, bytes, rows: model.config.vocabSize, quick })
    const cores = os.availableParallelism()
    const machine = { processor: os.cpus()[0]?.model.trim() ?? 'unknown', cores, load, node: process.version }
    return { command: 'bench load', quick, device: backend.description, machine, sections: [section] }
  } finally {
    await backend.close()
    await rm(folder, { recursive: true, force: true })
  }
}

async function benchFolder(
  folder: string,
  { name, bytes, rows, quick }: { name: string; bytes: number; rows: number; quick: boolean },
): Promise<Section> {
  let cold = false
  const growth: Record<string, number[]> = { load: [], map: [] }
  const firstTokens: Record<string, number[]> = { load: [], map: [] }
  const run = async (what: string, path: string): Promise<ChildResult> => {
    cold = await dropCaches()
    const { stdout } = await promisify(execFile)(process.execPath, [child, what, path, `${rows}`])
    return JSON.parse(stdout)
  }
  const load = (what: 'load' | 'map'): Contender => ({
    name: what,
    run: async () => {
      const { seconds, firstToken, bytesBefore, bytesMost } = await run(what, folder)
      firstTokens[what].push(firstToken)
      growth[what].push((bytesMost - bytesBefore) / bytes)
      return seconds
    },
  })
  const read: Contender = {
    name: 'read',
    run: async () => (await run('read', join(folder, 'model.safetensors'))).seconds,
  }
  const taken = await takeTurns([read, load('load'), load('map')], quick ? 1 : 5)
  const from = cold ? 'from the disk' : 'from the cache of the system, which may not be dropped here'
  return {
    title: `load of ${name}`,
    ratios: (['load', 'map'] as const).flatMap((what) => [
      {
        name: `${what}, of the rate of a plain read`,
        value: ratio(taken, 'read', what),
        unit: 'percent',
        goal: 'at least 50 %',
      },
      {
        name: `${what}, memory with a token, of the weights`,
        value: median(growth[what]),
        unit: 'times',
        goal: 'at most 1.1',
      },
    ]),
    measurements: [
      ...(['load', 'map'] as const).flatMap((what) => [
        { name: what, value: medianOf(taken, what), unit: 's' },
        { name: `${what}, first token after it`, value: median(firstTokens[what]), unit: 's' },
      ]),
      { name: 'plain read of the file', value: bytes / medianOf(taken, 'read') / 1e9, unit: 'GB/s' },
    ],
    peers: [],
    remarks: [`${(bytes / 1e6).toFixed(0)} MB of safetensors, read ${from}`],
  }
}
