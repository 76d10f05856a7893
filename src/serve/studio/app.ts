// The web server of `mambakit studio`: the built page, its data as it is now (the user's list included), the feed, and
// the subscription where mail can be sent.
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Context, Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { MambakitError } from '../../errors.js'
import type { Entry } from '../../papers/entry.js'
import { atomFeed } from '../../papers/feed.node.js'
import { AddressError } from '../mail/address.js'
import { JournalError } from '../mail/journal.js'
import { TokenError } from '../mail/tokens.js'
import { buttonPage, linkPageStyle, notePage } from './linkPages.js'
import type { Reply, Subscription } from './subscription.js'

export interface StudioOptions {
  /** Folder of the built page. */
  readonly pages: string
  /** Gives the entries as they are now. */
  entries(): Promise<readonly Entry[]>
  /** Address of the page as readers see it, ending in a slash. */
  readonly site: string
  /** Absent where no mail can be sent. */
  readonly subscription?: Subscription
  /** True behind a proxy that says who asks. */
  readonly trustProxy?: boolean
}

/** The server is asked under a name that is not its own. */
const wrongHost = 'This server does not answer to that name. Start it with --public-url to give it another one.'

const types: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  json: 'application/json; charset=utf-8',
  svg: 'image/svg+xml',
  woff2: 'font/woff2',
  wasm: 'application/wasm',
}

const headers: Readonly<Record<string, string>> = {
  // Shared memory for the pages that compute.
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Content-Security-Policy':
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
}

/** Builds the server; requests go in and answers come out without a socket. */
export async function studioApp(options: StudioOptions): Promise<Hono> {
  const { pages, entries, site, subscription } = options
  const files = new Set(
    (await readdir(pages, { recursive: true }))
      .map((name) => name.replaceAll('\\', '/'))
      .filter((name) => /\.\w+$/.test(name)),
  )
  const own = new URL(site)
  const names = new Set([own.hostname, 'localhost', '127.0.0.1', '[::1]'])
  const app = new Hono()

  app.use(async (c, next) => {
    // A page elsewhere may point its own name at this machine; such requests carry that name.
    if (!names.has(hostName(c))) return c.text(wrongHost, 421)
    await next()
    for (const [name, value] of Object.entries(headers)) c.res.headers.set(name, value)
  })
  app.use(bodyLimit({ maxSize: 8192, onError: (c) => c.text('The request is too large.', 413) }))
  app.onError((error, c) => {
    const reply = replyTo(error)
    return wantsHtml(c)
      ? c.html(notePage('This did not work', reply.text), reply.status)
      : c.text(reply.text, reply.status)
  })

  app.get('/papers.json', async (c) => c.json(await entries()))
  app.get('/studio.json', (c) => c.json({ live: true, subscribe: subscription !== undefined }))
  app.get('/feed.xml', async (c) =>
    c.body(atomFeed(await entries(), { site }), 200, { 'content-type': 'application/atom+xml; charset=utf-8' }),
  )
  if (subscription) addSubscription(app, subscription, options)
  app.get('*', async (c) => {
    const name = c.req.path === '/' ? 'index.html' : c.req.path.slice(1)
    if (!files.has(name)) return c.text('There is nothing at this address.', 404)
    const cache = name.startsWith('assets/') ? 'public, max-age=31536000, immutable' : 'no-cache'
    const type = types[name.split('.').at(-1)!] ?? 'application/octet-stream'
    return c.body(await readFile(join(pages, name)), 200, { 'content-type': type, 'cache-control': cache })
  })
  return app
}

function addSubscription(app: Hono, subscription: Subscription, options: StudioOptions): void {
  app.get('/link.css', (c) => c.body(linkPageStyle, 200, { 'content-type': types.css }))
  app.post('/subscribe', async (c) => {
    // JSON from another site needs its permission first, which it does not get; an Origin is checked all the same.
    const origin = c.req.header('origin')
    const foreign = origin !== undefined && !isOwn(origin, c, options.site)
    if (foreign || !c.req.header('content-type')?.startsWith('application/json'))
      return c.text('Subscribing works from the page of this server only.', 403)
    const body: unknown = await c.req.json().catch(() => null)
    const address = typeof body === 'object' && body !== null ? (body as { address?: unknown }).address : undefined
    return plain(c, await subscription.request(address, asker(c, options)))
  })

  app.get('/confirm', (c) => {
    const token = c.req.query('token') ?? ''
    return c.html(buttonPage('Subscribe to the papers page?', 'New papers and results by mail.', 'Subscribe', token))
  })
  app.post('/confirm', async (c) => {
    const { status, text } = await subscription.confirm(await tokenOf(c))
    return c.html(notePage(status === 200 ? 'Subscribed' : 'Not subscribed', text), status)
  })
  app.get('/unsubscribe', (c) => {
    const token = c.req.query('token') ?? ''
    return c.html(buttonPage('Unsubscribe from the papers page?', 'No more mail will come.', 'Unsubscribe', token))
  })
  // Mail programs post here by themselves (RFC 8058), people by the button of the page above.
  app.post('/unsubscribe', async (c) => {
    const { status, text } = await subscription.unsubscribe(await tokenOf(c))
    return c.html(notePage('Unsubscribed', text), status)
  })
}

/** The token of the form, or of the address where the form has none. */
async function tokenOf(c: Context): Promise<string> {
  const { token } = await c.req.parseBody().catch(() => ({ token: undefined }))
  return typeof token === 'string' ? token : (c.req.query('token') ?? '')
}

const plain = (c: Context, { status, text }: Reply) => c.text(text, status)

const wantsHtml = (c: Context) => c.req.header('accept')?.includes('text/html') === true

function hostName(c: Context): string {
  const host = c.req.header('host') ?? new URL(c.req.url).host
  return URL.canParse(`http://${host}`) ? new URL(`http://${host}`).hostname : ''
}

function isOwn(origin: string, c: Context, site: string): boolean {
  const host = c.req.header('host') ?? new URL(c.req.url).host
  return origin === new URL(site).origin || (URL.canParse(origin) && new URL(origin).host === host)
}

function asker(c: Context, { trustProxy }: StudioOptions): string {
  const forwarded = trustProxy ? c.req.header('x-forwarded-for')?.split(',').at(-1)?.trim() : undefined
  const env = c.env as { incoming?: { socket?: { remoteAddress?: string } } } | undefined
  return forwarded || env?.incoming?.socket?.remoteAddress || 'unknown'
}

function replyTo(error: Error): { text: string; status: 400 | 500 | 507 } {
  if (error instanceof AddressError || error instanceof TokenError)
    return { text: error.message[0].toUpperCase() + error.message.slice(1), status: 400 }
  process.stderr.write(`${error instanceof MambakitError ? error.message : error.stack}\n`)
  if (error instanceof JournalError)
    return {
      text: 'The server cannot keep anything now: its disk is full or closed. Nothing was changed; try again later.',
      status: 507,
    }
  return { text: error instanceof MambakitError ? error.message : 'The server failed; its log says why.', status: 500 }
}

/** Folder of the built page in this package. */
export function builtPages(): string {
  const folder = fileURLToPath(new URL('../../../studio/', import.meta.url))
  if (existsSync(join(folder, 'index.html'))) return folder
  throw new MambakitError('the studio is not built yet; run `npm run build` in the clone first')
}
