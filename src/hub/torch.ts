// PyTorch checkpoints (pytorch_model.bin): the pickle of a state dict beside its storages, in a zip file or in the older
// form of several pickles in a row. Tensors are read from their ranges; nothing in the file is run, nothing held twice.
import {
  CheckpointError,
  type CheckpointReader,
  quoted,
  type StoredDtype,
  type StoredTensor,
  storedBytes,
  storedDtypes,
} from './checkpoint.js'
import {
  maxPickleBytes,
  PersistentId,
  PickleCall,
  PickleError,
  PickleGlobal,
  PickleTuple,
  type PickleValue,
  readPickle,
  rebuildParameter,
  rebuildTensor,
} from './pickle.js'
import type { Ranges } from './ranges.js'
import { readZipDirectory } from './zip.js'

export type TorchFault =
  | 'torch-layout'
  | 'torch-byte-order'
  | 'torch-not-a-dict'
  | 'torch-not-a-tensor'
  | 'torch-storage'
  | 'torch-dtype'
  | 'torch-shape'
  | 'torch-range'
  | 'truncated'
  | 'no-tensor'

/** A PyTorch file does not hold a state dict as torch.save writes it. */
export class TorchError extends CheckpointError {
  override name = 'TorchError'
  declare readonly fault: TorchFault
  // The constructor narrows the faults.
  constructor(file: string, tensor: string | null, fault: TorchFault, detail: string) {
    super(file, tensor, fault, detail)
  }
}

const storageDtypes: Readonly<Record<string, StoredDtype>> = {
  'torch.DoubleStorage': 'F64',
  'torch.FloatStorage': 'F32',
  'torch.HalfStorage': 'F16',
  'torch.BFloat16Storage': 'BF16',
  'torch.LongStorage': 'I64',
  'torch.IntStorage': 'I32',
  'torch.CharStorage': 'I8',
  'torch.ByteStorage': 'U8',
  'torch.BoolStorage': 'BOOL',
}

/** Elements of one dtype under a key; views of one storage share it. */
interface Storage {
  readonly key: string
  readonly dtype: StoredDtype
  readonly elements: number
}

interface TorchTensor extends StoredTensor {
  readonly storage: Storage
  /** In elements. */
  readonly offset: number
  readonly strides: readonly number[]
}

/** Where the bytes of each storage begin in the file. */
type StoragePositions = ReadonlyMap<string, number>

/** Whether a file's first bytes are those of torch.save: a zip file, or a pickle where safetensors have their header. */
export function isTorchFile(prefix: Uint8Array): boolean {
  const isZip = prefix[0] === 0x50 && prefix[1] === 0x4b && prefix[2] === 3 && prefix[3] === 4
  return isZip || (prefix[0] === 0x80 && prefix[1] >= 2 && prefix[1] <= 5 && prefix[8] !== 0x7b)
}

/** Opens a PyTorch file; data are read when asked for. Throws CheckpointError. Closing it closes `ranges`. */
export async function readTorch(ranges: Ranges): Promise<CheckpointReader> {
  const prefix = new Uint8Array(Math.min(4, ranges.size))
  await ranges.readInto(prefix, 0)
  const { tensors, positions } = await (prefix[0] === 0x50 ? openZip(ranges) : openLegacy(ranges))
  return tensorReader(ranges, tensors, positions)
}

interface Opened {
  readonly tensors: ReadonlyMap<string, TorchTensor>
  readonly positions: StoragePositions
}

