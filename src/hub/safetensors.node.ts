// Safetensors files on disk: opened by their header, read one tensor at a time, written atomically. Node only.
import { open } from 'node:fs/promises'
import { replaceFile, writeAll } from './atomic.node.js'
import {
  bytesToWrite,
  entryOf,
  headerLength,
  layoutSafetensors,
  parseHeader,
  SafetensorsError,
  type SafetensorsReader,
  type TensorToWrite,
} from './safetensors.js'

/** Opens a file and checks its whole header; data are read when asked for. Throws SafetensorsError or a system error. */
export async function openSafetensors(path: string): Promise<SafetensorsReader> {
  const handle = await open(path, 'r')
  /** Reads exactly `bytes` bytes into memory of their own, so that any typed array can view them. */
  const readAt = async (position: number, bytes: number, tensor: string | null): Promise<Uint8Array> => {
    const out = new Uint8Array(bytes)
    const most = 1 << 28 // Node refuses single reads of 2 GiB and more.
    for (let done = 0; done < bytes; ) {
      const { bytesRead } = await handle.read(out, done, Math.min(most, bytes - done), position + done)
      if (bytesRead === 0) {
        const detail = `expected data up to byte ${position + bytes}, but the file now ends at ${position + done}`
        throw new SafetensorsError(path, tensor, 'truncated', `${detail}; it was changed while open`)
      }
      done += bytesRead
    }
    return out
  }
  try {
    const status = await handle.stat()
    if (!status.isFile()) {
      const got = status.isDirectory() ? 'a folder' : 'a device or pipe'
      throw new SafetensorsError(path, null, 'not-a-file', `expected a safetensors file, got ${got}`)
    }
    const { size } = status
    const length = headerLength(await readAt(0, Math.min(8, size), null), size, path)
    const header = parseHeader(await readAt(8, length, null), size, path)
    return {
      file: path,
      ...header,
      async read(name) {
        const { begin, end } = entryOf(header, name, path)
        return readAt(begin, end - begin, name)
      },
      close: () => handle.close(),
    }
  } catch (error) {
    await handle.close()
    throw error
  }
}

/**
 * Writes a safetensors file, one tensor in memory at a time. Until all of it is on disk, an older file at `path` stays
 * as it was; so it does when the disk is full (DiskFullError) or a tensor's bytes do not fit its shape.
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { head, order } = layoutSafetensors(tensors, metadata, path)
  await replaceFile(path, async (handle) => {
    await writeAll(handle, head)
    for (const tensor of order) await writeAll(handle, await bytesToWrite(tensor, path))
  })
}
