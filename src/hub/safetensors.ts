// The safetensors container: parses and checks a header, lays out a new one, and reads tensors from bytes in memory.
// Everything in a file is hostile until checked here. Knows nothing of files (safetensors.node.ts) or of tensors.
//
// The format: 8 bytes little-endian header length, a JSON header {name: {dtype, shape, data_offsets}}, then the data.
// Offsets count from the start of the data; the tensors cover it without holes or overlaps.
import {
  CheckpointError,
  type CheckpointReader,
  quoted,
  type StoredDtype,
  type StoredTensor,
  storedBytes,
  storedDtypes,
} from './checkpoint.js'
import type { Ranges } from './ranges.js'

/** The format's own limit; it keeps a forged length from exhausting memory. */
export const maxHeaderBytes = 100_000_000

export type SafetensorsFault =
  | 'header-length'
  | 'header-json'
  | 'duplicate-name'
  | 'metadata'
  | 'entry'
  | 'dtype'
  | 'shape'
  | 'offsets'
  | 'size'
  | 'overlap'
  | 'hole'
  | 'value'
  | 'no-tensor'
  | 'truncated'

/** A safetensors file is not what it claims to be. `tensor` is null where the fault is not one tensor's. */
export class SafetensorsError extends CheckpointError {
  override name = 'SafetensorsError'
  declare readonly fault: SafetensorsFault
  // The constructor narrows the faults.
  constructor(file: string, tensor: string | null, fault: SafetensorsFault, detail: string) {
    super(file, tensor, fault, detail)
  }
}

export interface SafetensorsEntry extends StoredTensor {
  /** First byte and end of the data, counted from the start of the file. */
  readonly begin: number
  readonly end: number
}

export interface SafetensorsHeader {
  readonly metadata: Readonly<Record<string, string>>
  /** In the order of their data. */
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>
}

/** An open safetensors file. */
export interface SafetensorsReader extends CheckpointReader, SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>
}

/** The length of the JSON header from the first 8 bytes of a file of `fileBytes` bytes. */
export function headerLength(prefix: Uint8Array, fileBytes: number, file: string): number {
  const fail = (detail: string) => new SafetensorsError(file, null, 'header-length', detail)
  if (fileBytes < 8) throw fail(`expected a safetensors file of at least 8 bytes, got ${fileBytes}`)
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true)
  if (length > BigInt(maxHeaderBytes)) {
    throw fail(`header length ${length} is over the limit of ${maxHeaderBytes} bytes; is this a safetensors file?`)
  }
  if (Number(length) > fileBytes - 8) {
    throw fail(
      `header length ${length} is beyond the file's ${fileBytes} bytes; the file is cut off or is not safetensors`,
    )
  }
  return Number(length)
}

/** Parses and checks the JSON header of a file of `fileBytes` bytes. */
export function parseHeader(json: Uint8Array, fileBytes: number, file: string): SafetensorsHeader {
  const parsed = parseJsonObject(json, file)
  const metadata = checkMetadata(parsed.__metadata__, file)
  const dataStart = 8 + json.length
  const entries = Object.entries(parsed)
    .filter(([name]) => name !== '__metadata__')
    .map(([name, value]) => [name, checkEntry(name, value, dataStart, fileBytes, file)] as const)
  entries.sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)

  let covered = dataStart
  let previous = ''
  for (const [name, { begin, end }] of entries) {
    if (begin < covered) {
      const detail = `data_offsets begin at ${begin - dataStart}, inside the data of ${quoted(previous)}`
      throw new SafetensorsError(file, name, 'overlap', `${detail}; tensors must not overlap`)
    }
    if (begin > covered) {
      const detail = `data_offsets begin at ${begin - dataStart}, expected ${covered - dataStart}`
      throw new SafetensorsError(file, name, 'hole', `${detail}; tensors must cover the data without holes`)
    }
    covered = end
    previous = name
  }
  if (covered !== fileBytes) {
    const detail = `${fileBytes - covered} bytes follow the last tensor; expected the file to end at byte ${covered}`
    throw new SafetensorsError(file, null, 'hole', detail)
  }
  return { metadata, tensors: new Map(entries) }
}

