// What `bench load` times, in a process of its own, whose memory then tells what loading takes: `load FOLDER`, `map
// FOLDER` or `read FILE`. Prints one line of JSON.
import { open } from 'node:fs/promises'
import { openNative } from '../src/backend/native/index.js'
import { byteTokenizer } from '../src/data/tokenizer.js'
import { loadModel } from '../src/pipeline/load.node.js'
import { setDefaultBackend } from '../src/tensor/index.js'

export interface ChildResult {
  readonly seconds: number
  /** Until the first token after that; 0 for a plain read. */
  readonly firstToken: number
  /** Memory of the process before, and the most it had. */
  readonly bytesBefore: number
  readonly bytesMost: number
}

/** Reads a file from front to back, as fast as one reader can. */
async function readFile(path: string): Promise<null> {
  const handle = await open(path, 'r')
  const piece = new Uint8Array(4 << 20)
  for (let position = 0; ; ) {
    const { bytesRead } = await handle.read(piece, 0, piece.length, position)
    if (bytesRead === 0) break
    position += bytesRead
  }
  await handle.close()
  return null
}

const [what, path] = process.argv.slice(2)
const backend = openNative()
setDefaultBackend(backend)
// Weights alone are timed: a tokenizer that fits any vocabulary.
const tokenizer = { ...byteTokenizer, vocabSize: Number(process.argv[4]) }
const bytesBefore = process.memoryUsage.rss()
const started = performance.now()
const model =
  what === 'read' ? await readFile(path) : await loadModel(path, { backend, tokenizer, map: what === 'map' })
const seconds = (performance.now() - started) / 1000
// Every weight is used for a token, so that memory counts that is only mapped till then.
if (model) for await (const _ of model.generate('a', { maxTokens: 1, temperature: 0 }));
const firstToken = (performance.now() - started) / 1000 - seconds
const result: ChildResult = { seconds, firstToken, bytesBefore, bytesMost: 1024 * process.resourceUsage().maxRSS }
process.stdout.write(`${JSON.stringify(result)}\n`)
await backend.close()
