// The files of a zip archive in memory.
import { unzipSync } from 'fflate'
import { DataError } from './bytes.js'

/** More than any archive we take unpacks to. */
const mostBytes = 1 << 30

/** Contents by path, in the order of the archive; `wanted` picks by path. Throws DataError where it is no zip. */
export function readZip(
  name: string,
  bytes: Uint8Array,
  wanted: (path: string) => boolean = () => true,
): Map<string, Uint8Array> {
  let total = 0
  try {
    const files = unzipSync(bytes, {
      filter: ({ name: path, originalSize }) => {
        if (path.endsWith('/') || !wanted(path)) return false
        total += originalSize
        if (total > mostBytes) throw new Error(`unpacks to more than ${mostBytes} bytes`)
        return true
      },
    })
    return new Map(Object.entries(files))
  } catch (error) {
    throw new DataError(name, `expected a zip archive (${(error as Error).message})`)
  }
}
