// The list: search box, filters, and the papers that they leave, grouped by day.
import { computed, effect, signal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { byDate, byTitle, type Entry } from '../../src/papers/entry.js'
import { Controls } from './Controls.js'
import { entries, index } from './data.js'
import { dateLabel } from './labels.js'
import { Row } from './Row.js'
import { filters, noFilters } from './route.js'

/** Rows are drawn in pages, smaller ones while searching, so that a keystroke draws little however many match. */
const pageSize = { browsing: 40, searching: 6 }
const pages = signal(1)
/** Where the reader was when a paper was opened. */
let left = 0

const found = computed<readonly Entry[]>(() => {
  const { query, domain, state, sort } = filters.value
  const searching = query.trim() !== ''
  const all = entries.value
  const matches = searching ? (index.value?.search(query) ?? []).map((number) => all[number]) : all
  const kept = matches.filter(
    (entry) =>
      (domain === '' || entry.domain.split(', ').includes(domain)) &&
      (state === '' || (entry.state ?? 'my list') === state),
  )
  if (sort === 'name') return [...kept].sort(byTitle)
  // A search is shown best first; the list's order is the order in which entries come.
  return sort === 'date' && !searching ? [...kept].sort(byDate) : kept
})

effect(() => {
  filters.value
  pages.value = 1
})

export function PaperList() {
  useEffect(() => {
    scrollTo(0, left)
    const remember = () => {
      left = scrollY
    }
    addEventListener('scroll', remember, { passive: true })
    return () => removeEventListener('scroll', remember)
  }, [])
  const all = found.value
  const { query, sort } = filters.value
  const searching = query.trim() !== ''
  const shown = all.slice(0, pages.value * (searching ? pageSize.searching : pageSize.browsing))
  const grouped = sort === 'date' && !searching
  const waiting = searching && index.value === null
  return (
    <>
      <h1 class="title">Mamba papers</h1>
      <Controls />
      <p class="count" role="status">
        {waiting ? 'Reading the papers…' : countLabel(all.length, entries.value.length)}
      </p>
      {grouped ? <Days entries={shown} /> : <Rows entries={shown} look={searching ? 'alone found' : 'alone'} />}
      {all.length === 0 && entries.value.length > 0 && !waiting && (
        <p class="empty">
          No paper matches.{' '}
          <button type="button" class="plain" onClick={() => (filters.value = noFilters)}>
            Show all papers
          </button>
        </p>
      )}
      {shown.length < all.length && <More />}
    </>
  )
}

function countLabel(found: number, all: number): string {
  if (all === 0) return ''
  const papers = all === 1 ? 'paper' : 'papers'
  return found === all ? `${all} ${papers}` : `${found} of ${all} ${papers}`
}

function Days({ entries }: { entries: readonly Entry[] }) {
  const days: { label: string; date: string | null; entries: Entry[] }[] = []
  for (const entry of entries) {
    const label = dateLabel(entry.date)
    if (days.at(-1)?.label !== label) days.push({ label, date: entry.date, entries: [] })
    days.at(-1)!.entries.push(entry)
  }
  return (
    <>
      {days.map(({ label, date, entries }) => (
        <section class="day" key={label}>
          <h2>{date ? <time dateTime={date}>{label}</time> : label}</h2>
          <Rows entries={entries} look="dated" />
        </section>
      ))}
    </>
  )
}

function Rows({ entries, look }: { entries: readonly Entry[]; look: 'dated' | 'alone' | 'alone found' }) {
  return (
    <ul class={`rows ${look}`}>
      {entries.map((entry) => (
        <Row key={entry.id} entry={entry} dated={look === 'dated'} />
      ))}
    </ul>
  )
}

/** Draws the next page when it comes into view; the button is for who does not scroll. */
function More() {
  const button = useRef<HTMLButtonElement>(null)
  const more = () => {
    pages.value++
  }
  useEffect(() => {
    const watch = new IntersectionObserver((seen) => seen.some(({ isIntersecting }) => isIntersecting) && more(), {
      rootMargin: '600px',
    })
    watch.observe(button.current!)
    return () => watch.disconnect()
  }, [pages.value])
  return (
    <button type="button" class="more" ref={button} onClick={more}>
      Show more papers
    </button>
  )
}
