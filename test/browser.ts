// Debian's Chromium for tests of pages, and a plain file server such as any host is: no headers but the type.
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core'

const executablePath = '/usr/bin/chromium'

/** Why browser tests are skipped, or false. */
export const browserSkip = existsSync(executablePath) ? false : `${executablePath} is not there`

/** `more`: flags beside the usual ones. */
export function openBrowser(more: readonly string[] = []): Promise<Browser> {
  return chromium.launch({
    executablePath,
    args: ['--headless', '--no-sandbox', '--disable-background-networking', '--no-first-run', ...more],
  })
}

export interface Visit {
  readonly context: BrowserContext
  readonly page: Page
  /** Errors of the console and of scripts, and requests that failed. */
  readonly faults: string[]
  /** Addresses that were asked for. */
  readonly requests: string[]
}

/** A page in a fresh profile, with everything noted that must not happen. */
export async function visit(browser: Browser, options: BrowserContextOptions = {}): Promise<Visit> {
  const context = await browser.newContext(options)
  const page = await context.newPage()
  const faults: string[] = []
  const requests: string[] = []
  page.on('console', (message) => {
    // Tests that block service workers know that they do.
    const blocked = message.text().includes('blocked by Playwright')
    if (['error', 'warning'].includes(message.type()) && !blocked) faults.push(`console: ${message.text()}`)
  })
  page.on('pageerror', (error) => faults.push(`script: ${error.message}`))
  page.on('dialog', (dialog) => {
    faults.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  context.on('request', (request) => requests.push(request.url()))
  return { context, page, faults, requests }
}

const types: Readonly<Record<string, string>> = {
  html: 'text/html',
  js: 'text/javascript',
  css: 'text/css',
  json: 'application/json',
  svg: 'image/svg+xml',
  xml: 'application/xml',
  woff2: 'font/woff2',
}

/** Serves a folder below a path; `replaced` are files with other contents. */
export class FileServer implements AsyncDisposable {
  readonly #server: Server

  private constructor(
    server: Server,
    readonly path: string,
  ) {
    this.#server = server
  }

  static async start(
    folder: string,
    path: string,
    replaced: Readonly<Record<string, string>> = {},
  ): Promise<FileServer> {
    const server = createServer(async (request, response) => {
      const { pathname } = new URL(request.url!, 'http://host')
      const name = pathname.startsWith(path) ? pathname.slice(path.length) || 'index.html' : null
      try {
        if (name === null) throw new Error('outside')
        const body = replaced[name] ?? (await readFile(join(folder, name)))
        response
          .writeHead(200, { 'content-type': types[name.split('.').at(-1)!] ?? 'application/octet-stream' })
          .end(body)
      } catch {
        response.writeHead(404).end()
      }
    })
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    return new FileServer(server, path)
  }

  get address(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${this.path}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((done) => this.#server.close(done))
  }
}
