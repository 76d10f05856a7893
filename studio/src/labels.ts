// How states and dates are written on the page.
import type { PaperState } from '../../src/papers/state.js'

export const stateLabels: Readonly<Record<PaperState, string>> = {
  planned: 'planned',
  implemented: 'runs here',
  reproduced: 'reproduced',
  'not reproduced': 'not reproduced',
  undecided: 'undecided',
}

const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'long', year: 'numeric', timeZone: 'UTC' })
const month = new Intl.DateTimeFormat('en-GB', { month: 'long', year: 'numeric', timeZone: 'UTC' })

/** "8 June 2024", "October 2024" where the day is not known. */
export function dateLabel(date: string | null): string {
  if (date === null) return 'No date'
  return date.length === 7 ? month.format(new Date(`${date}-01T00:00:00Z`)) : day.format(new Date(`${date}T00:00:00Z`))
}
