// llama.cpp as a peer, through node-llama-cpp: the same weights in GGUF, the same prompt, greedy tokens. It is installed on
// demand in a folder of its own, since its optional packages (CUDA, Vulkan) would weigh more than everything else together.
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { MambakitError } from '../src/errors.js'
import type { PeerFacts } from './report.js'

const peers = fileURLToPath(new URL('../../.peers', import.meta.url))
const install =
  'npm install --prefix .peers --ignore-scripts --omit=optional node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64@3.22.1'

/** What is used of node-llama-cpp. */
interface Library {
  getLlama(options: object): Promise<Llama>
  readonly LlamaLogLevel: { readonly error: unknown }
}
interface Llama {
  readonly systemInfo: string
  readonly llamaCppRelease: { readonly release: string }
  loadModel(options: object): Promise<{ createContext(options: object): Promise<{ getSequence(): Sequence }> }>
  dispose(): Promise<void>
}
interface Sequence {
  clearHistory(): Promise<void>
  controlledEvaluate(
    input: readonly unknown[],
  ): Promise<({ next: { token?: number; logits?: Map<number, number> } } | undefined)[]>
  evaluate(tokens: readonly number[], options: object): AsyncGenerator<number>
}

export class LlamaPeer {
  private constructor(
    private readonly llama: Llama,
    private readonly sequence: Sequence,
    readonly facts: PeerFacts,
  ) {}

  /** Loads a GGUF file. Throws a MambakitError that says how to install the peer where it is not there. */
  static async start(file: string, threads: number, longest: number, folder = peers): Promise<LlamaPeer> {
    const place = join(folder, 'node_modules/node-llama-cpp')
    if (!(await stat(place).catch(() => null)))
      throw new MambakitError(`--peer: node-llama-cpp is not installed; run \`${install}\` in the clone`)
    const { version } = JSON.parse(await readFile(join(place, 'package.json'), 'utf8'))
    const { getLlama, LlamaLogLevel }: Library = await import(pathToFileURL(join(place, 'dist/index.js')).href)
    const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error, maxThreads: threads })
    const model = await llama.loadModel({ modelPath: file })
    const context = await model.createContext({ contextSize: longest, batchSize: 512, sequences: 1, threads })
    const path = llama.systemInfo
      .split('|')
      .flatMap((part) => /(\w+) = 1/.exec(part)?.[1] ?? [])
      .join(' ')
    return new LlamaPeer(llama, context.getSequence(), {
      name: 'node-llama-cpp',
      version: `${version} (llama.cpp ${llama.llamaCppRelease.release})`,
      threads,
      path,
      expected: '221 tokens/s prefill, 34 decode (130M float32, 2 cores of Zen 4)',
    })
  }

  /** Reads tokens after what was read before, and returns the most likely next one: logits of the last position only. */
  async read(tokens: Int32Array): Promise<number> {
    const last = [tokens[tokens.length - 1], { generateNext: { token: true, options: { temperature: 0 } } }]
    const output = await this.sequence.controlledEvaluate([...tokens.subarray(0, -1), last])
    return output[tokens.length - 1]!.next.token!
  }

  /** The logits after tokens that follow what was read before. */
  async logits(tokens: Int32Array): Promise<Map<number, number>> {
    const last = [tokens[tokens.length - 1], { generateNext: { logits: true } }]
    const output = await this.sequence.controlledEvaluate([...tokens.subarray(0, -1), last])
    return output[tokens.length - 1]!.next.logits!
  }

  /** The most likely tokens after `token`, one by one. */
  write(token: number): AsyncGenerator<number> {
    return this.sequence.evaluate([token], { temperature: 0, yieldEogToken: true })
  }

  /** Forgets what was read. */
  clear(): Promise<void> {
    return this.sequence.clearHistory()
  }

  close(): Promise<void> {
    return this.llama.dispose()
  }
}
