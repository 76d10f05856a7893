// The directory of a zip file whose entries are stored as they are, as torch.save writes it: where each entry's bytes
// lie. Compressed or encrypted entries are refused; so is every range that leaves the file or runs into another.
import { CheckpointError, quoted } from './checkpoint.js'
import type { Ranges } from './ranges.js'

export type ZipFault = 'zip' | 'zip-cut-off' | 'zip-compressed' | 'zip-encrypted' | 'zip-range' | 'zip-duplicate'

/** A zip file is malformed, or not of the kind that torch.save writes. */
export class ZipError extends CheckpointError {
  override name = 'ZipError'
  declare readonly fault: ZipFault
  // The constructor narrows the faults.
  constructor(file: string, fault: ZipFault, detail: string) {
    super(file, null, fault, detail)
  }
}

/** Bytes [begin, end) of the file. */
export interface ZipEntry {
  readonly begin: number
  readonly end: number
}

const signatures = { local: 0x04034b50, central: 0x02014b50, end: 0x06054b50, end64: 0x06064b50, locator64: 0x07064b50 }
/** Bytes of the fixed part of each record. */
const sizes = { local: 30, central: 46, end: 22, end64: 56, locator64: 20 }
const maxComment = 0xffff
/** No checkpoint has a directory like this; it keeps a forged length from exhausting memory. */
const maxDirectoryBytes = 1 << 26

/** Reads the directory of a zip file. Throws ZipError. */
export async function readZipDirectory(ranges: Ranges): Promise<ReadonlyMap<string, ZipEntry>> {
  const { file, size } = ranges
  const fail = (fault: ZipFault, detail: string) => new ZipError(file, fault, detail)
  const at = async (position: number, length: number, what: string): Promise<DataView> => {
    if (!(position >= 0 && position + length <= size))
      throw fail('zip-range', `${what} would lie at byte ${position}, outside the file's ${size} bytes`)
    const bytes = new Uint8Array(length)
    if ((await ranges.readInto(bytes, position)) < length)
      throw fail('zip-cut-off', `the file now ends inside ${what}; it was changed while open`)
    return new DataView(bytes.buffer)
  }

  const { count, begin, length } = await findDirectory(ranges, at, fail)
  if (length > maxDirectoryBytes) throw fail('zip', `the zip directory takes ${length} bytes; this is no checkpoint`)
  const directory = await at(begin, length, 'the zip directory')
  const entries = new Map<string, ZipEntry>()
  const extents: Extent[] = []
  let position = 0
  for (let i = 0; i < count; i++) {
    if (position + sizes.central > length || directory.getUint32(position, true) !== signatures.central)
      throw fail('zip', `the zip directory ends at entry ${i} of ${count}`)
    const record = centralRecord(directory, position, fail)
    position = record.next
    if (entries.has(record.name))
      throw fail('zip-duplicate', `entry ${quoted(record.name)} stands twice in the zip file`)
    // Folders have no data.
    if (record.name.endsWith('/')) continue
    const what = `the header of entry ${quoted(record.name)}`
    const local = await at(record.header, sizes.local, what)
    if (local.getUint32(0, true) !== signatures.local) throw fail('zip', `${what} is not at byte ${record.header}`)
    const dataBegin = record.header + sizes.local + local.getUint16(26, true) + local.getUint16(28, true)
    const dataEnd = dataBegin + record.bytes
    if (dataEnd > begin)
      throw fail(
        'zip-range',
        `entry ${quoted(record.name)} would end at byte ${dataEnd}, beyond the data's ${begin} bytes`,
      )
    entries.set(record.name, { begin: dataBegin, end: dataEnd })
    extents.push({ name: record.name, begin: record.header, end: dataEnd })
  }
  refuseOverlaps(extents, fail)
  return entries
}

type Fail = (fault: ZipFault, detail: string) => ZipError
type ReadAt = (position: number, length: number, what: string) => Promise<DataView>

