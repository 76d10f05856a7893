// What there is to tell: papers, and what came of reproducing them, newest first. Feeds and digests are made of it.
import { byDate, type Entry } from './entry.js'
import type { Verdict } from './state.js'

/** What a feed or a digest tells: a paper, or what came of one. */
export interface News {
  /** Stays the same as long as it is the same news. */
  readonly key: string
  readonly title: string
  /** ISO day or month; null where it is not known. */
  readonly date: string | null
  readonly entry: Entry
  /** Present for a result. */
  readonly verdict?: Verdict
}

/** Papers and results, newest first. */
export function news(entries: readonly Entry[]): News[] {
  const all = entries.flatMap((entry): News[] => {
    const { id, title, date, result } = entry
    const paper = { key: `paper:${id}`, title, date, entry }
    if (!result) return [paper]
    const { verdict, commit } = result
    const name = title.split(':')[0]
    return [
      paper,
      {
        key: `result:${id}:${commit}:${verdict}`,
        title: `${name}: ${verdict}`,
        date: result.date ?? date,
        entry,
        verdict,
      },
    ]
  })
  return all.sort(byDate)
}

/** The address of an entry's page below a site. */
export const entryPath = (id: string) => `#/paper/${encodeURIComponent(id)}`

/** What the result of an entry says, in a sentence; empty where there is none. */
export function resultSentence({ result }: Entry): string {
  if (!result) return ''
  const { verdict, interval, command, seeds, criteria = [] } = result
  const failed = criteria.filter(({ state, decides }) => state === 'fails' && decides).map(({ name }) => name)
  const fails = failed.length > 0 ? ` What fails: ${failed.join('; ')}.` : ''
  const span = interval ? ` The advantage lies between ${interval[0]} and ${interval[1]} (95 % interval).` : ''
  return `Verdict: ${verdict}, from ${seeds.length === 1 ? 'one seed' : `${seeds.length} seeds`}.${fails}${span} Run it: ${command}`
}
