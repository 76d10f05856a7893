// The files that a user's paths name: files as they are, folders searched for given extensions in natural order. Opens
// them as byte sources. Node only.
import { type FileHandle, open, readdir, realpath, stat } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { type ByteSource, DataError } from './bytes.js'

/** Files kept open; beyond these, a file is opened for every read, so that no system limit is met. */
const mostOpen = 64
let openFiles = 0

/**
 * The files that `paths` name: a file counts whatever it is called, a folder gives the files below it with one of
 * `extensions` ('.txt'), hidden ones aside, in natural order (chapter_2 before chapter_10). Empty files of folders are
 * left out. Throws DataError where a path does not exist or a folder has no such file.
 */
export async function findFiles(paths: readonly string[], extensions: readonly string[]): Promise<ByteSource[]> {
  const found: ByteSource[] = []
  for (const path of paths) {
    const status = await stat(path).catch((error: NodeJS.ErrnoException) => {
      throw error.code === 'ENOENT' ? new DataError(path, 'no such file or folder') : error
    })
    if (status.isFile()) found.push(fileSource(path, status.size))
    else if (status.isDirectory()) {
      const inside = await filesBelow(path, extensions, new Set())
      if (inside.length === 0)
        throw new DataError(path, `expected files ending in ${extensions.join(', ')} in this folder`)
      found.push(...inside)
    } else throw new DataError(path, 'expected a file or a folder')
  }
  return found
}

async function filesBelow(folder: string, extensions: readonly string[], seen: Set<string>): Promise<ByteSource[]> {
  const real = await realpath(folder)
  // A link may lead back to a folder above it.
  if (seen.has(real)) return []
  seen.add(real)
  const found: ByteSource[] = []
  const names = (await readdir(folder)).filter((name) => !name.startsWith('.')).sort(naturalOrder)
  for (const name of names) {
    const path = join(folder, name)
    const status = await stat(path).catch(() => null)
    if (status?.isDirectory()) found.push(...(await filesBelow(path, extensions, seen)))
    else if (status?.isFile() && status.size > 0 && extensions.includes(extname(name).toLowerCase())) {
      found.push(fileSource(path, status.size))
    }
  }
  return found
}

/** A file of known size, opened when first read. */
export function fileSource(path: string, size: number): ByteSource {
  let kept: Promise<FileHandle> | null = null
  const readFrom = async (handle: FileHandle, offset: number, length: number): Promise<Uint8Array> => {
    const out = new Uint8Array(length)
    for (let done = 0; done < length; ) {
      const { bytesRead } = await handle.read(out, done, length - done, offset + done)
      if (bytesRead === 0) {
        const detail = `expected ${size} bytes, but the file now ends at byte ${offset + done}`
        throw new DataError(path, `${detail}; it changed while it was being read`)
      }
      done += bytesRead
    }
    return out
  }
  return {
    name: path,
    size,
    async read(offset, length) {
      if (kept === null && openFiles < mostOpen) {
        openFiles++
        kept = open(path, 'r').catch((error) => {
          openFiles--
          kept = null
          throw error
        })
      }
      if (kept) return readFrom(await kept, offset, length)
      const handle = await open(path, 'r')
      try {
        return await readFrom(handle, offset, length)
      } finally {
        await handle.close()
      }
    },
    async close() {
      if (kept === null) return
      const handle = kept
      kept = null
      openFiles--
      await (await handle).close()
    },
  }
}

/** Orders names with runs of digits by their value, other characters by code unit. */
export function naturalOrder(a: string, b: string): number {
  const split = (name: string) => name.match(/\d+|\D+/g) ?? []
  const [left, right] = [split(a), split(b)]
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const bothNumbers = /\d/.test(left[i]) && /\d/.test(right[i])
    const order = bothNumbers ? Number(left[i]) - Number(right[i]) : codeUnitOrder(left[i], right[i])
    if (order !== 0) return order
  }
  return left.length - right.length || codeUnitOrder(a, b)
}

function codeUnitOrder(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
