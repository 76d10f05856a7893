// Keeps the page for offline use and isolates it: every answer carries the headers that give a page shared memory. The
// build puts in the files of the site and a version made of their contents.
declare const FILES: readonly string[]
declare const VERSION: string

// The types of service workers and of pages exclude each other; this is what is used of them.
interface WorkerEvent extends Event {
  readonly request: Request
  waitUntil(work: Promise<unknown>): void
  respondWith(answer: Promise<Response>): void
}
interface WorkerScope {
  addEventListener(type: 'install' | 'activate' | 'fetch', listen: (event: WorkerEvent) => void): void
  skipWaiting(): Promise<void>
  readonly clients: { claim(): Promise<void> }
  readonly registration: { readonly scope: string }
}
const worker = globalThis as unknown as WorkerScope

const prefix = 'mambakit-studio-'
const cacheName = prefix + VERSION

worker.addEventListener('install', (event) => event.waitUntil(install()))
worker.addEventListener('activate', (event) => event.waitUntil(activate()))
worker.addEventListener('fetch', (event) => {
  const { method, url } = event.request
  if (method === 'GET' && url.startsWith(worker.registration.scope)) event.respondWith(answer(event.request))
})

async function install(): Promise<void> {
  const cache = await caches.open(cacheName)
  // Past the browser's own cache: its copies may be of an earlier version.
  await cache.addAll(FILES.map((file) => new Request(file, { cache: 'reload' })))
  await worker.skipWaiting()
}

async function activate(): Promise<void> {
  for (const name of await caches.keys()) if (name.startsWith(prefix) && name !== cacheName) await caches.delete(name)
  await worker.clients.claim()
}

/** Hashed files from the cache; what may change (the page, the data) from the network while there is one. */
async function answer(request: Request): Promise<Response> {
  const cached = await caches.match(request, { ignoreSearch: true })
  if (cached && new URL(request.url).pathname.includes('/assets/')) return isolated(cached)
  try {
    return isolated(await fetch(request))
  } catch (error) {
    if (cached) return isolated(cached)
    throw error
  }
}

function isolated(response: Response): Response {
  // An opaque answer cannot be opened; it is passed on as it is.
  if (response.type === 'opaque' || response.type === 'opaqueredirect' || response.redirected) return response
  const headers = new Headers(response.headers)
  headers.set('Cross-Origin-Opener-Policy', 'same-origin')
  headers.set('Cross-Origin-Embedder-Policy', 'require-corp')
  headers.set('Cross-Origin-Resource-Policy', 'same-origin')
  const { status, statusText } = response
  return new Response(response.body, { headers, status, statusText })
}