async function openZip(ranges: Ranges): Promise<Opened> {
  const { file } = ranges
  const entries = await readZipDirectory(ranges)
  const pickleName = [...entries.keys()].find((name) => /^[^/]+\/data\.pkl$/.test(name))
  if (pickleName === undefined)
    throw new TorchError(file, null, 'torch-layout', 'the zip file holds no data.pkl; expected one saved by torch.save')
  const archive = pickleName.slice(0, -'data.pkl'.length)
  const readEntry = async (name: string) => {
    const { begin, end } = entries.get(name)!
    return readWhole(ranges, begin, end - begin)
  }
  if (entries.has(`${archive}byteorder`)) {
    const order = new TextDecoder().decode((await readEntry(`${archive}byteorder`)).subarray(0, 20))
    if (order !== 'little') throw bigEndian(file, order)
  }
  const { value } = readPickle(await readEntry(pickleName), file)
  const { tensors, storages } = stateDict(value, file)
  const positions = new Map<string, number>()
  for (const storage of storages.values()) {
    const entry = entries.get(`${archive}data/${storage.key}`)
    const fail = (detail: string) =>
      new TorchError(file, null, 'torch-storage', `storage ${quoted(storage.key)}: ${detail}`)
    if (!entry) throw fail('the zip file holds no data for it')
    const expected = storage.elements * storedDtypes[storage.dtype]
    const got = entry.end - entry.begin
    if (got !== expected) throw fail(`expected ${expected} bytes (${storage.elements} of ${storage.dtype}), got ${got}`)
    positions.set(storage.key, entry.begin)
  }
  return { tensors, positions }
}

/** What opens the older form, before the protocol's number. */
const legacyMagic = 0x1950a86a20f9469cfc6cn

/** Magic number, protocol, facts of the system, state dict and keys as five pickles, then each storage after its length. */
async function openLegacy(ranges: Ranges): Promise<Opened> {
  const { file } = ranges
  const values: PickleValue[] = []
  let position = 0
  while (values.length < 5) {
    const { value, end } = await readPickleAt(ranges, position)
    values.push(value)
    if (values.length === 1 && value !== legacyMagic)
      throw new TorchError(
        file,
        null,
        'torch-layout',
        'the pickle is not one of torch.save; expected a state dict saved by it',
      )
    position = end
  }
  const [, , system, dict, keys] = values
  if (system instanceof Map && system.get('little_endian') === false) throw bigEndian(file, 'big')
  const { tensors, storages: used } = stateDict(dict, file)
  // The data of an optimizer's tensors lie between those of the weights.
  const storages = new Map([...storagesIn(dict, file), ...used])
  if (!Array.isArray(keys)) throw new TorchError(file, null, 'torch-layout', 'expected a list of storages, got none')
  const positions = new Map<string, number>()
  for (const key of keys) {
    const storage = typeof key === 'string' ? storages.get(key) : undefined
    if (!storage || positions.has(storage.key))
      throw new TorchError(file, null, 'torch-storage', 'the list of storages does not fit the tensors')
    const length = await readWhole(ranges, position, 8)
    const got = new DataView(length.buffer).getBigInt64(0, true)
    const begin = position + 8
    position = begin + storage.elements * storedDtypes[storage.dtype]
    if (got !== BigInt(storage.elements) || position > ranges.size) {
      const detail = `expected ${storage.elements} elements inside the file's ${ranges.size} bytes, got ${got} at byte ${begin}`
      throw new TorchError(file, null, 'torch-storage', `storage ${quoted(storage.key)}: ${detail}`)
    }
    positions.set(storage.key, begin)
  }
  for (const key of storages.keys())
    if (!positions.has(key))
      throw new TorchError(file, null, 'torch-storage', `storage ${quoted(key)}: the file holds no data for it`)
  return { tensors, positions }
}

/** All storages that a pickle names, whatever they belong to. */
function storagesIn(whole: PickleValue, file: string): Map<string, Storage> {
  const found = new Map<string, Storage>()
  const seen = new Set<PickleValue>()
  const left: PickleValue[] = [whole]
  for (let value = left.pop(); value !== undefined; value = left.pop()) {
    if (typeof value !== 'object' || value === null || seen.has(value)) continue
    seen.add(value)
    if (value instanceof PersistentId) {
      const storage = storageOf(value, (fault, detail) => new TorchError(file, null, fault, detail))
      found.set(storage.key, storage)
    } else for (const inner of partsOf(value)) left.push(inner)
  }
  return found
}

