// Models of the hub in a page: fetched once, then kept by the browser's Cache API under their commit, which never changes.
import { answerError, apiAddress, fileAddress, type HubId, neededFiles, pageError, parseRepository } from './hub.js'

/** The browser's cache of hub files; a page can delete it by this name. */
export const hubCacheName = 'mambakit-hub'

export interface PageHubOptions {
  readonly endpoint: string
  readonly signal?: AbortSignal
  /** Told where the cache stands in for a hub that cannot be reached. */
  readonly announce?: (message: string) => void
  readonly onProgress?: (progress: {
    readonly file: string
    readonly done: number
    readonly total: number | null
  }) => void
}

/** A file of a repository by its name; null where there is none. */
export type GetHubFile = (name: string) => Promise<Response | null>

/** Asks the hub what a repository holds. Throws HubError; a TypeError where the hub is out of reach and not in the cache. */
export async function openRepository(id: HubId, options: PageHubOptions): Promise<GetHubFile> {
  const { endpoint, signal } = options
  // Not there in pages that were not loaded safely; then each visit downloads anew.
  const cache = 'caches' in globalThis ? await caches.open(hubCacheName) : null
  const address = apiAddress(endpoint, id)
  const described = await describe(id, address, cache, options)
  const repository = parseRepository(await described.json(), id, address)
  const exact = { id: id.id, revision: repository.commit }
  // Says at once what is missing for a model.
  neededFiles(repository, 'config', id, address)
  return async (name) => {
    if (!repository.files.includes(name)) return null
    const url = fileAddress(endpoint, exact, name)
    const kept = await cache?.match(url)
    if (kept) return kept
    const response = await answer(id, url, signal)
    const watched = watch(response, name, options)
    if (!cache) return watched
    // A download that breaks off is not kept: the put fails with it.
    await cache.put(url, watched)
    return (await cache.match(url)) ?? null
  }
}

async function describe(id: HubId, address: string, cache: Cache | null, options: PageHubOptions): Promise<Response> {
  try {
    const response = await answer(id, address, options.signal)
    await cache?.put(address, response.clone())
    return response
  } catch (error) {
    // What fetch throws where no answer came.
    const kept = error instanceof TypeError ? await cache?.match(address) : undefined
    if (!kept) throw error
    options.announce?.(`${id.id}: ${options.endpoint} cannot be reached; using what is in the cache`)
    return kept
  }
}

async function answer(id: HubId, address: string, signal?: AbortSignal): Promise<Response> {
  const response = await fetch(address, { signal })
  if (!response.ok) throw answerError(id, address, response.status)
  if (response.headers.get('content-type')?.startsWith('text/html')) throw pageError(id, address)
  return response
}

/** The same answer, telling of its bytes as they pass. */
function watch(response: Response, file: string, { onProgress }: PageHubOptions): Response {
  if (!onProgress || !response.body) return response
  const length = response.headers.get('content-length')
  const total = length === null ? null : Number(length)
  let done = 0
  const counted = response.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(piece, controller) {
        done += piece.length
        onProgress({ file, done, total })
        controller.enqueue(piece)
      },
    }),
  )
  return new Response(counted, { headers: response.headers })
}
