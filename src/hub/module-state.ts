// A module's state dict to and from safetensors, strictly: every name, every shape, nothing left over.
import { type Backend, bytesPerElement } from '../backend/types.js'
import { MambakitError } from '../errors.js'
import type { Module, Parameter } from '../nn/index.js'
import { empty, outsideScopes, type Tensor } from '../tensor/index.js'
import { sameShape } from '../tensor/shape.js'
import { CheckpointError, type CheckpointReader, storedBytes, storedDtypes } from './checkpoint.js'
import { loadedDtype, narrowing, storedDtype, toTensorBytes } from './convert.js'
import type { TensorToWrite } from './safetensors.js'

/** Tensors as a safetensors writer takes them; each is read from the device when its turn comes. */
export function tensorsToWrite(named: Iterable<readonly [string, Tensor]>): TensorToWrite[] {
  return [...named].map(([name, tensor]) => ({
    name,
    dtype: storedDtype(tensor.dtype),
    shape: tensor.shape,
    bytes: () => tensor.bytes(),
  }))
}

/** A module's state dict; a shared parameter is written once, under its first name. */
export function moduleToWrite(module: Module): TensorToWrite[] {
  const seen = new Set<Parameter>()
  const named: [string, Tensor][] = []
  for (const [name, parameter] of module.namedParameters()) {
    if (seen.has(parameter)) continue
    seen.add(parameter)
    named.push([name, parameter.value])
  }
  return tensorsToWrite(named)
}

export interface LoadOptions {
  readonly backend: Backend
  /** Told of every tensor that had to be narrowed (int64, float64). Default: nobody. */
  readonly announce?: (message: string) => void
}

/** What is read at once; large enough for a disk, small beside a model. Divisible by every element's size. */
const pieceBytes = 4 << 20

/** Memory for two pieces, allocated once for many tensors. */
type Staging = readonly [Uint8Array, Uint8Array]

function stagingFor(bytes: number): Staging {
  const size = Math.min(pieceBytes, bytes)
  return [new Uint8Array(size), new Uint8Array(size)]
}

/**
 * Reads one tensor of a checkpoint onto a device, in pieces: the next one is read while the one before is uploaded, and
 * no more than two are in memory.
 */
export async function readTensor(
  reader: CheckpointReader,
  name: string,
  options: LoadOptions,
  staging: Staging = stagingFor(storedBytes(reader.tensors.get(name)!)),
): Promise<Tensor> {
  const entry = reader.tensors.get(name)!
  const source = { file: reader.file, name, dtype: entry.dtype }
  const told = narrowing(source)
  if (told) options.announce?.(told)
  const dtype = loadedDtype(entry.dtype)
  const [stored, total] = [storedDtypes[entry.dtype], storedBytes(entry)]
  const out = outsideScopes(() => empty(options.backend, entry.shape, dtype))
  try {
    const read = async (offset: number, turn: number) => {
      const piece = staging[turn].subarray(0, Math.min(pieceBytes, total - offset))
      await reader.readInto(name, offset, piece)
      return piece
    }
    let coming = total > 0 ? read(0, 0) : null
    for (let offset = 0, turn = 0; coming; offset += pieceBytes, turn = 1 - turn) {
      const piece = await coming
      coming = offset + pieceBytes < total ? read(offset + pieceBytes, 1 - turn) : null
      const first = offset / stored
      out.backend.upload(out.buffer, first * bytesPerElement[dtype], toTensorBytes(source, piece, first))
    }
    return out
  } catch (error) {
    out.dispose()
    throw error
  }
}

/**
 * The name under which a checkpoint stores each parameter of a module. Throws CheckpointError for a missing, extra or
 * mis-shaped tensor. A shared parameter may be stored under any of its names, or under all.
 */
