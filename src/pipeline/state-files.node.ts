// Saved states on disk. Node only.
import { readFile } from 'node:fs/promises'
import { replaceFile, writeAll } from '../hub/atomic.node.js'

export const saveBytes = (path: string, bytes: Uint8Array): Promise<void> =>
  replaceFile(path, (handle) => writeAll(handle, bytes))

export const loadBytes = async (path: string): Promise<Uint8Array> => new Uint8Array(await readFile(path))