/** Where the directory lies, from the record at the end of the file, or from the 64-bit one before it. */
async function findDirectory(ranges: Ranges, at: ReadAt, fail: Fail) {
  const tailBytes = Math.min(ranges.size, sizes.end + maxComment)
  const start = ranges.size - tailBytes
  const tail = await at(start, tailBytes, 'the end of the zip file')
  let end = tailBytes - sizes.end
  // The comment after the record may hold its signature too; then the lengths disagree.
  while (
    end >= 0 &&
    !(tail.getUint32(end, true) === signatures.end && end + sizes.end + tail.getUint16(end + 20, true) === tailBytes)
  )
    end--
  if (end < 0) throw fail('zip-cut-off', 'the zip file has no directory at its end; the file is cut off')
  const found = {
    disks: tail.getUint16(end + 4, true),
    count: tail.getUint16(end + 10, true),
    length: tail.getUint32(end + 12, true),
    begin: tail.getUint32(end + 16, true),
  }
  const locatorAt = end - sizes.locator64
  if (locatorAt >= 0 && tail.getUint32(locatorAt, true) === signatures.locator64) {
    const record = await at(number64(tail, locatorAt + 8, fail), sizes.end64, 'the 64-bit end record')
    if (record.getUint32(0, true) !== signatures.end64)
      throw fail('zip', 'the 64-bit end record is not where it should be')
    found.disks = record.getUint32(16, true)
    found.count = number64(record, 32, fail)
    found.length = number64(record, 40, fail)
    found.begin = number64(record, 48, fail)
  }
  if (found.disks !== 0) throw fail('zip', 'the zip file is one part of several; join them first')
  return found
}

/** One record of the directory, with the 64-bit sizes that its extra field holds where the others are full. */
function centralRecord(view: DataView, position: number, fail: Fail) {
  const nameBytes = view.getUint16(position + 28, true)
  const extraBytes = view.getUint16(position + 30, true)
  const extraBegin = position + sizes.central + nameBytes
  const next = extraBegin + extraBytes + view.getUint16(position + 32, true)
  if (next > view.byteLength) throw fail('zip', 'the last entry of the zip directory is cut off')
  const name = new TextDecoder().decode(new Uint8Array(view.buffer, position + sizes.central, nameBytes))
  if (view.getUint16(position + 8, true) & 1) throw fail('zip-encrypted', `entry ${quoted(name)} is encrypted`)
  const method = view.getUint16(position + 10, true)
  if (method !== 0)
    throw fail(
      'zip-compressed',
      `entry ${quoted(name)} is compressed (method ${method}); expected it stored, as torch.save does: save it again`,
    )
  const full = 0xffffffff
  let stored = view.getUint32(position + 20, true)
  let bytes = view.getUint32(position + 24, true)
  let header = view.getUint32(position + 42, true)
  for (let at = extraBegin; at + 4 <= extraBegin + extraBytes; ) {
    const [id, length] = [view.getUint16(at, true), view.getUint16(at + 2, true)]
    let field = at + 4
    at = field + length
    if (at > extraBegin + extraBytes) throw fail('zip', `the extra field of entry ${quoted(name)} is cut off`)
    if (id !== 1) continue
    // Only the numbers that did not fit stand here, in this order.
    const take = (value: number) => {
      if (value !== full) return value
      if (field + 8 > at) throw fail('zip', `the 64-bit sizes of entry ${quoted(name)} are cut off`)
      field += 8
      return number64(view, field - 8, fail)
    }
    bytes = take(bytes)
    stored = take(stored)
    header = take(header)
  }
  if (stored !== bytes) throw fail('zip', `entry ${quoted(name)} is stored in ${stored} bytes but is ${bytes} long`)
  return { name, bytes, header, next }
}

function number64(view: DataView, position: number, fail: Fail): number {
  const value = Number(view.getBigUint64(position, true))
  if (!Number.isSafeInteger(value))
    throw fail('zip-range', `a 64-bit number of the zip directory is ${value}; no file is that long`)
  return value
}

/** An entry with its header. */
interface Extent extends ZipEntry {
  readonly name: string
}

function refuseOverlaps(extents: readonly Extent[], fail: Fail): void {
  const sorted = [...extents].sort((a, b) => a.begin - b.begin || a.end - b.end)
  for (let i = 1; i < sorted.length; i++) {
    const [before, { name, begin }] = [sorted[i - 1], sorted[i]]
    if (begin < before.end)
      throw fail('zip-range', `entry ${quoted(name)} begins inside the data of ${quoted(before.name)}`)
  }
}