/** Opens a safetensors file by its header; data are read when asked for. Closing it closes `ranges`. */
export async function readSafetensors(ranges: Ranges): Promise<SafetensorsReader> {
  const { file, size } = ranges
  const fill = async (target: Uint8Array, position: number, tensor: string | null) => {
    const found = await ranges.readInto(target, position)
    if (found === target.length) return target
    const detail = `expected data up to byte ${position + target.length}, but the file now ends at ${position + found}`
    throw new SafetensorsError(file, tensor, 'truncated', `${detail}; it was changed while open`)
  }
  const length = headerLength(await fill(new Uint8Array(Math.min(8, size)), 0, null), size, file)
  const header = parseHeader(await fill(new Uint8Array(length), 8, null), size, file)
  return {
    file,
    ...header,
    async read(name) {
      const { begin, end } = entryOf(header, name, file)
      return fill(new Uint8Array(end - begin), begin, name)
    },
    async readInto(name, offset, target) {
      await fill(target, entryOf(header, name, file).begin + offset, name)
    },
    locate: (name) => ({ ranges, begin: entryOf(header, name, file).begin }),
    close: () => ranges.close(),
  }
}

/** Reads a whole safetensors file that is in memory. Tensors are views of `bytes` where their alignment allows it. */
export function parseSafetensors(bytes: Uint8Array, file = 'safetensors bytes'): SafetensorsReader {
  const length = headerLength(bytes, bytes.length, file)
  const header = parseHeader(bytes.subarray(8, 8 + length), bytes.length, file)
  return {
    file,
    ...header,
    async read(name) {
      const { dtype, begin, end } = entryOf(header, name, file)
      const view = bytes.subarray(begin, end)
      return view.byteOffset % storedDtypes[dtype] === 0 ? view : view.slice()
    },
    async readInto(name, offset, target) {
      const begin = entryOf(header, name, file).begin + offset
      target.set(bytes.subarray(begin, begin + target.length))
    },
    locate: () => null,
    async close() {},
  }
}

/** The entry called `name`, or an error that says what the file holds instead. */
export function entryOf(header: SafetensorsHeader, name: string, file: string): SafetensorsEntry {
  const entry = header.tensors.get(name)
  if (entry) return entry
  const held = [...header.tensors.keys()].slice(0, 3).map(quoted).join(', ')
  const detail = `no such tensor; the file holds ${header.tensors.size}${held && ` (${held}, ...)`}`
  throw new SafetensorsError(file, name, 'no-tensor', detail)
}

export interface TensorToWrite {
  readonly name: string
  readonly dtype: Exclude<StoredDtype, 'I64' | 'F64'>
  readonly shape: readonly number[]
  /** Called once, when the writer has come to this tensor, so that no more than one tensor is in memory. */
  readonly bytes: () => Promise<Uint8Array>
}

export interface SafetensorsLayout {
  /** Length prefix and padded JSON header: everything before the data. */
  readonly head: Uint8Array
  /** The tensors in the order in which their data follow. */
  readonly order: readonly TensorToWrite[]
}

/** Lays out a new file: widest dtype first, then by name, so that every tensor is aligned to its dtype. */
export function layoutSafetensors(
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>>,
  file: string,
): SafetensorsLayout {
  const order = [...tensors].sort(
    (a, b) => storedDtypes[b.dtype] - storedDtypes[a.dtype] || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
  )
  // A null prototype keeps a tensor called __proto__ an ordinary key.
  const header: Record<string, unknown> = Object.create(null)
  if (Object.keys(metadata).length > 0) header.__metadata__ = metadata
  let offset = 0
  for (const { name, dtype, shape } of order) {
    if (name in header || name === '__metadata__') {
      throw new SafetensorsError(file, name, 'duplicate-name', 'expected each name once, and not __metadata__')
    }
    const end = offset + storedBytes({ dtype, shape })
    if (!Number.isSafeInteger(end)) throw new SafetensorsError(file, name, 'shape', `shape [${shape}] is too large`)
    header[name] = { dtype, shape, data_offsets: [offset, end] }
    offset = end
  }
  const json = new TextEncoder().encode(JSON.stringify(header))
  const padded = Math.ceil(json.length / 8) * 8
  if (padded > maxHeaderBytes) {
    throw new SafetensorsError(
      file,
      null,
      'header-length',
      `the header would be ${padded} bytes; limit ${maxHeaderBytes}`,
    )
  }
  const head = new Uint8Array(8 + padded).fill(0x20)
  new DataView(head.buffer).setBigUint64(0, BigInt(padded), true)
  head.set(json, 8)
  return { head, order }
}

/** Takes the bytes of a tensor to be written, and checks that there are as many as its dtype and shape say. */
export async function bytesToWrite(tensor: TensorToWrite, file: string): Promise<Uint8Array> {
  const bytes = await tensor.bytes()
  const expected = storedBytes(tensor)
  if (bytes.length !== expected) {
    const detail = `expected ${expected} bytes for ${tensor.dtype} [${tensor.shape}], got ${bytes.length}`
    throw new SafetensorsError(file, tensor.name, 'size', detail)
  }
  return bytes
}

