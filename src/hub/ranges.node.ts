// Files on disk as ranges. Node only.
import { open } from 'node:fs/promises'
import { MambakitError } from '../errors.js'
import type { Ranges } from './ranges.js'

/** Node refuses single reads of 2 GiB and more. */
const mostAtOnce = 1 << 28

/** Opens a file. Throws a system error, or a MambakitError where it is a folder or a device. */
export async function openRanges(file: string): Promise<Ranges> {
  const handle = await open(file, 'r')
  try {
    const status = await handle.stat()
    if (!status.isFile())
      throw new MambakitError(`${file}: expected a file, got ${status.isDirectory() ? 'a folder' : 'a device or pipe'}`)
    return {
      file,
      path: file,
      descriptor: handle.fd,
      size: status.size,
      async readInto(target, position) {
        let done = 0
        while (done < target.length) {
          const { bytesRead } = await handle.read(
            target,
            done,
            Math.min(mostAtOnce, target.length - done),
            position + done,
          )
          if (bytesRead === 0) break
          done += bytesRead
        }
        return done
      },
      close: () => handle.close(),
    }
  } catch (error) {
    await handle.close()
    throw error
  }
}
