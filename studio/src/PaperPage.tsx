// One paper: what it says, what runs here, what was measured, and how to cite it.
import { useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { bibtex } from '../../src/papers/bibtex.js'
import { type Entry, signature } from '../../src/papers/entry.js'
import { entries, failure } from './data.js'
import { Links } from './Links.js'
import { dateLabel } from './labels.js'
import { Result } from './Result.js'
import { filters, listAddress } from './route.js'
import { StateBadge } from './StateBadge.js'

export function PaperPage({ id }: { id: string }) {
  const entry = entries.value.find((each) => each.id === id)
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    scrollTo(0, 0)
    heading.current?.focus({ preventScroll: true })
  }, [id, entry === undefined])
  const back = (
    <a class="back" href={listAddress(filters.value)}>
      All papers
    </a>
  )
  if (!entry) {
    if (entries.value.length === 0 && failure.value === '') return null
    return (
      <>
        {back}
        <h1 ref={heading} tabIndex={-1}>
          No such paper
        </h1>
        <p class="empty">Nothing in the list has the address “{id.slice(0, 80)}”.</p>
      </>
    )
  }
  const { title, summary, claim, domain, date, venue } = entry
  const facts = [date && dateLabel(date), venue, signature(entry), domain].filter(Boolean) as string[]
  return (
    <article class="paper">
      {back}
      <h1 ref={heading} tabIndex={-1}>
        <bdi>{title}</bdi>
      </h1>
      <p class="facts">
        {facts.map((fact) => (
          <span key={fact}>{fact}</span>
        ))}
        <StateBadge entry={entry} />
      </p>
      <Links entry={entry} />
      {summary && (
        <section>
          <h2>{claim ? 'Idea' : 'Abstract'}</h2>
          <p>
            <bdi>{summary}</bdi>
          </p>
        </section>
      )}
      {claim && (
        <section>
          <h2>Claim</h2>
          <p>{claim}</p>
        </section>
      )}
      {entry.state && <Result entry={entry} />}
      <Citation entry={entry} />
    </article>
  )
}

function Citation({ entry }: { entry: Entry }) {
  const text = bibtex(entry)
  const said = useSignal('')
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text)
      said.value = 'Copied'
    } catch {
      said.value = 'The browser did not allow copying; select the text instead'
    }
  }
  return (
    <section>
      <h2>Citation</h2>
      <pre>{text}</pre>
      <button type="button" onClick={copy}>
        Copy BibTeX
      </button>
      <span class="said" role="status">
        {said.value}
      </span>
    </section>
  )
}
