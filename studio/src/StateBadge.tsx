// How far a paper has come, as a word with a mark; the mark repeats what the word says.
import type { Entry } from '../../src/papers/entry.js'
import { stateLabels } from './labels.js'

export function StateBadge({ entry: { state } }: { entry: Entry }) {
  return state ? (
    <span class={`state ${state.replace(' ', '-')}`}>{stateLabels[state]}</span>
  ) : (
    <span class="state mine">my list</span>
  )
}