function partsOf(value: PickleValue): Iterable<PickleValue> {
  if (value instanceof Map) return value.values()
  if (value instanceof PickleCall) return value.args
  if (value instanceof PickleTuple) return value.items
  return Array.isArray(value) ? value : []
}

const bigEndian = (file: string, order: string) =>
  new TorchError(
    file,
    null,
    'torch-byte-order',
    `expected little-endian data, got byte order ${quoted(order)}; save it again on a little-endian machine`,
  )

async function readWhole(ranges: Ranges, position: number, length: number): Promise<Uint8Array> {
  if (length > maxPickleBytes)
    throw new TorchError(ranges.file, null, 'torch-layout', `data.pkl takes ${length} bytes; this is no state dict`)
  const bytes = new Uint8Array(Math.max(0, Math.min(length, ranges.size - position)))
  if ((await ranges.readInto(bytes, position)) < length)
    throw new TorchError(ranges.file, null, 'truncated', `the file is cut off at byte ${ranges.size}`)
  return bytes
}

/** A pickle of unknown length: more is read until it ends. */
async function readPickleAt(ranges: Ranges, position: number): Promise<{ value: PickleValue; end: number }> {
  for (let length = 1 << 16; ; length *= 4) {
    const bytes = await readWhole(ranges, position, Math.min(length, ranges.size - position))
    try {
      const { value, end } = readPickle(bytes, ranges.file)
      return { value, end: position + end }
    } catch (error) {
      const more = length < maxPickleBytes && position + length < ranges.size
      if (!(error instanceof PickleError && error.fault === 'pickle-cut-off' && more)) throw error
    }
  }
}

/** Under which names training code keeps the weights beside the rest of its state. */
const weightsKeys = ['model', 'state_dict']
/** A state dict lies no deeper in a training checkpoint. */
const mostNesting = 3

const isTensor = (value: PickleValue) =>
  value instanceof PickleCall && (value.callee === rebuildTensor || value.callee === rebuildParameter)

const holdsTensors = (dict: PickleDict) => [...dict.values()].some(isTensor)

const isStateDict = (dict: PickleDict) =>
  dict.size > 0 && [...dict].every(([name, value]) => typeof name === 'string' && isTensor(value))

type PickleDict = Map<PickleValue, PickleValue>

/** The state dicts inside a dict, each once, by the keys that lead to them. Those of an optimizer have numbers for names. */
function innerStateDicts(whole: PickleDict): [keys: readonly string[], dict: PickleDict][] {
  const found: [readonly string[], PickleDict][] = []
  const seen = new Set<PickleValue>()
  const search = (dict: PickleDict, keys: readonly string[]) => {
    for (const [key, value] of dict) {
      if (typeof key !== 'string' || !(value instanceof Map) || seen.has(value)) continue
      seen.add(value)
      if (isStateDict(value)) found.push([[...keys, key], value])
      else if (keys.length + 1 < mostNesting) search(value, [...keys, key])
    }
  }
  search(whole, [])
  return found
}

/** The dict that holds the weights: the whole, one under a usual name, or the only state dict inside. */
function weightsIn(whole: PickleValue, file: string): PickleValue {
  if (!(whole instanceof Map) || holdsTensors(whole)) return whole
  const named = weightsKeys.map((key) => whole.get(key)).find((value) => value instanceof Map && holdsTensors(value))
  if (named) return named
  const found = innerStateDicts(whole)
  if (found.length === 0) return whole
  if (found.length === 1) return found[0][1]
  const places = found.map(([keys]) => keys.map((key) => `[${quoted(key)}]`).join(''))
  throw new TorchError(
    file,
    null,
    'torch-not-a-dict',
    `holds ${found.length} state dicts: ${places.slice(0, 8).join(', ')}${places.length > 8 ? ', ...' : ''}; save the one to take by itself: torch.save(torch.load(file)${places[0]}, ...)`,
  )
}

