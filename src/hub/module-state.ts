// A module's state dict to and from safetensors, strictly: every name, every shape, nothing left over.
import { MambakitError } from '../errors.js'
import type { Module, Parameter } from '../nn/index.js'
import type { Tensor } from '../tensor/index.js'
import { sameShape } from '../tensor/shape.js'
import { CheckpointError, type CheckpointReader, storedBytes } from './checkpoint.js'
import { loadedDtype, storedDtype } from './convert.js'
import { type LoadOptions, pieceBytes, readTensors } from './read-tensors.js'
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

/**
 * The name under which a checkpoint stores each parameter of a module. Throws CheckpointError for a missing, extra or
 * mis-shaped tensor. A shared parameter may be stored under any of its names, or under all. Parameters of the submodules
 * `left` are left out, and may be anything in the checkpoint.
 */
export function matchParameters(
  module: Module,
  reader: CheckpointReader,
  left: readonly string[] = [],
): Map<Parameter, readonly string[]> {
  const names = new Map<Parameter, string[]>()
  const isLeft = (name: string) => left.some((each) => name.startsWith(`${each}.`))
  for (const [name, parameter] of module.namedParameters())
    if (!isLeft(name)) names.set(parameter, [...(names.get(parameter) ?? []), name])
  const known = new Set([...names.values()].flat())
  const fail = (name: string, fault: string, detail: string) => new CheckpointError(reader.file, name, fault, detail)
  for (const name of reader.tensors.keys())
    if (!known.has(name) && !isLeft(name))
      throw fail(name, 'no-tensor', 'the model has no parameter of this name; check config.json')
  const matched = new Map<Parameter, readonly string[]>()
  for (const [parameter, aliases] of names) {
    const stored = aliases.filter((name) => reader.tensors.has(name))
    if (stored.length === 0)
      throw fail(aliases[0], 'no-tensor', 'the model needs this tensor; it is missing from the file')
    for (const name of stored) {
      const { shape, dtype } = reader.tensors.get(name)!
      if (!sameShape(shape, parameter.shape))
        throw fail(name, 'shape', `expected [${parameter.shape}] from config.json, got [${shape}]`)
      const counter = parameter.dtype === 'int32'
      const allowed = counter ? ['int32'] : ['float32', 'float16', 'bfloat16']
      if (!allowed.includes(loadedDtype(dtype)))
        throw fail(name, 'dtype', `expected ${counter ? 'an integer' : 'a floating-point'} dtype, got ${dtype}`)
    }
    matched.set(parameter, stored)
  }
  return matched
}

/** Throws CheckpointError where a shared parameter is stored twice with different values. */
export async function checkShared(reader: CheckpointReader, names: readonly string[]): Promise<void> {
  const first = reader.tensors.get(names[0])!
  for (const name of names.slice(1)) {
    const second = reader.tensors.get(name)!
    if (first.data !== undefined && first.data === second.data) continue
    if (first.dtype !== second.dtype || !(await sameValues(reader, names[0], name)))
      throw new CheckpointError(
        reader.file,
        name,
        'shared',
        `differs from ${names[0]}, to which config.json ties it; set tie_embeddings or tie_word_embeddings to false there`,
      )
  }
}

/** Of two tensors of one shape and dtype, piece by piece and by words: embeddings take hundreds of megabytes. */
async function sameValues(reader: CheckpointReader, one: string, other: string): Promise<boolean> {
  const total = storedBytes(reader.tensors.get(one)!)
  const size = Math.min(pieceBytes, total)
  // Whole words; what is beyond the tensor's end stays zero in both.
  const [left, right] = [0, 1].map(() => new Uint8Array(Math.ceil(size / 4) * 4))
  const [a, b] = [left, right].map(({ buffer }) => new Int32Array(buffer))
  for (let offset = 0; offset < total; offset += size) {
    const length = Math.min(size, total - offset)
    await reader.readInto(one, offset, left.subarray(0, length))
    await reader.readInto(other, offset, right.subarray(0, length))
    for (let i = 0; i < Math.ceil(length / 4); i++) if (a[i] !== b[i]) return false
  }
  return true
}

export interface LoadModuleOptions extends LoadOptions {
  /** Names of submodules that keep the values they have, whatever the checkpoint holds for them. */
  readonly keep?: readonly string[]
}

/** Loads a state dict; names, shapes and dtypes are checked before anything is read, by matchParameters. */
export async function loadModule(
  module: Module,
  reader: CheckpointReader,
  { keep, ...options }: LoadModuleOptions,
): Promise<void> {
  const matched = matchParameters(module, reader, keep)
  for (const stored of matched.values()) await checkShared(reader, stored)
  // In the order of the file, so that a disk is read from front to back.
  const wanted = new Map([...matched].map(([parameter, [name]]) => [name, parameter]))
  const names = [...reader.tensors.keys()].filter((name) => wanted.has(name))
  const tensors = await readTensors(reader, names, options)
  names.forEach((name, i) => {
    wanted.get(name)!.value = tensors[i]
  })
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
