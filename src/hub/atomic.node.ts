// Writes files so that a kill or a full disk at any moment leaves the old file whole: a temporary file in the same
// folder, synced, then renamed over the old one. Node only.
import { randomBytes } from 'node:crypto'
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
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

/** Calls `write` with a new file and puts that in the place of `path` once it is safely on disk. */
export async function replaceFile(path: string, write: (handle: FileHandle) => Promise<void>): Promise<void> {
  const folder = dirname(path)
  const temporary = join(folder, `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`)
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

/** Writes all of `bytes` at the handle's position; a single write may stop short. */
export async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  // Node refuses single writes of 2 GiB and more.
  const most = 1 << 28
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, Math.min(most, bytes.length - done))
    done += bytesWritten
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
