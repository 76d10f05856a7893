// Writes files and folders so that a kill or a full disk at any moment leaves the old one whole: a temporary one beside
// it, synced, then renamed into its place. Node only.
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { MambakitError } from '../errors.js'

/** The disk was full; the file that was to be replaced is as it was. */
export class DiskFullError extends MambakitError {
  override name = 'DiskFullError'
  constructor(readonly file: string) {
    super(
      `${file}: the disk is full; nothing was overwritten. Free some space or choose another folder, then save again`,
    )
  }
}

let saves = 0

/** Names the writing process, so that what a killed one left behind can be told from what is being written. */
function temporaryName(path: string, pid: number, save: number): string {
  return `.${basename(path)}.${hostname()}-${pid}-${save}.tmp`
}

/** Calls `write` with a new file and puts that in the place of `path` once it is safely on disk. */
export async function replaceFile(path: string, write: (handle: FileHandle) => Promise<void>): Promise<void> {
  const folder = dirname(path)
  await removeLeftovers(path)
  const temporary = join(folder, temporaryName(path, process.pid, ++saves))
  try {
    const handle = await open(temporary, 'wx')
    try {
      await write(handle)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    const { code } = error as NodeJS.ErrnoException
    throw code === 'ENOSPC' || code === 'EDQUOT' ? new DiskFullError(path) : error
  }
  await syncFolder(folder)
}

export interface ReplaceFolderOptions {
  /** Whether a folder that is there may be replaced. Default false. */
  readonly force?: boolean
  /** Whether a file of that folder is one that this may delete; another one saves the folder from it. */
  readonly ours: (name: string) => boolean
}

/**
 * Calls `write` with a new folder and puts that in the place of `path` once it is whole; each file must have been synced.
 * Throws a MambakitError where `path` is there and must not be replaced.
 */
export async function replaceFolder(
  path: string,
  options: ReplaceFolderOptions,
  write: (folder: string) => Promise<void>,
): Promise<void> {
  const place = resolve(path)
  const parent = dirname(place)
  /** Where the old folder is while the new one takes its place. */
  const old = join(parent, `.${basename(place)}.replaced`)
  await mkdir(parent, { recursive: true })
  if ((await isFolder(old)) && !(await isFolder(place))) await rename(old, place)
  await refuseToReplace(path, options)
  await removeLeftovers(place)
  const temporary = join(parent, temporaryName(place, process.pid, ++saves))
  try {
    await mkdir(temporary)
    await write(temporary)
    await syncFolder(temporary)
    // Something may have come while this was being written.
    await refuseToReplace(path, options)
    await rm(old, { recursive: true, force: true })
    if (await isFolder(place)) await rename(place, old)
    await rename(temporary, place)
  } catch (error) {
    await rm(temporary, { recursive: true, force: true })
    const { code } = error as NodeJS.ErrnoException
    throw code === 'ENOSPC' || code === 'EDQUOT' ? new DiskFullError(path) : error
  }
  await syncFolder(parent)
  await rm(old, { recursive: true, force: true })
}

async function refuseToReplace(path: string, { force = false, ours }: ReplaceFolderOptions): Promise<void> {
  const found = await stat(path).catch(() => null)
  if (!found) return
  if (!found.isDirectory()) throw new MambakitError(`${path}: is a file; expected a folder, or none yet`)
  const names = await readdir(path)
  if (names.length > 0 && !force)
    throw new MambakitError(`${path}: is there already; choose another folder, or replace it with --force`)
  const foreign = names.find((name) => !ours(name))
  if (foreign !== undefined)
    throw new MambakitError(
      `${path}: holds ${JSON.stringify(foreign)}, which is no part of a model; it is not replaced`,
    )
}

const isFolder = (path: string) =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  )

/** Writes all of `bytes` at the handle's position; a single write may stop short. */
export async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  // Node refuses single writes of 2 GiB and more.
  const most = 1 << 28
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, Math.min(most, bytes.length - done))
    done += bytesWritten
  }
}

/** Removes temporary files of `path` whose process on this machine is gone: a run killed again and again fills no disk. */
async function removeLeftovers(path: string): Promise<void> {
  const prefix = `.${basename(path)}.${hostname()}-`
  for (const name of await readdir(dirname(path))) {
    const pid = name.startsWith(prefix) ? /^(\d+)-\d+\.tmp$/.exec(name.slice(prefix.length))?.[1] : undefined
    if (pid !== undefined && !isAlive(Number(pid)))
      await rm(join(dirname(path), name), { recursive: true, force: true })
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

/** Makes the rename itself durable. Some systems cannot open folders; there the file is still whole, old or new. */
async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch (error) {
    if (!['EISDIR', 'EPERM', 'EACCES', 'EINVAL'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  }
}
