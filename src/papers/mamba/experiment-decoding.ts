// Part 3b: what a token costs. Mamba decodes from a state of constant size, a Transformer from a cache that grows; and
// Mamba reads a million bytes in chunks at constant speed and memory. Nothing is trained: time does not ask for sense.
import type { Measured, Part, UnitContext } from '../../experiments/experiment.js'
import { Decoder } from '../../models/decoding.js'
import { disposeCache } from '../../models/transformer-lm.js'
import { mambaOf, timeInvariantOf, transformerOf } from './experiment-models.js'

const size = { dModel: 128, nLayer: 4, vocabSize: 256 }
const parameters = mambaOf(size).parameterCount()
const transformer = { ...size, nLayer: 2, heads: 4, positions: 'rotary', parameters } as const
const stateSpace: Record<string, typeof mambaOf> = { mamba: mambaOf, lti: timeInvariantOf }

/** A text that has been read so far, and goes on by a token at a time. */
interface Reader {
  read(tokens: Int32Array): Promise<unknown>
  dispose(): void
}

async function measure(context: UnitContext): Promise<Measured> {
  const { sizes, data, progress } = context
  const book = await (await data('text-gutenberg')).read('melville-moby_dick.txt.gz')
  const tokens = (start: number, count: number) => Int32Array.from(book.subarray(start, start + count))
  const contexts = [sizes.shortest, sizes.middle, sizes.longest]
  const { open, parameterCount, dispose } = readers(context)

  // Decoding: one text of each context stands ready; rounds of some tokens of each in turn, so that what else the machine
  // does falls on all alike.
  const texts: Reader[] = []
  for (const length of contexts) {
    progress(`reading ${length} bytes`, 0.1)
    const text = open(length + sizes.rounds * sizes.tokens)
    for (let at = 0; at < length; at += 1024) await text.read(tokens(at, Math.min(1024, length - at)))
    texts.push(text)
  }
  const times: number[][] = contexts.map(() => [])
  for (let round = 0; round < sizes.rounds; round++) {
    progress(`decoding, round ${round + 1} of ${sizes.rounds}`, 0.2 + (0.4 * round) / sizes.rounds)
    for (const [c, text] of texts.entries()) {
      const laps: number[] = []
      for (let i = 0; i < sizes.tokens; i++) laps.push(await lap(() => text.read(tokens(contexts[c] + i, 1))))
      times[c].push(median(laps))
    }
  }
  for (const text of texts) text.dispose()
  const growth = times[2].map((time, round) => time / times[0][round])
  const perSecond = contexts.map((length, c) => [length, 1 / median(times[c])] as const)
  const decoding = {
    numbers: Object.fromEntries(perSecond.map(([length, rate]) => [`tokens/s at ${length}`, rate])),
    items: { growth },
    series: { milliseconds: perSecond.map(([length, rate]) => [length, 1000 / rate] as const) },
  }
  const reading = context.method in stateSpace ? await readLong(context, open, tokens) : null
  const measured = {
    numbers: { parameters: parameterCount, ...decoding.numbers, ...reading?.numbers },
    items: { ...decoding.items, ...reading?.items },
    series: decoding.series,
  }
  dispose()
  return measured
}

/**
 * Reads the whole text in equal chunks. In its last half a fresh reader takes the first chunk in turn, so that what
 * else the machine does falls on both alike.
 */