/** The tensors of a state dict's pickle, or of the one that a training checkpoint holds, each checked against its storage. */
function stateDict(whole: PickleValue, file: string) {
  const value = weightsIn(whole, file)
  if (!(value instanceof Map))
    throw new TorchError(
      file,
      null,
      'torch-not-a-dict',
      `expected a state dict, got ${describe(value)}; save model.state_dict()`,
    )
  const storages = new Map<string, Storage>()
  const tensors = new Map<string, TorchTensor>()
  for (const [name, item] of value) {
    if (typeof name !== 'string')
      throw new TorchError(file, null, 'torch-not-a-dict', `expected names of tensors, got ${describe(name)}`)
    tensors.set(name, tensorOf(name, item, storages, file))
  }
  return { tensors, storages }
}

function tensorOf(name: string, value: PickleValue, storages: Map<string, Storage>, file: string): TorchTensor {
  const fail = (fault: TorchFault, detail: string) => new TorchError(file, name, fault, detail)
  const call = value instanceof PickleCall && value.callee === rebuildParameter ? value.args[0] : value
  if (!(call instanceof PickleCall && call.callee === rebuildTensor))
    throw fail('torch-not-a-tensor', `expected a tensor, got ${describe(value)}; save model.state_dict() by itself`)
  const [stored, offset, shapeTuple, stridesTuple] = call.args
  const storage = storageOf(stored, fail)
  const known = storages.get(storage.key)
  if (known && (known.dtype !== storage.dtype || known.elements !== storage.elements))
    throw fail('torch-storage', `storage ${quoted(storage.key)} is described in two ways`)
  storages.set(storage.key, storage)

  const shape = sizes(shapeTuple)
  const strides = sizes(stridesTuple)
  if (!shape || !strides || shape.length !== strides.length || !isSize(offset))
    throw fail(
      'torch-shape',
      `expected an offset, sizes and strides, got ${[offset, shapeTuple, stridesTuple].map(describe)}`,
    )
  const count = storedBytes({ dtype: 'U8', shape })
  // An empty tensor reaches no element, but must not begin outside either.
  const last = count > 0 ? shape.reduce((sum, size, axis) => sum + (size - 1) * strides[axis], offset) : offset - 1
  if (!(last < storage.elements))
    throw fail(
      'torch-range',
      `reaches element ${last} of storage ${quoted(storage.key)}, which has ${storage.elements}`,
    )
  if (count > storage.elements)
    throw fail('torch-range', `its ${count} elements overlap (strides ${strides}); save a contiguous copy`)
  const data = `${storage.key} ${offset} ${strides}`
  return { dtype: storage.dtype, shape, storage, offset, strides, data }
}

/** ('storage', type, key, location, elements), in the older form with a view at the end, which must be none. */
function storageOf(value: PickleValue, fail: (fault: TorchFault, detail: string) => TorchError): Storage {
  const tuple = value instanceof PersistentId ? value.id : null
  const items = tuple instanceof PickleTuple ? tuple.items : []
  const [tag, type, key, , elements, view = null] = items
  if (tag !== 'storage' || !(type instanceof PickleGlobal) || typeof key !== 'string' || !isSize(elements))
    throw fail('torch-storage', `expected a storage with type, key and length, got ${describe(value)}`)
  if (view !== null)
    throw fail('torch-storage', 'its storage is a view of another one; save it again with a newer PyTorch')
  const dtype = storageDtypes[type.name]
  if (!dtype)
    throw fail('torch-dtype', `${type.name} is not read; expected one of ${Object.keys(storageDtypes).join(', ')}`)
  return { key, dtype, elements }
}

function isSize(value: PickleValue | undefined): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function sizes(value: PickleValue | undefined): number[] | null {
  if (!(value instanceof PickleTuple) || value.items.length > 64 || !value.items.every(isSize)) return null
  return value.items as number[]
}

