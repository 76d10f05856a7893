// Bytes read at any position into memory of the caller: how the readers of checkpoints take their input, so that none
// holds a file whole. Files are in ranges.node.ts; a page has blobs.

export interface Ranges {
  /** The path or name that errors give. */
  readonly file: string
  /** Length in bytes when it was opened. */
  readonly size: number
  /** Where the bytes are a file that a device may map. */
  readonly path?: string
  /** Where the bytes are an open file that a device may read by itself. */
  readonly descriptor?: number
  /** Fills `target` from `position`. Returns the bytes there were: fewer only where the file has been cut since. */
  readInto(target: Uint8Array, position: number): Promise<number>
  close(): Promise<void>
}

export function memoryRanges(bytes: Uint8Array, file: string): Ranges {
  return {
    file,
    size: bytes.length,
    async readInto(target, position) {
      const found = bytes.subarray(position, position + target.length)
      target.set(found)
      return found.length
    },
    async close() {},
  }
}

/** A Blob or File of a page; the browser may keep it on disk. */
export function blobRanges(blob: Blob, file: string): Ranges {
  return {
    file,
    size: blob.size,
    async readInto(target, position) {
      const found = new Uint8Array(await blob.slice(position, position + target.length).arrayBuffer())
      target.set(found)
      return found.length
    },
    async close() {},
  }
}
