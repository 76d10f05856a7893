// Models from the Hugging Face hub into the cache that huggingface_hub uses (blobs by their hash, snapshots of links to
// them, refs from names to commits), so that nothing is downloaded twice. Node only.
import { mkdir, readFile, rename, stat, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type DownloadOptions, downloadBlob, type RemoteFile } from './blob.node.js'
import {
  answerError,
  apiAddress,
  fileAddress,
  HubError,
  type HubId,
  HubUnreachableError,
  isCommit,
  neededFiles,
  pageError,
  parseRepository,
  type Repository,
  type Want,
} from './hub.js'
import { hubRequest } from './hub-request.node.js'
import { type HubSettings, hubSettings } from './hub-settings.node.js'
import { weightNames } from './open.js'
import { writeSmall } from './save.node.js'
import { parseShardIndex } from './sharded.js'

export interface HubOptions extends DownloadOptions {
  /** Default: by the environment. */
  readonly settings?: HubSettings
}

/**
 * The folder of a snapshot with all files that are wanted, from the cache or downloaded. Throws HubError, an AbortError,
 * or a system error.
 */
export async function downloadSnapshot(id: HubId, want: Want, options: HubOptions = {}): Promise<string> {
  const { settings = hubSettings() } = options
  const repository = join(settings.cache, `models--${id.id.replace('/', '--')}`)
  const cached = await cachedSnapshot(repository, id, want)
  if (settings.offline) {
    if (cached) return cached
    throw new HubError(
      apiAddress(settings.endpoint, id),
      null,
      `${id.id}: not in the cache ${settings.cache}, and HF_HUB_OFFLINE is set; download it first`,
    )
  }
  // A commit never changes.
  if (cached && isCommit(id.revision)) return cached
  let found: Repository
  try {
    found = await describe(id, settings, options, cached ? 1 : 3)
  } catch (error) {
    if (!(error instanceof HubUnreachableError && cached)) throw error
    options.announce?.(`${error.message}; using what is in the cache`)
    return cached
  }
  const snapshot = join(repository, 'snapshots', found.commit)
  const exact = { id: id.id, revision: found.commit }
  const address = apiAddress(settings.endpoint, id)
  const fetchFile = (name: string) => ensureFile(exact, name, repository, settings, options)
  for (const name of neededFiles(found, want, id, address)) {
    await fetchFile(name)
    if (!name.endsWith('.index.json')) continue
    const index = join(snapshot, name)
    const shards = new Set(parseShardIndex(await readFile(index, 'utf8'), index).files.values())
    for (const shard of shards) {
      if (!found.files.includes(shard))
        throw new HubError(
          address,
          200,
          `${id.id}: ${name} names ${JSON.stringify(shard)}, which the hub does not have`,
        )
      await fetchFile(shard)
    }
  }
  if (!isCommit(id.revision)) {
    const ref = join(repository, 'refs', id.revision)
    await mkdir(dirname(ref), { recursive: true })
    await writeSmall(ref, found.commit)
  }
  return snapshot
}

async function describe(id: HubId, settings: HubSettings, options: HubOptions, tries: number): Promise<Repository> {
  const address = apiAddress(settings.endpoint, id)
  const { signal, announce } = options
  const response = await hubRequest(id, address, settings, { signal, announce, tries })
  const text = await response.text()
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    if (/^\s*</.test(text)) throw pageError(id, address)
    throw new HubError(
      address,
      200,
      `${id.id}: expected JSON from ${address}, got ${JSON.stringify(text.slice(0, 40))}`,
    )
  }
  return parseRepository(json, id, address)
}

/** What a snapshot in the cache must hold to count, or null. */
async function cachedSnapshot(repository: string, { revision }: HubId, want: Want): Promise<string | null> {
  const commit = isCommit(revision) ? revision : await readText(join(repository, 'refs', revision))
  if (commit === null || !isCommit(commit.trim())) return null
  const snapshot = join(repository, 'snapshots', commit.trim())
  const has = (name: string) => exists(join(snapshot, name))
  if (want === 'tokenizer') return (await has('tokenizer.json')) ? snapshot : null
  if (!(await has('config.json'))) return null
  if (want === 'config') return snapshot
  for (const name of weightNames) {
    if (!(await has(name))) continue
    if (!name.endsWith('.index.json')) return snapshot
    const index = join(snapshot, name)
    const shards = [...new Set(parseShardIndex((await readText(index)) ?? '', index).files.values())]
    const there = await Promise.all(shards.map(has))
    return there.every(Boolean) ? snapshot : null
  }
  return null
}

/** Puts a file into the snapshot: a link to its blob, which is downloaded where it is not there. */
async function ensureFile(
  id: HubId,
  name: string,
  repository: string,
  settings: HubSettings,
  options: HubOptions,
): Promise<void> {
  const pointer = join(repository, 'snapshots', id.revision, name)
  if (await exists(pointer)) return
  const remote = await headOf(id, name, settings, options)
  const blob = join(repository, 'blobs', remote.etag)
  if (!(await exists(blob))) await downloadBlob(remote, blob, settings, options)
  await mkdir(dirname(pointer), { recursive: true })
  try {
    await symlink(join('..', '..', 'blobs', remote.etag), pointer)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // Some systems allow no links; there the file itself stands in the snapshot.
    if (code === 'EPERM' || code === 'ENOTSUP') await rename(blob, pointer)
    else if (code !== 'EEXIST') throw error
  }
}

/** Asks for a file's tag and length, without following it to where large files lie. */
async function headOf(id: HubId, name: string, settings: HubSettings, options: HubOptions): Promise<RemoteFile> {
  const address = fileAddress(settings.endpoint, id, name)
  const { signal, announce } = options
  const response = await hubRequest(id, address, settings, { method: 'HEAD', signal, announce, leave: false })
  const { headers } = response
  const etag = (headers.get('x-linked-etag') ?? headers.get('etag') ?? '').replace(/^W\//, '').replace(/^"(.*)"$/, '$1')
  // It becomes the name of a file.
  if (!/^[\w.-]{1,128}$/.test(etag) || /^\.+$/.test(etag))
    throw new HubError(
      address,
      response.status,
      `${id.id}: ${name}: expected a tag of the file, got ${JSON.stringify(etag)}`,
    )
  const length = headers.get('x-linked-size') ?? (response.ok ? headers.get('content-length') : null)
  const size = length !== null && /^\d{1,15}$/.test(length) ? Number(length) : null
  if (response.status >= 300 && !headers.has('x-linked-etag')) throw answerError(id, address, response.status)
  return { id, name, address, etag, size }
}

const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  )

const readText = (path: string) => readFile(path, 'utf8').catch(() => null)
