// One file of the hub into the cache: resumed where it stopped, checked by its hash, put in its place whole. Several
// processes may ask for the same one. Node only.
import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { isAlive, writeAll } from './atomic.node.js'
import { HubError, type HubId, HubUnreachableError } from './hub.js'
import { hubRequest, reasonOf } from './hub-request.node.js'
import type { HubSettings } from './hub-settings.node.js'

export interface RemoteFile {
  readonly id: HubId
  /** Its name, for people. */
  readonly name: string
  readonly address: string
  /** The hub's tag: the sha256 of a large file, the git hash of a small one. */
  readonly etag: string
  /** In bytes; null where the hub does not say. */
  readonly size: number | null
}

export interface DownloadProgress {
  readonly file: string
  readonly done: number
  readonly total: number | null
}

export interface DownloadOptions {
  readonly signal?: AbortSignal
  /** Told why a download waits or starts anew. */
  readonly announce?: (message: string) => void
  readonly onProgress?: (progress: DownloadProgress) => void
}

const mostFailures = 5

/**
 * Downloads a file to `path`, by way of `path`.incomplete, which a later call resumes. Throws HubError where it cannot be
 * had or its hash is wrong, an AbortError where `signal` ends it.
 */
export async function downloadBlob(
  file: RemoteFile,
  path: string,
  settings: HubSettings,
  options: DownloadOptions,
): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const incomplete = `${path}.incomplete`
  const unlock = await lock(`${incomplete}.lock`, file, options)
  try {
    if (await stat(path).catch(() => null)) return
    const handle = await open(incomplete, 'a+')
    try {
      const digest = await fetchAll(file, handle, incomplete, settings, options)
      if (digest !== null && digest !== file.etag) {
        await rm(incomplete, { force: true })
        const kind = file.etag.length === 64 ? 'sha256' : 'git hash'
        throw failed(file, `expected ${kind} ${file.etag}, got ${digest}; what was downloaded is deleted, try again`)
      }
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(incomplete, path)
  } finally {
    await unlock()
  }
}

const failed = (file: RemoteFile, detail: string) =>
  new HubError(file.address, null, `${file.id.id}: ${file.name}: ${detail}`)

/** Appends what is missing, in as many requests as it takes. Returns the hash in the form of the tag, null for unknown ones. */
async function fetchAll(
  file: RemoteFile,
  handle: FileHandle,
  path: string,
  settings: HubSettings,
  options: DownloadOptions,
): Promise<string | null> {
  const { size } = file
  let done = (await handle.stat()).size
  if (size !== null && done > size) {
    await handle.truncate(0)
    done = 0
  }
  let hash = newHash(file)
  if (done > 0) for await (const piece of createReadStream(path)) hash?.update(piece as Buffer)
  const restart = async () => {
    await handle.truncate(0)
    done = 0
    hash = newHash(file)
  }
  for (let failures = 0; size === null || done < size || done === 0; ) {
    const before = done
    try {
      const response = await startFrom(file, done, settings, options)
      if (response === null) {
        if (before === 0) throw failed(file, 'the hub gives no byte of it')
        await restart()
        continue
      }
      if (done > 0 && response.status === 200) await restart()
      for await (const piece of bodyOf(response, settings, options)) {
        await writeAll(handle, piece)
        hash?.update(piece)
        done += piece.length
        if (size !== null && done > size) {
          await rm(path, { force: true })
          throw failed(file, `expected ${size} bytes, got more; what was downloaded is deleted`)
        }
        options.onProgress?.({ file: file.name, done, total: size })
      }
      if (size === null || done === size) break
      throw new Error(`the connection ended after ${done} of ${size} bytes`)
    } catch (error) {
      options.signal?.throwIfAborted()
      if ((error instanceof HubError && !(error instanceof HubUnreachableError)) || isDiskError(error)) throw error
      failures = done > before ? 1 : failures + 1
      if (failures >= mostFailures)
        throw failed(
          file,
          `the connection broke ${failures} times at byte ${done} (${reasonOf(error)}); run again to go on`,
        )
      await delay(settings.retryDelay * 2 ** (failures - 1), undefined, { signal: options.signal })
    }
  }
  return hash?.digest('hex') ?? null
}

/** The answer with the bytes from `done` on, or from the start with status 200; null where the hub has no such range. */
async function startFrom(file: RemoteFile, done: number, settings: HubSettings, options: DownloadOptions) {
  const headers: Record<string, string> = done > 0 ? { range: `bytes=${done}-` } : {}
  const { signal, announce } = options
  const response = await hubRequest(file.id, file.address, settings, { headers, signal, announce, tries: 1 })
  if (response.status === 416) return null
  if (response.status === 206 && !response.headers.get('content-range')?.startsWith(`bytes ${done}-`)) {
    await response.body?.cancel()
    throw failed(file, `asked for bytes from ${done} on, got ${response.headers.get('content-range') ?? 'others'}`)
  }
  return response
}

/** The pieces of a body; one that stays silent for too long ends in an error. */
async function* bodyOf(response: Response, { stall }: HubSettings, { signal }: DownloadOptions) {
  if (!response.body) return
  const reader = response.body.getReader()
  const stop = () => reader.cancel(signal?.reason).catch(() => {})
  signal?.addEventListener('abort', stop)
  try {
    for (;;) {
      const silence = new AbortController()
      const next = await Promise.race([
        reader.read(),
        delay(stall, null, { signal: silence.signal, ref: false }).catch(() => null),
      ]).finally(() => silence.abort())
      signal?.throwIfAborted()
      if (next === null) throw new Error(`nothing came for ${stall / 1000} s`)
      if (next.done) return
      yield next.value
    }
  } finally {
    signal?.removeEventListener('abort', stop)
    await reader.cancel().catch(() => {})
  }
}

/** Git hashes a file behind its length. */
function newHash({ etag, size }: RemoteFile): Hash | null {
  if (/^[0-9a-f]{64}$/.test(etag)) return createHash('sha256')
  return /^[0-9a-f]{40}$/.test(etag) && size !== null ? createHash('sha1').update(`blob ${size}\0`) : null
}

const isDiskError = (error: unknown) =>
  ['ENOSPC', 'EDQUOT', 'EIO', 'EROFS', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')

/** Waits until no other process downloads the same file. Returns what lets the next one go. */
async function lock(path: string, file: RemoteFile, options: DownloadOptions): Promise<() => Promise<void>> {
  let told = false
  for (;;) {
    try {
      await writeFile(path, `${hostname()} ${process.pid}`, { flag: 'wx' })
      return () => rm(path, { force: true })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const [host, pid] = (await readFile(path, 'utf8').catch(() => '')).split(' ')
    // Of a process on another machine nothing can be known.
    if (host === hostname() && pid && !isAlive(Number(pid))) {
      await rm(path, { force: true })
      continue
    }
    if (!told) options.announce?.(`${file.name}: waiting for another process that downloads it (${path})`)
    told = true
    await delay(200, undefined, { signal: options.signal })
  }
}
