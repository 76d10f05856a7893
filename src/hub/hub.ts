// What is known of the Hugging Face hub without asking it: ids, addresses, which files of a repository a model needs, and
// what its answers mean. Downloads are in download.node.ts; pages fetch by load.web.ts.
import { MambakitError } from '../errors.js'
import { weightNames } from './open.js'
import { isPlainFileName } from './sharded.js'

export const defaultEndpoint = 'https://huggingface.co'

/** The hub gave no file. `status` is that of its answer, null where there was none. */
export class HubError extends MambakitError {
  override name = 'HubError'
  constructor(
    readonly address: string,
    readonly status: number | null,
    message: string,
  ) {
    super(message)
  }
}

/** The hub could not be reached at all. */
export class HubUnreachableError extends HubError {
  override name = 'HubUnreachableError'
}

export interface HubId {
  /** owner/name */
  readonly id: string
  /** A branch, tag or commit. */
  readonly revision: string
}

/** Parses owner/name or owner/name@revision; null where the text is no such id. */
export function parseHubId(text: string): HubId | null {
  const match = /^([A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?$/.exec(text)
  if (!match || text.includes('..') || match[1].includes('--') || text.length > 200) return null
  const [, id, revision = 'main'] = match
  return { id, revision }
}

export const isCommit = (revision: string) => /^[0-9a-f]{40}$/.test(revision)

/** Where the hub describes a repository; with `blobs`, with the hashes of its files too. */
export function apiAddress(endpoint: string, { id, revision }: HubId, blobs = false): string {
  return `${endpoint}/api/models/${id}/revision/${encodeURIComponent(revision)}${blobs ? '?blobs=true' : ''}`
}

export function fileAddress(endpoint: string, { id, revision }: HubId, file: string): string {
  return `${endpoint}/${id}/resolve/${encodeURIComponent(revision)}/${encodeURIComponent(file)}`
}

/** What is wanted of a repository. */
export type Want = 'model' | 'tokenizer' | 'config'

/** By what the hub knows the bytes of a file: a large one by their sha256, a small one as git does. */
export interface FileHash {
  readonly kind: 'sha256' | 'git hash'
  readonly digest: string
  /** In bytes. */
  readonly size: number
}

export interface Repository {
  readonly commit: string
  /** Paths of its files. */
  readonly files: readonly string[]
  /** By path, where the hub gives them. */
  readonly hashes: ReadonlyMap<string, FileHash>
}

/** Checks the hub's description of a repository. Throws HubError. */
export function parseRepository(json: unknown, { id }: HubId, address: string): Repository {
  const fail = (detail: string) => new HubError(address, 200, `${id}: ${detail} (from ${address})`)
  const { sha, siblings } = (typeof json === 'object' && json !== null ? json : {}) as Record<string, unknown>
  if (typeof sha !== 'string' || !isCommit(sha) || !Array.isArray(siblings))
    throw fail('expected the hub to name a commit and its files')
  const files = siblings.map((each: unknown) => (each as { rfilename?: unknown } | null)?.rfilename)
  for (const file of files) {
    if (typeof file !== 'string' || !file.split('/').every(isPlainFileName))
      throw fail(`the hub names a file that points elsewhere: ${JSON.stringify(file) ?? 'nothing'}`)
  }
  const hashes = siblings.map((each: unknown, i) => [files[i], hashOf(each as Sibling)] as [string, FileHash | null])
  return { commit: sha, files: files as string[], hashes: new Map(hashes.filter(isKnown)) }
}

/** What the description of a file may hold. */
interface Sibling {
  readonly size?: unknown
  readonly blobId?: unknown
  readonly lfs?: { readonly sha256?: unknown; readonly size?: unknown } | null
}

const isKnown = (each: [string, FileHash | null]): each is [string, FileHash] => each[1] !== null

function hashOf({ size, blobId, lfs }: Sibling): FileHash | null {
  const [kind, digest, bytes] = lfs
    ? (['sha256', lfs.sha256, lfs.size] as const)
    : (['git hash', blobId, size] as const)
  const digits = kind === 'sha256' ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/
  if (typeof digest !== 'string' || !digits.test(digest) || !Number.isSafeInteger(bytes)) return null
  return { kind, digest, size: bytes as number }
}

const tokenizerNames = ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json']

/**
 * The files that are wanted of those there are; an index's own files are known only once it is read. Throws HubError
 * where there is nothing that could be read.
 */
export function neededFiles({ files }: Repository, want: Want, { id }: HubId, address: string): string[] {
  const present = (names: readonly string[]) => names.filter((name) => files.includes(name))
  const required = (names: readonly string[], what: string) => {
    const [first] = present(names)
    if (first !== undefined) return [first]
    const some = files.slice(0, 4).map((file) => JSON.stringify(file))
    throw new HubError(address, 200, `${id}: holds no ${what}; it has ${some.join(', ') || 'no file at all'}`)
  }
  if (want === 'tokenizer') {
    required(['tokenizer.json'], 'tokenizer.json')
    return present(tokenizerNames)
  }
  const config = required(['config.json'], 'config.json')
  if (want === 'config') return config
  const weights = required(weightNames, 'weights that can be read (safetensors or PyTorch)')
  return [...config, ...present(['generation_config.json', ...tokenizerNames]), ...weights]
}

/** The error for an answer that is not the file. */
export function answerError({ id, revision }: HubId, address: string, status: number): HubError {
  const what: Readonly<Record<number, string>> = {
    401: 'the hub asks for a token (no such model, or a private or gated one); check the id, or set HF_TOKEN',
    403: 'the token gives no access; ask for it on the page of the model, or set another HF_TOKEN',
    404: `no such model, revision ("${revision}") or file on the hub; check the id`,
    429: 'the hub is asked too often; wait a while, or set HF_TOKEN',
  }
  return new HubError(address, status, `${id}: ${what[status] ?? `the hub answers HTTP ${status}`} (${address})`)
}

/** The error for a page where a file was expected: of a proxy, a login, or an endpoint that is no hub. */
export function pageError({ id }: HubId, address: string): HubError {
  return new HubError(
    address,
    200,
    `${id}: expected a file, got a web page (HTML) from ${address}; check HF_ENDPOINT and the proxy`,
  )
}
