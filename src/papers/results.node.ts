// The committed results of the papers' experiments: one JSON file a paper in the package's results folder. Node only.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Paper } from './index.js'
import { type PaperResult, parseResult } from './state.js'

/** results/ of the package; this file lies in dist/src/papers. */
export const resultsFolder = fileURLToPath(new URL('../../../results', import.meta.url))

/** The result of a paper, or null if there is none yet. Throws a MambakitError where the file is not a result. */
export async function readResult(paper: Paper, folder = resultsFolder): Promise<PaperResult | null> {
  const file = join(folder, `${paper.slug}.json`)
  let json: string
  try {
    json = await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
  return parseResult(json, file)
}
