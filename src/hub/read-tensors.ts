// Tensors of a checkpoint onto a device. A device that can reads them from the file by itself, or shares the system's copy
// of it; else they are uploaded in pieces of limited size, several being read at a time. None is in the host's memory whole.
import { type Backend, bytesPerElement, type DeviceBuffer, type FileRange } from '../backend/types.js'
import { DeviceError } from '../errors.js'
import { empty, outsideScopes, Storage, Tensor } from '../tensor/index.js'
import { CheckpointError, type CheckpointReader, storedBytes, storedDtypes, type TensorPlace } from './checkpoint.js'
import { loadedDtype, narrowing, toTensorBytes } from './convert.js'
import type { Ranges } from './ranges.js'

export interface LoadOptions {
  readonly backend: Backend
  /** Told of every tensor that had to be narrowed (int64, float64). Default: nobody. */
  readonly announce?: (message: string) => void
  /**
   * Share the system's copy of the file instead of copying: nothing is loaded twice, and memory is taken only as weights
   * are used. Its pages are small, so that decoding takes longer (measured: 15 %). Default false.
   */
  readonly map?: boolean
}

/** Large enough for a disk, small beside a model; a multiple of every element's size. */
export const pieceBytes = 6 << 20
const readsAtOnce = 3
/** Bytes between two tensors that are read along with them: the headers inside a PyTorch file. */
const widestGap = 4096

/** Some bytes of one tensor. */
interface Part {
  /** Of the tensor in the list. */
  readonly tensor: number
  /** In the tensor, in bytes of the file's dtype. */
  readonly offset: number
  /** In the piece. */
  readonly at: number
  readonly length: number
}

/** What one read brings: parts of tensors that lie beside each other. */
interface Piece {
  readonly place: TensorPlace | null
  readonly parts: Part[]
  length: number
}

function cutIntoPieces(
  reader: CheckpointReader,
  names: readonly string[],
  there: ReadonlyMap<number, Tensor>,
): Piece[] {
  const pieces: Piece[] = []
  names.forEach((name, tensor) => {
    if (there.has(tensor)) return
    const place = reader.locate(name)
    const total = storedBytes(reader.tensors.get(name)!)
    for (let offset = 0; offset < total; ) {
      const last = pieces.at(-1)
      const begin = place && place.begin + offset
      const gap = last?.place && place?.ranges === last.place.ranges ? begin! - (last.place.begin + last.length) : -1
      const joins = last && gap >= 0 && gap <= widestGap && last.length + gap <= pieceBytes - 8
      const piece = joins ? last : { place: place && { ranges: place.ranges, begin: begin! }, parts: [], length: 0 }
      if (!joins) pieces.push(piece)
      const at = piece.length + (joins ? gap : 0)
      // Whole elements: what does not fit is cut at a multiple of the widest.
      const room = pieceBytes - at
      const length = total - offset <= room ? total - offset : room - (room % 8)
      piece.parts.push({ tensor, offset, at, length })
      piece.length = at + length
      offset += length
    }
  })
  return pieces
}

/** Reads tensors, best in the order of their data. Throws CheckpointError where a value does not fit its dtype. */
export async function readTensors(
  reader: CheckpointReader,
  names: readonly string[],
  { backend, announce = () => {}, map = false }: LoadOptions,
): Promise<Tensor[]> {
  const entries = names.map((name) => reader.tensors.get(name)!)
  const sources = entries.map(({ dtype }, i) => ({ file: reader.file, name: names[i], dtype }))
  if (map && !backend.mapRanges)
    throw new DeviceError(`map: device ${backend.device} cannot share files; leave it out, or choose native`)
  const tensors = await (map ? mapTensors(reader, names, backend) : readDirectly(reader, names, backend))
  const pieces = cutIntoPieces(reader, names, tensors)
  const staging = Array.from(
    { length: Math.min(readsAtOnce, pieces.length) },
    () => new Uint8Array(Math.max(...pieces.map(({ length }) => length))),
  )
  const slotOf = (i: number) => i % staging.length
  const reading: Promise<void>[] = []
  const uploaded: Promise<unknown>[] = []
  const start = (i: number) => {
    const read = readPiece(reader, names, pieces[i], staging[slotOf(i)])
    // Its failure is met when its turn comes, if another one does not end everything before.
    read.catch(() => {})
    reading[slotOf(i)] = read
  }
  for (const source of sources) {
    const told = narrowing(source)
    if (told) announce(told)
  }
  const tensorAt = (i: number): Tensor => {
    const known = tensors.get(i)
    if (known) return known
    const { dtype, shape } = entries[i]
    const made = outsideScopes(() => empty(backend, shape, loadedDtype(dtype)))
    tensors.set(i, made)
    return made
  }
  try {
    for (let i = 0; i < staging.length; i++) start(i)
    for (let i = 0; i < pieces.length; i++) {
      await reading[slotOf(i)]
      // An upload copies its bytes and returns: no more of these copies may wait than pieces are being read.
      await uploaded[slotOf(i)]
      for (const { tensor, offset, at, length } of pieces[i].parts) {
        const first = offset / storedDtypes[entries[tensor].dtype]
        const bytes = toTensorBytes(sources[tensor], staging[slotOf(i)].subarray(at, at + length), first)
        const { buffer, dtype } = tensorAt(tensor)
        backend.upload(buffer, first * bytesPerElement[dtype], bytes)
        uploaded[slotOf(i)] = backend.download(buffer, 0, Math.min(4, buffer.bytes))
        uploaded[slotOf(i)].catch(() => {})
      }
      if (i + staging.length < pieces.length) start(i + staging.length)
    }
    await Promise.all(uploaded)
    return names.map((_, i) => tensorAt(i))
  } catch (error) {
    for (const tensor of tensors.values()) tensor.dispose()
    throw error
  }
}

