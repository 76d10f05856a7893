// A Hugging Face hub on this machine, for tests: repositories in memory, served as the real one does (a description,
// files behind a redirect to another host, ranges), and made to misbehave on demand.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What a request is answered by instead of the file; the first that is not null wins. */
export type Fault = (request: IncomingMessage, response: ServerResponse, body: Buffer) => boolean

export interface SeenRequest {
  readonly method: string
  readonly path: string
  /** 'hub' or 'storage', where large files lie. */
  readonly host: 'hub' | 'storage'
  readonly authorization: string | undefined
  readonly range: string | undefined
}

const commit = '0123456789abcdef0123456789abcdef01234567'

export class TestHub {
  readonly seen: SeenRequest[] = []
  /** Looked at before anything is answered; return true for "answered". */
  fault: Fault = () => false
  /** Names that the description gives beside the files. */
  extraNames: string[] = []
  /** Replaces a file's tag. */
  readonly etags = new Map<string, string>()
  private constructor(
    private readonly files: ReadonlyMap<string, Buffer>,
    private readonly hub: Server,
    private readonly storage: Server,
  ) {}

  /** Files of owner/name, by their names. Those of more than 1000 bytes are "large". */
  static async start(files: Readonly<Record<string, Uint8Array | string>>): Promise<TestHub> {
    const [hub, storage] = [createServer(), createServer()]
    const test = new TestHub(
      new Map(Object.entries(files).map(([name, content]) => [name, Buffer.from(content as Uint8Array)])),
      hub,
      storage,
    )
    hub.on('request', (request, response) => test.answer('hub', request, response))
    storage.on('request', (request, response) => test.answer('storage', request, response))
    for (const server of [hub, storage]) {
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
    }
    return test
  }

  readonly commit = commit

  get endpoint(): string {
    return `http://127.0.0.1:${(this.hub.address() as AddressInfo).port}`
  }
  private get storageAddress(): string {
    // Another origin, as the real hub has it.
    return `http://localhost:${(this.storage.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    for (const server of [this.hub, this.storage]) {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    }
  }

  #etag(name: string): string {
    const body = this.files.get(name) ?? Buffer.alloc(0)
    const sha256 = createHash('sha256').update(body).digest('hex')
    const git = createHash('sha1').update(`blob ${body.length}\0`).update(body).digest('hex')
    return this.etags.get(name) ?? (body.length > 1000 ? sha256 : git)
  }

  /** What a description with blobs=true says of a file. */
  #hashes(name: string): Record<string, unknown> {
    const size = this.files.get(name)?.length ?? 0
    const etag = this.#etag(name)
    return size > 1000
      ? { size, blobId: '0'.repeat(40), lfs: { sha256: etag, size, pointerSize: 130 } }
      : { size, blobId: etag }
  }

  private answer(host: SeenRequest['host'], request: IncomingMessage, response: ServerResponse): void {
    const { method = '', url = '' } = request
    const { authorization, range } = request.headers
    this.seen.push({ method, path: url, host, authorization, range })
    const [path, query = ''] = url.split('?')
    const name = decodeURIComponent(path.slice(path.lastIndexOf('/') + 1))
    const body = this.files.get(name) ?? Buffer.alloc(0)
    if (this.fault(request, response, body)) return
    if (host === 'storage') {
      sendRange(response, body, range, method)
      return
    }
    if (/^\/api\/models\/owner\/name\/revision\/(main|v1|[0-9a-f]{40})$/.test(path)) {
      const siblings = [...this.files.keys(), ...this.extraNames].map((rfilename) => ({
        rfilename,
        ...(query === 'blobs=true' && this.#hashes(rfilename)),
      }))
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ sha: commit, siblings }))
      return
    }
    if (!url.startsWith(`/owner/name/resolve/${commit}/`) || !this.files.has(name)) {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('Not Found')
      return
    }
    const isLarge = body.length > 1000
    const etag = this.#etag(name)
    response.setHeader('x-repo-commit', commit)
    if (isLarge) {
      response.setHeader('x-linked-etag', `"${etag}"`)
      response.setHeader('x-linked-size', `${body.length}`)
      response.writeHead(302, { location: `${this.storageAddress}/${name}` }).end()
      return
    }
    response.setHeader('etag', `"${etag}"`)
    sendRange(response, body, range, method)
  }
}

/** The body, or the part of it that a Range header asks for. */
export function sendRange(response: ServerResponse, body: Buffer, range: string | undefined, method = 'GET'): void {
  const begin = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0)
  if (range !== undefined && begin >= body.length) {
    response.writeHead(416).end()
    return
  }
  const part = body.subarray(begin)
  response.setHeader('content-type', 'application/octet-stream')
  response.setHeader('content-length', part.length)
  if (range !== undefined) response.setHeader('content-range', `bytes ${begin}-${body.length - 1}/${body.length}`)
  response.writeHead(range === undefined ? 200 : 206)
  if (method === 'HEAD') response.end()
  else response.end(part)
}