export function matchParameters(module: Module, reader: CheckpointReader): Map<Parameter, readonly string[]> {
  const names = new Map<Parameter, string[]>()
  for (const [name, parameter] of module.namedParameters())
    names.set(parameter, [...(names.get(parameter) ?? []), name])
  const known = new Set([...names.values()].flat())
  const fail = (name: string, fault: string, detail: string) => new CheckpointError(reader.file, name, fault, detail)
  for (const name of reader.tensors.keys())
    if (!known.has(name)) throw fail(name, 'no-tensor', 'the model has no parameter of this name; check config.json')
  const matched = new Map<Parameter, readonly string[]>()
  for (const [parameter, aliases] of names) {
    const stored = aliases.filter((name) => reader.tensors.has(name))
    if (stored.length === 0)
      throw fail(aliases[0], 'no-tensor', 'the model needs this tensor; it is missing from the file')
    for (const name of stored) {
      const { shape, dtype } = reader.tensors.get(name)!
      if (!sameShape(shape, parameter.shape))
        throw fail(name, 'shape', `expected [${parameter.shape}] from config.json, got [${shape}]`)
      if (!['float32', 'float16', 'bfloat16'].includes(loadedDtype(dtype)))
        throw fail(name, 'dtype', `expected a floating-point dtype, got ${dtype}`)
    }
    matched.set(parameter, stored)
  }
  return matched
}

/** Throws CheckpointError where a shared parameter is stored twice with different values. */
export async function checkShared(
  reader: CheckpointReader,
  names: readonly string[],
  [left, right]: Staging = stagingFor(storedBytes(reader.tensors.get(names[0])!)),
): Promise<void> {
  const first = reader.tensors.get(names[0])!
  for (const name of names.slice(1)) {
    const second = reader.tensors.get(name)!
    if (first.data !== undefined && first.data === second.data) continue
    let same = first.dtype === second.dtype
    for (let offset = 0; same && offset < storedBytes(first); offset += pieceBytes) {
      const length = Math.min(pieceBytes, storedBytes(first) - offset)
      await reader.readInto(names[0], offset, left.subarray(0, length))
      await reader.readInto(name, offset, right.subarray(0, length))
      same = sameBytes(left, right, length)
    }
    if (!same)
      throw new CheckpointError(
        reader.file,
        name,
        'shared',
        `differs from ${names[0]}, to which config.json ties it; set tie_embeddings or tie_word_embeddings to false there`,
      )
  }
}

/** Of two pieces, by words: this reads embeddings of hundreds of megabytes. */
function sameBytes(left: Uint8Array, right: Uint8Array, length: number): boolean {
  const words = length >> 2
  const [a, b] = [left, right].map(({ buffer }) => new Int32Array(buffer, 0, words))
  for (let i = 0; i < words; i++) if (a[i] !== b[i]) return false
  for (let i = 4 * words; i < length; i++) if (left[i] !== right[i]) return false
  return true
}

/** Loads a state dict; names, shapes and dtypes are checked before anything is read, by matchParameters. */
export async function loadModule(module: Module, reader: CheckpointReader, options: LoadOptions): Promise<void> {
  const matched = matchParameters(module, reader)
  const staging = stagingFor(Math.max(...[...reader.tensors.values()].map(storedBytes)))
  for (const stored of matched.values()) await checkShared(reader, stored, staging)
  for (const [parameter, [name]] of matched) parameter.value = await readTensor(reader, name, options, staging)
}

/** Overwrites tensors in place from a file that holds exactly these names and shapes (optimiser state, averages). */
export async function restoreTensors(
  named: Iterable<readonly [string, Tensor]>,
  reader: CheckpointReader,
): Promise<void> {
  const targets = new Map(named)
  for (const name of reader.tensors.keys())
    if (!targets.has(name)) throw new CheckpointError(reader.file, name, 'no-tensor', 'belongs to another model')
  for (const [name, tensor] of targets) {
    const entry = reader.tensors.get(name)
    if (!entry || !sameShape(entry.shape, tensor.shape) || loadedDtype(entry.dtype) !== tensor.dtype)
      throw new CheckpointError(reader.file, name, 'shape', `expected ${tensor.dtype} [${tensor.shape}]`)
    if (!tensor.isContiguous) throw new MambakitError(`${name}: expected a contiguous tensor`)
    tensor.backend.upload(tensor.buffer, 0, await reader.read(name))
  }
}