/** A tensor whose bytes in a file are those it has on a device. */
interface PlacedTensor {
  /** Its place in the list. */
  readonly tensor: number
  readonly begin: number
  readonly bytes: number
  readonly width: number
}

/** The tensors that a device could take as they are, by their file. */
function placedTensors(reader: CheckpointReader, names: readonly string[]): ReadonlyMap<Ranges, PlacedTensor[]> {
  const byFile = new Map<Ranges, PlacedTensor[]>()
  names.forEach((name, tensor) => {
    const place = reader.locate(name)
    const entry = reader.tensors.get(name)!
    const bytes = storedBytes(entry)
    // What is narrowed or checked is read.
    if (!place || bytes === 0 || ['F64', 'I64', 'BOOL'].includes(entry.dtype)) return
    const placed = { tensor, begin: place.begin, bytes, width: storedDtypes[entry.dtype] }
    const others = byFile.get(place.ranges)
    if (others) others.push(placed)
    else byFile.set(place.ranges, [placed])
  })
  return byFile
}

/** The tensors that the device can have as parts of a mapped file, by their place in the list. */
async function mapTensors(
  reader: CheckpointReader,
  names: readonly string[],
  backend: Backend,
): Promise<Map<number, Tensor>> {
  const mapped = new Map<number, Tensor>()
  for (const [ranges, placed] of placedTensors(reader, names)) {
    const parts = placed.filter(({ begin, width }) => begin % width === 0)
    if (ranges.path === undefined || parts.length === 0) continue
    const begin = Math.min(...parts.map((part) => part.begin))
    await readThrough(ranges, begin, Math.max(...parts.map((part) => part.begin + part.bytes)))
    const buffers = mapOrNull(backend, ranges.path, parts)
    if (!buffers) continue
    for (const [i, { tensor }] of parts.entries()) {
      const { dtype, shape } = reader.tensors.get(names[tensor])!
      const storage = new Storage(backend, buffers[i])
      mapped.set(
        tensor,
        outsideScopes(() => new Tensor(storage, loadedDtype(dtype), shape)),
      )
    }
  }
  return mapped
}

/** The tensors that the device can read from a file by itself, by their place in the list. */
async function readDirectly(
  reader: CheckpointReader,
  names: readonly string[],
  backend: Backend,
): Promise<Map<number, Tensor>> {
  const made = new Map<number, Tensor>()
  if (!backend.readFile) return made
  try {
    for (const [{ descriptor }, placed] of placedTensors(reader, names)) {
      if (descriptor === undefined) continue
      const reads = placed.map(({ tensor, begin, bytes }) => {
        const { dtype, shape } = reader.tensors.get(names[tensor])!
        const each = outsideScopes(() => empty(backend, shape, loadedDtype(dtype)))
        made.set(tensor, each)
        return { buffer: each.buffer, offset: 0, begin, bytes }
      })
      const short = await backend.readFile(descriptor, reads)
      if (short === -1) continue
      // Read again, for the error that says what is wrong with it.
      const name = names[placed[short].tensor]
      await reader.read(name)
      throw new CheckpointError(reader.file, name, 'truncated', 'could not be read; the file was changed while open')
    }
    return made
  } catch (error) {
    for (const tensor of made.values()) tensor.dispose()
    throw error
  }
}

/** Some file systems map nothing; their files are read. */
function mapOrNull(backend: Backend, path: string, parts: readonly FileRange[]): DeviceBuffer[] | null {
  try {
    return backend.mapRanges!(path, parts)
  } catch (error) {
    if (error instanceof DeviceError) return null
    throw error
  }
}

/** Reads bytes into the system's cache, front to back, which is faster than page by page when they are first used. */
async function readThrough(ranges: Ranges, begin: number, end: number): Promise<void> {
  const piece = new Uint8Array(Math.min(end - begin, pieceBytes))
  for (let position = begin; position < end; position += piece.length)
    await ranges.readInto(piece.subarray(0, Math.min(piece.length, end - position)), position)
}

async function readPiece(
  reader: CheckpointReader,
  names: readonly string[],
  { place, parts, length }: Piece,
  target: Uint8Array,
): Promise<void> {
  if (place && parts.length > 1) {
    const found = await place.ranges.readInto(target.subarray(0, length), place.begin)
    if (found === length) return
  }
  // By name, where it is one tensor's, or where the file has been cut: then the error names the tensor.
  for (const { tensor, offset, at, length: bytes } of parts)
    await reader.readInto(names[tensor], offset, target.subarray(at, at + bytes))
}

/** Reads one tensor. */
export async function readTensor(reader: CheckpointReader, name: string, options: LoadOptions): Promise<Tensor> {
  const [tensor] = await readTensors(reader, [name], options)
  return tensor
}
