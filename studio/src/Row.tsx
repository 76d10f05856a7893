// One paper in the list.
import { type Entry, signature } from '../../src/papers/entry.js'
import { plainText } from '../../src/papers/plainText.js'
import { Links } from './Links.js'
import { dateLabel } from './labels.js'
import { StateBadge } from './StateBadge.js'

/** Characters; the page of the paper has the rest. Laying out whole abstracts would take longer than a frame. */
const longestSummary = 700

export function Row({ entry, dated }: { entry: Entry; dated: boolean }) {
  const { id, title, summary, domain, date } = entry
  const facts = [dated || date === null ? '' : dateLabel(date), signature(entry), domain].filter(Boolean)
  // Below the heading of its day, where there is one.
  const Heading = dated ? 'h3' : 'h2'
  return (
    <li class="row">
      <Heading class="name">
        <a href={`#/paper/${encodeURIComponent(id)}`}>
          <bdi>{title}</bdi>
        </a>
      </Heading>
      <p class="facts">
        {facts.map((fact) => (
          <span key={fact}>{fact}</span>
        ))}
        <StateBadge entry={entry} />
      </p>
      <p class="summary">
        <bdi>{plainText(summary, longestSummary)}</bdi>
      </p>
      <Links entry={entry} />
    </li>
  )
}
