// An embedded database of the plainest kind: a file of JSON lines that only grows. A record counts once it is synced to
// disk; several processes may append at once; what a kill or a full disk cut off was never acknowledged and is skipped.
import { constants } from 'node:fs'
import { type FileHandle, mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { MambakitError } from '../../errors.js'

/** A record could not be kept, and nothing that depends on it was done. */
export class JournalError extends MambakitError {
  override name = 'JournalError'
}

interface Waiting {
  readonly line: string
  done(): void
  fail(error: unknown): void
}

export class Journal<R extends object> {
  readonly #handle: FileHandle
  readonly #waiting: Waiting[] = []
  #writing = false
  /** Bytes that `read` has seen. */
  #offset = 0
  #reading: Promise<R[]> = Promise.resolve([])

  private constructor(
    readonly file: string,
    handle: FileHandle,
  ) {
    this.#handle = handle
  }

  /** Opens a journal, a new one where there is none, readable by its owner only. */
  static async open<R extends object>(file: string): Promise<Journal<R>> {
    await mkdir(dirname(file), { recursive: true })
    const flags = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT
    return new Journal<R>(file, await open(file, flags, 0o600))
  }

  /** Resolves when the record is on disk. Records that wait at the same time share one sync. */
  append(record: R): Promise<void> {
    return new Promise((done, fail) => {
      this.#waiting.push({ line: `${JSON.stringify(record)}\n`, done, fail })
      if (!this.#writing) void this.#write()
    })
  }

  /** The records, of any process, that were added since the last call. */
  read(): Promise<R[]> {
    // One after the other: two at once would both see the same records.
    const records = this.#reading.then(() => this.#readNew())
    this.#reading = records.catch(() => [])
    return records
  }

  async #readNew(): Promise<R[]> {
    const { size } = await this.#handle.stat()
    const bytes = Buffer.alloc(size - this.#offset)
    let length = 0
    while (length < bytes.length) {
      const { bytesRead } = await this.#handle.read(bytes, length, bytes.length - length, this.#offset + length)
      if (bytesRead === 0) break
      length += bytesRead
    }
    // A line without its end is being written, or was cut off.
    const whole = bytes.subarray(0, length).lastIndexOf(0x0a) + 1
    this.#offset += whole
    return bytes
      .subarray(0, whole)
      .toString('utf8')
      .split('\n')
      .flatMap((line) => parsed<R>(line))
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }

  async #write(): Promise<void> {
    this.#writing = true
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0)
      try {
        const text = (await this.#endsInsideLine()) ? '\n' : ''
        await this.#writeWhole(Buffer.from(text + batch.map(({ line }) => line).join('')))
        await this.#handle.datasync()
        for (const { done } of batch) done()
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        const full = code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG'
        const why = full ? 'the disk is full; free some space' : `${code ?? (error as Error).message}`
        const failure = new JournalError(`${this.file}: cannot be written to, ${why}, then try again`)
        for (const { fail } of batch) fail(failure)
      }
    }
    this.#writing = false
  }

  async #writeWhole(bytes: Buffer): Promise<void> {
    for (let done = 0; done < bytes.length; )
      done += (await this.#handle.write(bytes, done, bytes.length - done)).bytesWritten
  }

  /** True after a write that was cut off: its line must not swallow the next one. */
  async #endsInsideLine(): Promise<boolean> {
    const { size } = await this.#handle.stat()
    if (size === 0) return false
    const last = Buffer.alloc(1)
    await this.#handle.read(last, 0, 1, size - 1)
    return last[0] !== 0x0a
  }
}

function parsed<R>(line: string): R[] {
  try {
    const record = JSON.parse(line)
    return typeof record === 'object' && record !== null ? [record] : []
  } catch {
    return []
  }
}