function describe(value: PickleValue | undefined): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'None'
  if (value instanceof Map) return 'a dict'
  if (Array.isArray(value)) return 'a list'
  if (value instanceof PickleTuple) return value.items.every(isNumber) ? `(${value.items.join(', ')})` : 'a tuple'
  if (value instanceof PickleGlobal) return value.name
  if (value instanceof PickleCall) return value.callee === rebuildTensor ? 'a tensor' : 'a parameter'
  if (value instanceof PersistentId) return 'a storage'
  return typeof value === 'string' ? quoted(value) : `${value}`
}

const isNumber = (value: PickleValue) => typeof value === 'number'

function isContiguous({ shape, strides }: TorchTensor): boolean {
  let dense = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== dense) return false
    dense *= shape[axis]
  }
  return true
}

function tensorReader(
  ranges: Ranges,
  tensors: ReadonlyMap<string, TorchTensor>,
  positions: StoragePositions,
): CheckpointReader {
  const { file } = ranges
  const beginOf = ({ storage, offset, dtype }: TorchTensor) =>
    positions.get(storage.key)! + offset * storedDtypes[dtype]
  const find = (name: string) => {
    const tensor = tensors.get(name)
    if (!tensor) throw new TorchError(file, name, 'no-tensor', `no such tensor; the file holds ${tensors.size}`)
    return { tensor, begin: beginOf(tensor) }
  }
  const fill = async (target: Uint8Array, position: number, name: string) => {
    if ((await ranges.readInto(target, position)) < target.length)
      throw new TorchError(file, name, 'truncated', 'the file ends inside this tensor; it was changed while open')
    return target
  }
  /** A strided tensor that is being read in parts. */
  let gathered: { name: string; bytes: Promise<Uint8Array> } | null = null
  const gather = async (name: string): Promise<Uint8Array> => {
    const { tensor, begin } = find(name)
    const { shape, strides, dtype } = tensor
    const width = storedDtypes[dtype]
    const span = storedBytes(tensor) === 0 ? 0 : shape.reduce((sum, size, axis) => sum + (size - 1) * strides[axis], 1)
    return gatherStrided(await fill(new Uint8Array(span * width), begin, name), shape, strides, width)
  }
  return {
    file,
    // In the order of their data, as they are best read.
    tensors: new Map([...tensors].sort(([, a], [, b]) => beginOf(a) - beginOf(b))),
    async read(name) {
      const { tensor, begin } = find(name)
      return isContiguous(tensor) ? fill(new Uint8Array(storedBytes(tensor)), begin, name) : gather(name)
    },
    async readInto(name, offset, target) {
      const { tensor, begin } = find(name)
      if (isContiguous(tensor)) {
        await fill(target, begin + offset, name)
        return
      }
      if (gathered?.name !== name) gathered = { name, bytes: gather(name) }
      const bytes = await gathered.bytes
      target.set(bytes.subarray(offset, offset + target.length))
      if (offset + target.length === bytes.length) gathered = null
    },
    locate(name) {
      const { tensor, begin } = find(name)
      return isContiguous(tensor) ? { ranges, begin } : null
    },
    close: () => ranges.close(),
  }
}

/** The elements of a strided tensor in row-major order. */
function gatherStrided(
  source: Uint8Array,
  shape: readonly number[],
  strides: readonly number[],
  width: number,
): Uint8Array {
  const out = new Uint8Array(shape.reduce((product, size) => product * size, width))
  const index = shape.map(() => 0)
  let from = 0
  for (let to = 0; to < out.length; to += width) {
    for (let i = 0; i < width; i++) out[to + i] = source[from * width + i]
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis]
      if (++index[axis] < shape[axis]) break
      from -= strides[axis] * shape[axis]
      index[axis] = 0
    }
  }
  return out
}
