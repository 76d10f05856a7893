// The frame of every page: header, the place that the address names, footer.
import { useSignalEffect } from '@preact/signals'
import { entries, failure, server } from './data.js'
import { PaperList } from './PaperList.js'
import { PaperPage } from './PaperPage.js'
import { place } from './route.js'
import { Subscribe } from './Subscribe.js'
import { ThemeButton } from './ThemeButton.js'

export function App() {
  useSignalEffect(() => {
    const here = place.value
    const paper = here.page === 'paper' ? entries.value.find(({ id }) => id === here.id) : undefined
    document.title = paper ? `${paper.title} · mambakit` : 'Mamba papers · mambakit'
  })
  const here = place.value
  return (
    <>
      <button type="button" class="skip" onClick={() => document.getElementById('main')?.focus()}>
        Skip to the papers
      </button>
      <header class="top">
        <a class="brand" href="#/">
          mambakit
        </a>
        <nav aria-label="Site">
          <a href="./feed.xml">Feed</a>
          <ThemeButton />
        </nav>
      </header>
      <main id="main" tabIndex={-1}>
        {failure.value !== '' && (
          <p class="failure" role="alert">
            {failure.value}
          </p>
        )}
        {here.page === 'paper' ? <PaperPage id={here.id} /> : <PaperList />}
      </main>
      <footer class="bottom">
        {server.value.subscribe && <Subscribe />}
        <p>Summaries are ours. What runs here and what was measured comes from the results committed with the code.</p>
      </footer>
    </>
  )
}
