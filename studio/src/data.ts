// What the page knows: the entries, what the server behind it offers, and the index that is searched.
import { signal } from '@preact/signals'
import type { Entry } from '../../src/papers/entry.js'
import { SearchIndex } from '../../src/papers/search.js'

/** What studio.json says; a static site offers nothing but its files. */
export interface Server {
  /** True where `mambakit studio` serves the page. */
  readonly live: boolean
  /** Whether mail can be subscribed to. */
  readonly subscribe: boolean
}

export const entries = signal<readonly Entry[]>([])
export const server = signal<Server>({ live: false, subscribe: false })
export const failure = signal('')
/** The index, once all entries are in it. */
export const index = signal<SearchIndex | null>(null)

/** Fetches everything. A failure is shown, not thrown. */
export async function load(): Promise<void> {
  try {
    const [list, offers] = await Promise.all([
      fetchJson('./papers.json') as Promise<readonly Entry[]>,
      fetchJson('./studio.json') as Promise<Server>,
    ])
    server.value = offers
    entries.value = list
    index.value = await buildIndex(list)
    await warmUp(index.value)
  } catch (error) {
    failure.value = `The papers could not be loaded (${(error as Error).message}). Reload the page to try again.`
  }
}

async function fetchJson(address: string): Promise<unknown> {
  const answer = await fetch(address)
  if (answer.ok) return answer.json()
  const problem = await answer.text()
  throw new Error(problem !== '' && problem.length < 300 ? problem : `${address}: ${answer.status}`)
}

/** Builds in slices, so that the page answers meanwhile. */
async function buildIndex(list: readonly Entry[]): Promise<SearchIndex> {
  const built = new SearchIndex()
  let slice = performance.now()
  for (const entry of list) {
    built.add(entry)
    if (performance.now() - slice < 8) continue
    await new Promise((next) => setTimeout(next))
    slice = performance.now()
  }
  return built
}

/** Has the engine compile the search before one types: compiled it is five times as fast. */
async function warmUp(built: SearchIndex): Promise<void> {
  for (let round = 0; round < 8; round++)
    for (const query of ['m', 's', 'st', 'mamab', 'selectiev scan', 'a b']) {
      built.search(query)
      await new Promise((next) => setTimeout(next))
    }
}
