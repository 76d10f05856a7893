// Measuring side by side: contenders take turns, so that what disturbs the machine meets them all; medians are reported.
import type { NativeBackend } from '../src/backend/native/index.js'
import type { DeviceBuffer } from '../src/backend/types.js'

/** Something to time: one run of it, and what it took in seconds. */
export interface Contender {
  readonly name: string
  run(): Promise<number>
}

/** The seconds of each contender, by round. */
export type Rounds = ReadonlyMap<string, readonly number[]>

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** Threads of a peer wait for more work by spinning; this is how long they are given to fall asleep. */
const settleMs = 30

const pause = (ms: number) => new Promise((done) => setTimeout(done, ms))

/** A contender that repeats for about as long a turn as any other: a rested processor is slow at first, and would be so for the whole of a short turn. `run` gives the mean seconds of `calls` calls. */
export async function forAbout(ms: number, name: string, run: (calls: number) => Promise<number>): Promise<Contender> {
  let calls = 1
  while ((await run(calls)) * calls * 1000 < ms) calls *= 2
  return { name, run: () => run(calls) }
}

/** Runs all contenders once to warm up, then `rounds` times in turn. */
export async function takeTurns(contenders: readonly Contender[], rounds: number): Promise<Rounds> {
  const taken = new Map<string, number[]>(contenders.map(({ name }) => [name, []]))
  for (let round = -1; round < rounds; round++)
    for (const { name, run } of contenders) {
      await pause(settleMs)
      const seconds = await run()
      if (round >= 0) taken.get(name)!.push(seconds)
    }
  return taken
}

/** Median over the rounds of a's seconds divided by b's. */
export function ratio(rounds: Rounds, a: string, b: string): number {
  const below = rounds.get(b)!
  return median(rounds.get(a)!.map((seconds, i) => seconds / below[i]))
}

export const medianOf = (rounds: Rounds, name: string): number => median(rounds.get(name)!)

/** Seconds of `calls` times `enqueue`, by the clock of the host, the queue being empty before and after. */
export async function timeOn(backend: NativeBackend, probe: DeviceBuffer, calls: number, enqueue: () => void) {
  await backend.download(probe, 0, 4)
  const start = performance.now()
  for (let i = 0; i < calls; i++) enqueue()
  await backend.download(probe, 0, 4)
  return (performance.now() - start) / 1000 / calls
}
