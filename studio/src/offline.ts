// Registers the service worker, which keeps the page for offline use and isolates it (a plain file host cannot send the
// headers that shared memory needs). `mambakit studio` sends them itself and needs no worker.
import { server } from './data.js'

let atWork = false
for (const sign of ['keydown', 'pointerdown'])
  addEventListener(
    sign,
    () => {
      atWork = true
    },
    { once: true },
  )

export async function offerOffline(): Promise<void> {
  if (server.value.live || !('serviceWorker' in navigator)) return
  try {
    await navigator.serviceWorker.register('./serviceWorker.js')
    await navigator.serviceWorker.ready
    await controlled()
    // The headers come with the next load, so the first visit reloads once, unless the reader has begun to do something.
    // Only once: where the headers have no effect, a second load would not bring it.
    const key = 'mambakit-isolating'
    if (crossOriginIsolated || atWork || sessionStorage.getItem(key)) return
    sessionStorage.setItem(key, 'done')
    location.reload()
  } catch {
    // Without a worker (a private window, storage switched off) the page works online.
  }
}

/** Waits until the worker answers this page's requests. */
async function controlled(): Promise<void> {
  if (navigator.serviceWorker.controller) return
  await new Promise((done) => navigator.serviceWorker.addEventListener('controllerchange', done, { once: true }))
}
