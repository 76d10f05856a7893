// The links of a paper to what lies elsewhere.
import type { Entry } from '../../src/papers/entry.js'

export function Links({ entry }: { entry: Entry }) {
  const { links, title } = entry
  if (links.length === 0) return null
  return (
    <ul class="links" aria-label="Links">
      {links.map(({ label, href }) => (
        <li key={href}>
          <a href={href} rel="noopener noreferrer" aria-label={`${label}: ${title}`}>
            {label}
          </a>
        </li>
      ))}
    </ul>
  )
}
