// Requests to the hub: redirects followed by hand, so that the token stays with the hub; too many requests and faults of
// the server waited out. Node only.
import { setTimeout as delay } from 'node:timers/promises'
import { answerError, HubError, type HubId, HubUnreachableError, pageError } from './hub.js'
import type { HubSettings } from './hub-settings.node.js'

export interface RequestOptions {
  readonly method?: 'GET' | 'HEAD'
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
  /** Follow redirects to where the hub keeps large files. Default true. */
  readonly leave?: boolean
  /** How often to try where the network gives no answer. Default 3. */
  readonly tries?: number
  /** Told why the request waits. */
  readonly announce?: (message: string) => void
}

const mostRedirects = 10
const mostTries = 5

/**
 * The answer to a request: of success, or the first redirect away from the hub where `leave` is false. Throws HubError for
 * an answer that is no success or a web page, HubUnreachableError where there is none, or an AbortError.
 */
export async function hubRequest(
  id: HubId,
  address: string,
  settings: HubSettings,
  options: RequestOptions = {},
): Promise<Response> {
  for (let tries = 1; ; tries++) {
    const response = await follow(id, address, settings, options).catch((error) => {
      options.signal?.throwIfAborted()
      // What fetch throws where no answer came.
      if (error instanceof TypeError) return reasonOf(error)
      throw error
    })
    if (typeof response === 'string') {
      if (tries >= (options.tries ?? 3))
        throw new HubUnreachableError(address, null, `${id.id}: ${settings.endpoint} cannot be reached (${response})`)
      await delay(settings.retryDelay * 2 ** (tries - 1), undefined, { signal: options.signal })
      continue
    }
    const { status } = response
    if (response.ok || isRedirect(status)) {
      if (!response.headers.get('content-type')?.startsWith('text/html') || isRedirect(status)) return response
      await response.body?.cancel()
      throw pageError(id, response.url)
    }
    await response.body?.cancel()
    // A range beyond the file is the caller's to settle.
    if (status === 416) return response
    const wait = tries < mostTries && (status === 429 || status >= 500) ? waitOf(response, tries, settings) : null
    if (wait === null || wait > settings.longestWait) throw answerError(id, response.url || address, status)
    if (wait >= 1000)
      options.announce?.(`${id.id}: the hub answers HTTP ${status}; trying again in ${Math.ceil(wait / 1000)} s`)
    await delay(wait, undefined, { signal: options.signal })
  }
}

const isRedirect = (status: number) => status >= 300 && status < 400

async function follow(id: HubId, address: string, settings: HubSettings, options: RequestOptions): Promise<Response> {
  const { method = 'GET', headers = {}, signal, leave = true } = options
  const home = new URL(settings.endpoint).origin
  let url = new URL(address)
  for (let hop = 0; hop <= mostRedirects; hop++) {
    const isHome = url.origin === home
    const response = await fetch(url, {
      method,
      signal,
      redirect: 'manual',
      headers: {
        // A compressed answer would have another length and no ranges.
        'accept-encoding': 'identity',
        'user-agent': 'mambakit',
        ...headers,
        ...(isHome && settings.token !== null && { authorization: `Bearer ${settings.token}` }),
      },
    })
    const to = isRedirect(response.status) ? response.headers.get('location') : null
    if (to === null) return response
    if (!URL.canParse(to, url))
      throw new HubError(`${url}`, response.status, `${id.id}: the hub redirects to no address`)
    const next = new URL(to, url)
    if (!/^https?:$/.test(next.protocol))
      throw new HubError(
        `${url}`,
        response.status,
        `${id.id}: the hub redirects to ${next.protocol}; expected http or https`,
      )
    if (!leave && (next.origin !== url.origin || response.headers.has('x-linked-etag'))) return response
    await response.body?.cancel()
    url = next
  }
  throw new HubError(address, null, `${id.id}: more than ${mostRedirects} redirects from ${address}`)
}

/** Why a connection failed, by the system's words where there are any. */
export function reasonOf(error: unknown): string {
  const { message, cause } = error as Error
  return cause instanceof Error ? cause.message || `${(cause as NodeJS.ErrnoException).code ?? message}` : message
}

/** Retry-After in seconds or as a date, else a wait that doubles; in ms. */
function waitOf(response: Response, tries: number, { retryDelay }: HubSettings): number {
  const after = response.headers.get('retry-after')
  const doubling = retryDelay * 2 ** (tries - 1)
  if (after === null) return doubling
  const seconds = /^\d+$/.test(after) ? Number(after) : (Date.parse(after) - Date.now()) / 1000
  return Number.isNaN(seconds) ? doubling : Math.max(0, 1000 * seconds)
}
