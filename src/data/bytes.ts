// Bytes that can be read at any offset without holding all of them: the form in which data readers take their input.
// Files are in files.node.ts; a page has blobs. Also the error that every data reader throws.
import { MambakitError } from '../errors.js'

/** Data are not what a reader takes. The message names the file and the place in it. */
export class DataError extends MambakitError {
  override name = 'DataError'
  constructor(
    readonly file: string,
    detail: string,
  ) {
    super(`${file}: ${detail}`)
  }
}

export interface ByteSource {
  /** The path or name that errors give. */
  readonly name: string
  /** Length in bytes. */
  readonly size: number
  /** Exactly `length` bytes from `offset`; the range must lie inside the source. */
  read(offset: number, length: number): Promise<Uint8Array>
  close(): Promise<void>
}

/** A Blob or File of a page, or bytes in memory wrapped into a Blob. */
export function blobSource(name: string, blob: Blob): ByteSource {
  return {
    name,
    size: blob.size,
    read: async (offset, length) => new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer()),
    async close() {},
  }
}

/** All bytes of a source in order, in pieces of at most `most` bytes. */
export async function* pieces(source: ByteSource, most = 1 << 20): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < source.size; offset += most) {
    yield await source.read(offset, Math.min(most, source.size - offset))
  }
}

/** Sources one after another with `separator` between them, read as one. */
export function joinSources(sources: readonly ByteSource[], separator: Uint8Array): ByteSource {
  if (sources.length === 1) return sources[0]
  // starts[i] is where source i begins; its separator follows it.
  const starts: number[] = []
  let size = 0
  for (const source of sources) {
    starts.push(size)
    size += source.size + separator.length
  }
  size -= separator.length
  return {
    name: `${sources[0].name} and ${sources.length - 1} more`,
    size,
    async read(offset, length) {
      const out = new Uint8Array(length)
      for (let i = lastAtMost(starts, offset), at = offset; at < offset + length; i++) {
        const { size: own } = sources[i]
        const from = at - starts[i]
        const take = Math.min(own - from, offset + length - at)
        if (take > 0) {
          out.set(await sources[i].read(from, take), at - offset)
          at += take
        }
        const skipped = at - starts[i] - own
        const between = separator.subarray(skipped, skipped + offset + length - at)
        if (at < offset + length) out.set(between, at - offset)
        at += between.length
      }
      return out
    },
    async close() {
      for (const source of sources) await source.close()
    },
  }
}

/** The index of the last of the ascending `starts` that is <= value; starts[0] must be. */
export function lastAtMost(starts: readonly number[], value: number): number {
  let low = 0
  for (let high = starts.length; high - low > 1; ) {
    const middle = (low + high) >>> 1
    if (starts[middle] <= value) low = middle
    else high = middle
  }
  return low
}
