// `mambakit bench lm`: reading a prompt and writing tokens with a language model of random weights, beside what memory and
// arithmetic allow, and beside llama.cpp on the same weights.
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import { join } from 'node:path'
import { MambakitError } from '../src/errors.js'
import { writeGguf } from '../src/hub/gguf.node.js'
import { byteVocabulary, ggufMetadata, ggufTensors } from '../src/hub/gguf-mamba.js'
import { languageModels } from '../src/models/catalogue.js'
import { countCost } from '../src/models/cost.js'
import { Decoder } from '../src/models/decoding.js'
import type { MambaLMConfig } from '../src/models/mamba-config.js'
import { MambaLM } from '../src/models/mamba-lm.js'
import { mostLikely } from '../src/models/sampling.js'
import { empty, noGrad, scope, slice } from '../src/tensor/index.js'
import { Bench } from './devices.js'
import { LlamaPeer } from './llama.js'
import { type Contender, median, medianOf, type Rounds, ratio, takeTurns } from './measure.js'
import type { BenchReport, Measurement, PeerFacts, Ratio, Section } from './report.js'

export interface LanguageModelBenchOptions {
  /** A preset. */
  readonly model: string
  /** Tokens of the long context. */
  readonly context: number
  /** Compare with llama.cpp. */
  readonly peer: boolean
  /** Tiny sizes, to see that it works. */
  readonly quick: boolean
  /** Told which part begins. */
  readonly onSection?: (title: string) => void
}

/** Tokens of the prompt; tokens written a turn; rounds. */
interface Sizes {
  readonly prompt: number
  readonly written: number
  readonly rounds: number
}

/** Any spread of ids does; weights are random. */
const tokens = (count: number, vocabulary: number) =>
  Int32Array.from({ length: count }, (_, i) => (i * 7919 + 13) % vocabulary)

const seconds = async (run: () => Promise<unknown>): Promise<number> => {
  const start = performance.now()
  await run()
  return (performance.now() - start) / 1000
}

export async function benchLanguageModel(options: LanguageModelBenchOptions): Promise<BenchReport> {
  const { model: name, peer: withPeer, quick, onSection } = options
  const preset = languageModels[name]
  if (!preset)
    throw new MambakitError(`no model is called '${name}'; choose one of ${Object.keys(languageModels).join(', ')}`)
  const load = os.loadavg()[0]
  const sizes = quick ? { prompt: 64, written: 8, rounds: 2 } : { prompt: 512, written: 24, rounds: 7 }
  const bench = new Bench()
  const { backend } = bench
  onSection?.(`random weights of ${name}`)
  const model = new MambaLM(preset.config).initialize({ seed: 1, backend }).eval()
  const peer = withPeer ? await startPeer(model, name, backend.threads, 4 * sizes.prompt) : null
  try {
    const sections: Section[] = []
    if (peer) {
      onSection?.('logits of both')
      sections.push(await compareLogits(model, peer, sizes))
    }
    onSection?.('reading and writing')
    sections.push(...(await readAndWrite(bench, model, name, peer, sizes)))
    onSection?.(`reading ${options.context.toLocaleString('en')} tokens, to write after them`)
    sections.push(await writeAfterLong(model, options.context, sizes))
    const cores = os.availableParallelism()
    const machine = { processor: os.cpus()[0]?.model.trim() ?? 'unknown', cores, load, node: process.version }
    return { command: 'bench lm', quick, device: backend.description, machine, sections }
  } finally {
    await peer?.close()
    model.dispose()
    await bench.close()
  }
}

