// Search box, filters and order.
import { computed } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import type { PaperState } from '../../src/papers/state.js'
import { entries } from './data.js'
import { stateLabels } from './labels.js'
import { type Filters, filters, type Sort } from './route.js'

const sortLabels: Readonly<Record<Sort, string>> = { date: 'Newest first', name: 'By name', list: 'As in the list' }

interface Choice {
  readonly value: string
  readonly label: string
}

const domains = computed(() => counted(entries.value.flatMap(({ domain }) => domain.split(', '))))
const states = computed(() =>
  counted(entries.value.map(({ state = 'my list' }) => state)).map(({ value, label }) => ({
    value,
    label: label.replace(value, stateLabels[value as PaperState] ?? value),
  })),
)

/** Each value with how often it is there, by name. */
function counted(values: readonly string[]): Choice[] {
  const counts = new Map<string, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return [...counts].sort(([a], [b]) => a.localeCompare(b)).map(([value, n]) => ({ value, label: `${value} (${n})` }))
}

const change = (part: Partial<Filters>) => {
  filters.value = { ...filters.value, ...part }
}

export function Controls() {
  const box = useRef<HTMLInputElement>(null)
  useEffect(() => {
    const focusSearch = (event: KeyboardEvent) => {
      const typing = (event.target as Element | null)?.closest('input, select, textarea')
      if (event.key !== '/' || typing || event.ctrlKey || event.metaKey || event.altKey) return
      event.preventDefault()
      box.current?.focus()
    }
    addEventListener('keydown', focusSearch)
    return () => removeEventListener('keydown', focusSearch)
  }, [])
  const { query, domain, state, sort } = filters.value
  return (
    <search class="controls">
      <label class="query">
        <span>Search</span>
        <input
          ref={box}
          type="search"
          value={query}
          autocomplete="off"
          spellcheck={false}
          placeholder="Titles, ideas, authors"
          aria-keyshortcuts="/"
          onInput={({ currentTarget }) => change({ query: currentTarget.value })}
        />
      </label>
      <Select
        label="Domain"
        value={domain}
        all="All domains"
        choices={domains.value}
        onPick={(domain) => change({ domain })}
      />
      <Select
        label="State"
        value={state}
        all="All states"
        choices={states.value}
        onPick={(state) => change({ state })}
      />
      <Select
        label="Order"
        value={sort}
        choices={Object.entries(sortLabels).map(([value, label]) => ({
          value,
          // What a search finds comes best first where no other order is chosen.
          label: value === 'date' && query.trim() !== '' ? 'Best match first' : label,
        }))}
        onPick={(sort) => change({ sort: sort as Sort })}
      />
    </search>
  )
}

interface SelectProps {
  readonly label: string
  readonly value: string
  /** Names the choice of all; absent where one has to be chosen. */
  readonly all?: string
  readonly choices: readonly Choice[]
  onPick(value: string): void
}

function Select({ label, value, all, choices, onPick }: SelectProps) {
  return (
    <label>
      <span>{label}</span>
      <select value={value} onChange={({ currentTarget }) => onPick(currentTarget.value)}>
        {all && <option value="">{all}</option>}
        {choices.map((choice) => (
          <option key={choice.value} value={choice.value} selected={choice.value === value}>
            {choice.label}
          </option>
        ))}
      </select>
    </label>
  )
}