/** A whole safetensors file in memory, for pages and small states. */
export async function serializeSafetensors(
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = {},
  file = 'safetensors bytes',
): Promise<Uint8Array> {
  const { head, order } = layoutSafetensors(tensors, metadata, file)
  const total = order.reduce((sum, { dtype, shape }) => sum + storedBytes({ dtype, shape }), head.length)
  const out = new Uint8Array(total)
  out.set(head)
  let offset = head.length
  for (const tensor of order) {
    const bytes = await bytesToWrite(tensor, file)
    out.set(bytes, offset)
    offset += bytes.length
  }
  return out
}

function parseJsonObject(json: Uint8Array, file: string): Record<string, unknown> {
  const fail = (detail: string) =>
    new SafetensorsError(file, null, 'header-json', `expected the header to be a JSON object, ${detail}`)
  let text: string
  let parsed: unknown
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(json)
  } catch {
    throw fail('got bytes that are not UTF-8')
  }
  try {
    parsed = JSON.parse(text)
  } catch {
    throw fail(`got text that is not JSON: ${quoted(text.slice(0, 20))}`)
  }
  if (!text.startsWith('{')) throw fail(`got ${quoted(text.slice(0, 20))}`)
  const twice = duplicateKey(text)
  if (twice !== null) {
    throw new SafetensorsError(
      file,
      null,
      'duplicate-name',
      `${quoted(twice)} stands twice in the header; expected it once`,
    )
  }
  return parsed as Record<string, unknown>
}

function checkMetadata(value: unknown, file: string): Record<string, string> {
  if (value === undefined) return {}
  const fail = (got: string) =>
    new SafetensorsError(file, null, 'metadata', `expected __metadata__ to map strings to strings, got ${got}`)
  if (!isObject(value)) throw fail(short(value))
  for (const [key, item] of Object.entries(value)) {
    if (typeof item !== 'string') throw fail(`${short(item)} at ${quoted(key)}`)
  }
  return value as Record<string, string>
}

function checkEntry(
  name: string,
  value: unknown,
  dataStart: number,
  fileBytes: number,
  file: string,
): SafetensorsEntry {
  const fail = (fault: SafetensorsFault, detail: string) => new SafetensorsError(file, name, fault, detail)
  if (!isObject(value)) throw fail('entry', `expected {dtype, shape, data_offsets}, got ${short(value)}`)
  const { dtype, shape, data_offsets: offsets } = value
  if (typeof dtype !== 'string' || !Object.hasOwn(storedDtypes, dtype)) {
    throw fail('dtype', `expected dtype to be one of ${Object.keys(storedDtypes).join(', ')}, got ${short(dtype)}`)
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) {
    throw fail('shape', `expected shape to be a list of sizes, got ${short(shape)}`)
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    throw fail('offsets', `expected data_offsets to be [begin, end], got ${short(offsets)}`)
  }
  const [begin, end] = offsets as [number, number]
  if (begin > end) throw fail('offsets', `data_offsets [${begin}, ${end}] run backwards`)
  if (end > fileBytes - dataStart) {
    const detail = `data_offsets end at ${end}, beyond the file's ${fileBytes - dataStart} bytes of data`
    throw fail('offsets', `${detail}; the file is cut off or its header is wrong`)
  }
  const bytes = storedBytes({ dtype: dtype as StoredDtype, shape })
  if (bytes !== end - begin) {
    throw fail('size', `expected ${bytes} bytes for ${dtype} [${shape}], got ${end - begin} by data_offsets`)
  }
  return { dtype: dtype as StoredDtype, shape, begin: dataStart + begin, end: dataStart + end }
}

/** The first key that stands twice in one object of a valid JSON text. JSON.parse keeps the last in silence. */
function duplicateKey(text: string): string | null {
  const open: (Set<string> | null)[] = []
  for (let i = 0; i < text.length; i++) {
    const char = text[i]
    if (char === '{') open.push(new Set())
    else if (char === '[') open.push(null)
    else if (char === '}' || char === ']') open.pop()
    else if (char === '"') {
      const start = i++
      while (text[i] !== '"') i += text[i] === '\\' ? 2 : 1
      let next = i + 1
      while (/\s/.test(text[next])) next++
      if (text[next] !== ':') continue
      const key = JSON.parse(text.slice(start, i + 1)) as string
      const keys = open.at(-1)
      if (keys?.has(key)) return key
      keys?.add(key)
    }
  }
  return null
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isSize(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function short(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing'
  return text.length > 80 ? `${text.slice(0, 80)}...` : text
}