/** Writes the weights as GGUF and loads them; the file is gone as soon as it is loaded. */
async function startPeer(model: MambaLM, name: string, threads: number, longest: number): Promise<LlamaPeer> {
  const folder = await mkdtemp(join(os.tmpdir(), 'mambakit-bench-'))
  const file = join(folder, 'model.gguf')
  try {
    const vocabulary = byteVocabulary(model.config.vocabSize)
    await writeGguf(file, ggufTensors(model, 'F32'), ggufMetadata(model, name, 'F32', vocabulary))
    return await LlamaPeer.start(file, threads, longest)
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** The largest difference of logits, as a share of their spread. */
async function compareLogits(model: MambaLM, peer: LlamaPeer, { prompt }: Sizes): Promise<Section> {
  const ids = tokens(prompt, model.config.vocabSize)
  const decoder = new Decoder(model)
  const ours = await decoder.prefill(ids)
  decoder.dispose()
  await peer.clear()
  const theirs = await peer.logits(ids)
  let [worst, least, most] = [0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (const [token, logit] of theirs) {
    worst = Math.max(worst, Math.abs(logit - ours[token]))
    least = Math.min(least, logit)
    most = Math.max(most, logit)
  }
  const measurements = [
    { name: `largest difference after ${prompt} tokens`, value: worst / (most - least), unit: 'of the spread' },
  ]
  return { title: 'logits', ratios: [], measurements, peers: [peer.facts], remarks: [] }
}

/** Reading a prompt and writing tokens, in turn with the peer and with reading memory. */
async function readAndWrite(
  bench: Bench,
  model: MambaLM,
  name: string,
  peer: LlamaPeer | null,
  sizes: Sizes,
): Promise<Section[]> {
  const { prompt, written, rounds } = sizes
  const ids = tokens(prompt, model.config.vocabSize)
  const { backend } = bench
  const decoder = new Decoder(model)
  let next = 0
  const count = sizes.rounds > 2 ? 1 << 26 : 1 << 20
  const [sum, memory] = [bench.empty([1]), bench.uniform([count])]
  const perToken = weightBytes(model.config, model.parameterCount())
  const peakWork = sizes.rounds > 2 ? 2e10 : 1e7
  const contenders: Contender[] = [
    { name: 'read', run: () => seconds(async () => (next = mostLikely(await decoder.prefill(ids)))) },
    bench.limit('peak', 'benchGemmPeak', peakWork),
    {
      name: 'write',
      async run() {
        await decoder.step(Int32Array.of(next))
        return seconds(async () => {
          for (let i = 0; i < written; i++) next = mostLikely(await decoder.step(Int32Array.of(next)))
        })
      },
    },
    // As many bytes as a turn of writing, so that both meet what else goes on in the machine.
    bench.contender('memory', Math.ceil((perToken * written) / (4 * count)), () =>
      backend.enqueueLimit('benchMemoryRead', [sum, memory], []),
    ),
    ...(peer ? peerContenders(peer, ids, written) : []),
  ]
  const taken = await takeTurns(contenders, rounds)
  decoder.dispose()
  bench.clear()
  const { flops } = countCost((meta) => {
    const shape = new MambaLM(model.config).initialize({ backend: meta })
    noGrad(() =>
      scope(() => {
        const { hidden } = shape.hidden(empty(meta, [1, prompt], 'int32'))
        shape.logits(slice(hidden, 1, prompt - 1, prompt))
      }),
    )
  })
  const peers: readonly PeerFacts[] = []
  const remarks = peer ? [] : ['--peer measures llama.cpp on the same weights beside it']
  const rate = (contender: string, tokens: number): Measurement => ({
    name: contender,
    value: tokens / medianOf(taken, contender),
    unit: 'tokens/s',
  })
  const share = (per: number) => ratio(taken, 'memory', 'write') * per
  return [
    {
      title: `read ${prompt} tokens, ${name}`,
      ratios: [
        ...times(taken, peer, 'peer read', 'read', 'at least 3.5'),
        {
          name: 'arithmetic of the peak',
          value: (ratio(taken, 'peak', 'read') * flops) / (peakWork * backend.threads),
          unit: 'percent',
        },
      ],
      measurements: [rate('read', prompt), ...(peer ? [rate('peer read', prompt)] : [])],
      peers,
      remarks,
    },
    {
      title: `write, ${name}`,
      ratios: [
        ...times(taken, peer, 'peer write', 'write'),
        {
          name: 'weights read a second, of the memory read rate',
          value: share((perToken * written) / (4 * count)),
          unit: 'percent',
          goal: 'at least 80 %',
        },
      ],
      measurements: [
        rate('write', written),
        ...(peer ? [rate('peer write', written)] : []),
        { name: 'weights read a token', value: perToken / 1e6, unit: 'MB' },
        { name: 'weights read a second', value: (perToken * written) / medianOf(taken, 'write') / 1e9, unit: 'GB/s' },
        { name: 'memory read rate', value: (4 * count) / medianOf(taken, 'memory') / 1e9, unit: 'GB/s' },
      ],
      peers,
      remarks: sizes.rounds > 2 ? [] : ['sizes of --quick say nothing about speed'],
    },
  ]
}

function peerContenders(peer: LlamaPeer, ids: Int32Array, written: number): Contender[] {
  let next = 0
  return [
    {
      name: 'peer read',
      async run() {
        await peer.clear()
        return seconds(async () => (next = await peer.read(ids)))
      },
    },
    {
      name: 'peer write',
      async run() {
        const writing = peer.write(next)
        await writing.next()
        const taken = await seconds(async () => {
          for (let i = 0; i < written; i++) await writing.next()
        })
        await writing.return(undefined)
        return taken
      },
    },
  ]
}

/** How many times as fast as the peer, where there is one. */
const times = (taken: Rounds, peer: LlamaPeer | null, theirs: string, ours: string, goal?: string): Ratio[] =>
  peer ? [{ name: 'speed of llama.cpp', value: ratio(taken, theirs, ours), unit: 'times', goal }] : []

/** Bytes of weights that a token reads: all of them, but of an embedding that is not the head too only one row. */
function weightBytes({ tieEmbeddings, vocabSize, dModel }: MambaLMConfig, parameters: number): number {
  return 4 * (parameters - (tieEmbeddings ? 0 : vocabSize * dModel))
}

/** Time per token after a long context beside that after a short one: the state is as large, so the time is the same. */
async function writeAfterLong(model: MambaLM, context: number, { written, rounds }: Sizes): Promise<Section> {
  const short = 100
  const decoders = new Map([
    ['short', new Decoder(model)],
    ['long', new Decoder(model)],
  ])
  const reading = await seconds(() => decoders.get('long')!.prefill(tokens(context, model.config.vocabSize)))
  await decoders.get('short')!.prefill(tokens(short, model.config.vocabSize))
  const contenders = [...decoders].map(([name, decoder]) => ({
    name,
    run: () =>
      seconds(async () => {
        for (let i = 0; i < written; i++) await decoder.step(Int32Array.of(i))
      }),
  }))
  const taken = await takeTurns(contenders, rounds)
  for (const decoder of decoders.values()) decoder.dispose()
  const perToken = (name: string) => (1000 * median(taken.get(name)!)) / written
  return {
    title: `write after ${context.toLocaleString('en')} tokens`,
    ratios: [
      {
        name: `time per token, of that after ${short}`,
        value: ratio(taken, 'long', 'short'),
        unit: 'times',
        goal: '0.95 to 1.05',
      },
    ],
    measurements: [
      { name: `a token after ${context}`, value: perToken('long'), unit: 'ms' },
      { name: `a token after ${short}`, value: perToken('short'), unit: 'ms' },
      { name: `reading ${context} tokens`, value: context / reading, unit: 'tokens/s' },
    ],
    peers: [],
    remarks: ['the long context was read by prefill, in pieces of 1,024 tokens'],
  }
}
