// Where the reader is, kept in the address behind the hash, so that every place has a permanent address on any file host.
//   #/                               the list
//   #/?q=graph&domain=vision         the list, filtered
//   #/paper/graph-mamba              a paper
import { effect, signal } from '@preact/signals'

export const sorts = ['date', 'name', 'list'] as const
export type Sort = (typeof sorts)[number]

export interface Filters {
  readonly query: string
  /** Empty for all. */
  readonly domain: string
  readonly state: string
  readonly sort: Sort
}

export type Place = { readonly page: 'list' } | { readonly page: 'paper'; readonly id: string }

export const noFilters: Filters = { query: '', domain: '', state: '', sort: 'date' }

export const place = signal<Place>({ page: 'list' })
export const filters = signal<Filters>(noFilters)

/** The address of the list under `chosen` filters. */
export function listAddress(chosen: Filters): string {
  const { query, domain, state, sort } = chosen
  const pairs = Object.entries({ q: query, domain, state, sort: sort === 'date' ? '' : sort })
  const search = new URLSearchParams(pairs.filter(([, value]) => value !== '')).toString()
  return `#/${search && `?${search}`}`
}

function readAddress(): void {
  const [path, search = ''] = location.hash.replace(/^#/, '').split('?')
  const paper = /^\/paper\/([^/]+)$/.exec(path)
  if (paper) {
    place.value = { page: 'paper', id: decoded(paper[1]) }
    return
  }
  const chosen = new URLSearchParams(search)
  const sort = sorts.find((name) => name === chosen.get('sort')) ?? 'date'
  filters.value = {
    query: chosen.get('q') ?? '',
    domain: chosen.get('domain') ?? '',
    state: chosen.get('state') ?? '',
    sort,
  }
  place.value = { page: 'list' }
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

readAddress()
addEventListener('hashchange', readAddress)

// Filters go into the address after a pause: browsers limit how often it may change.
let pause: ReturnType<typeof setTimeout> | undefined
effect(() => {
  const address = listAddress(filters.value)
  clearTimeout(pause)
  pause = setTimeout(() => {
    if (place.peek().page === 'list' && location.hash !== address && (location.hash || '#/') !== address)
      history.replaceState(history.state, '', address)
  }, 250)
})
