// Light, dark, or what the system says; the choice is kept.
import { signal } from '@preact/signals'

const themes = ['system', 'light', 'dark'] as const
type Theme = (typeof themes)[number]

const key = 'mambakit-theme'

function stored(): Theme {
  try {
    return themes.find((theme) => theme === localStorage.getItem(key)) ?? 'system'
  } catch {
    return 'system'
  }
}

const theme = signal<Theme>(stored())

function apply(): void {
  if (theme.value === 'system') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = theme.value
}

apply()

function next(): void {
  theme.value = themes[(themes.indexOf(theme.value) + 1) % themes.length]
  apply()
  try {
    localStorage.setItem(key, theme.value)
  } catch {
    // Storage is switched off: the choice lasts as long as the page.
  }
}

export function ThemeButton() {
  return (
    <button type="button" class="quiet" onClick={next}>
      Theme: {theme.value}
    </button>
  )
}
