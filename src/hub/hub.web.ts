// Models of the hub in a page: fetched once, checked by their hash, then kept by the browser's Cache API under their commit,
// which never changes.
import {
  answerError,
  apiAddress,
  type FileHash,
  fileAddress,
  HubError,
  type HubId,
  neededFiles,
  pageError,
  parseRepository,
} from './hub.js'

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
  const address = apiAddress(endpoint, id, true)
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
    const hash = repository.hashes.get(name)
    const check = hash ? await hashCheck(hash, { id, name, url }) : null
    const watched = watch(response, name, check, options)
    if (!cache) return watched
    try {
      await cache.put(url, watched)
    } catch (error) {
      // A download that breaks off or is not what it should be is not kept: the put fails with it, in words of its own.
      throw check?.fault ?? error
    }
    return (await cache.match(url)) ?? null
  }
}

/** Holds the bytes of a file against their hash. */
interface HashCheck {
  update(piece: Uint8Array): void
  /** Throws HubError where they are others; `fault` then keeps it. */
  end(): void
  readonly fault: HubError | null
}

async function hashCheck(
  { kind, digest, size }: FileHash,
  file: { id: HubId; name: string; url: string },
): Promise<HashCheck> {
  const hash =
    kind === 'sha256'
      ? (await import('@noble/hashes/sha2.js')).sha256.create()
      : (await import('@noble/hashes/legacy.js')).sha1.create().update(new TextEncoder().encode(`blob ${size}\0`))
  let fault: HubError | null = null
  return {
    update: (piece) => hash.update(piece),
    end() {
      const got = Array.from(hash.digest(), (byte) => byte.toString(16).padStart(2, '0')).join('')
      if (got === digest) return
      const detail = `expected ${kind} ${digest}, got ${got}; nothing was kept, try again`
      fault = new HubError(file.url, null, `${file.id.id}: ${file.name}: ${detail}`)
      throw fault
    },
    get fault() {
      return fault
    },
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

/** The same answer, its bytes told of and checked as they pass. */
function watch(response: Response, file: string, check: HashCheck | null, { onProgress }: PageHubOptions): Response {
  if (!response.body || !(onProgress || check)) return response
  const length = response.headers.get('content-length')
  const total = length === null ? null : Number(length)
  let done = 0
  const counted = response.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(piece, controller) {
        done += piece.length
        onProgress?.({ file, done, total })
        check?.update(piece)
        controller.enqueue(piece)
      },
      flush: () => check?.end(),
    }),
  )
  return new Response(counted, { headers: response.headers })
}