async function readLong(
  { sizes, backend, progress }: UnitContext,
  open: (room: number) => Reader,
  tokens: (start: number, count: number) => Int32Array,
) {
  const text = open(sizes.wholeText)
  const late: number[] = []
  const slowdown: number[] = []
  const memory: number[] = []
  for (let at = 0; at < sizes.wholeText; at += sizes.chunk) {
    progress(`reading ${sizes.wholeText} bytes`, 0.6 + (0.4 * at) / sizes.wholeText)
    const time = await lap(() => text.read(tokens(at, sizes.chunk)))
    memory.push(backend.memory().reserved)
    if (at < 0.5 * sizes.wholeText) continue
    const fresh = open(sizes.chunk)
    slowdown.push(time / (await lap(() => fresh.read(tokens(0, sizes.chunk)))))
    fresh.dispose()
    late.push(time)
  }
  text.dispose()
  const whole = memory.length
  return {
    numbers: {
      'bytes/s read': sizes.chunk / median(late),
      'late memory over early': memory[Math.floor(0.5 * whole)] / memory[Math.min(1, whole - 1)],
    },
    items: { slowdown },
  }
}

function readers({ method, backend, seed }: UnitContext) {
  if (method in stateSpace) {
    const model = stateSpace[method](size).initialize({ seed, backend })
    const open = (): Reader => {
      const decoder = new Decoder(model)
      return {
        read: (tokens) => (tokens.length === 1 ? decoder.step(tokens) : decoder.prefill(tokens)),
        dispose: () => decoder.dispose(),
      }
    }
    return { open, parameterCount: model.parameterCount(), dispose: () => model.dispose() }
  }
  const model = transformerOf(transformer).initialize({ seed, backend })
  const open = (room: number): Reader => {
    const cache = model.initialCache(1, room)
    return { read: (tokens) => model.advance(tokens, cache), dispose: () => disposeCache(cache) }
  }
  return { open, parameterCount: model.parameterCount(), dispose: () => model.dispose() }
}

async function lap(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  await work()
  return (performance.now() - started) / 1000
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]
}

export const decodingPart: Part = {
  name: 'decoding',
  title: 'Time per token by context',
  version: 4,
  timed: true,
  // Times do not depend on what the weights are.
  seeds: 1,
  data: ['text-gutenberg'],
  sizes: {
    quick: { shortest: 64, middle: 128, longest: 512, rounds: 3, tokens: 8, wholeText: 4096, chunk: 1024 },
    default: {
      shortest: 256,
      middle: 4096,
      longest: 16_384,
      rounds: 15,
      tokens: 33,
      wholeText: 2 ** 20,
      chunk: 2 ** 14,
    },
    full: { shortest: 256, middle: 4096, longest: 16_384, rounds: 15, tokens: 33, wholeText: 2 ** 20, chunk: 2 ** 14 },
  },
  methods: {
    mamba: { label: 'Mamba', tuned: {}, grid: [], seconds: 30 },
    lti: { label: 'time-invariant block', tuned: {}, grid: [], seconds: 30 },
    transformer: { label: 'Transformer with a cache', tuned: {}, grid: [], seconds: 10 },
  },
  standIns: { mamba: 'lti' },
  criteria: [
    {
      name: 'constant',
      statement: 'time per token of Mamba at context 16,384 over that at 256',
      metric: 'growth',
      statistic: 'median',
      method: 'mamba',
      better: 'lower',
      expected: 1.2,
      digits: 2,
    },
    {
      name: 'cache',
      statement: 'time per token of the Transformer at context 16,384 over that at 256',
      metric: 'growth',
      statistic: 'median',
      method: 'transformer',
      better: 'higher',
      expected: 1.2,
      digits: 2,
    },
    {
      name: 'reading',
      statement: 'time per byte of Mamba in the last half of 2^20 bytes over that in the first 2^14',
      metric: 'slowdown',
      statistic: 'median',
      method: 'mamba',
      better: 'lower',
      expected: 1.2,
      digits: 2,
    },
    {
      name: 'memory',
      statement: 'memory after half of 2^20 bytes over that after two chunks',
      metric: 'late memory over early',
      method: 'mamba',
      better: 'lower',
      expected: 1.05,
      digits: 2,
    },
  ],
  plots: [
    {
      name: 'time',
      title: 'Time per token',
      series: 'milliseconds',
      x: { label: 'context', log: true },
      y: { label: 'milliseconds a token', log: true },
    },
  ],
  measure,
}
