// A module's state dict to and from safetensors, strictly: every name, every shape, nothing left over.
import type { Backend } from '../backend/types.js'
import { MambakitError } from '../errors.js'
import type { Module, Parameter } from '../nn/index.js'
import { outsideScopes, type Tensor, tensorFromBytes } from '../tensor/index.js'
import { sameShape } from '../tensor/shape.js'
import { loadedDtype, storedDtype, toTensorBytes } from './convert.js'
import { SafetensorsError, type SafetensorsReader, type TensorToWrite } from './safetensors.js'

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

/** Reads one tensor of a file onto a device. */
export async function readTensor(reader: SafetensorsReader, name: string, options: LoadOptions): Promise<Tensor> {
  const entry = reader.tensors.get(name)!
  const loaded = toTensorBytes(
    { file: reader.file, name, dtype: entry.dtype },
    await reader.read(name),
    options.announce ?? (() => {}),
  )
  return outsideScopes(() => tensorFromBytes(loaded.bytes, entry.shape, loaded.dtype, options.backend))
}

/**
 * Loads a state dict. Throws SafetensorsError for a missing, extra or mis-shaped tensor, before anything is read. A
 * shared parameter may be stored under any of its names, or under all.
 */
export async function loadModule(module: Module, reader: SafetensorsReader, options: LoadOptions): Promise<void> {
  const names = new Map<Parameter, string[]>()
  for (const [name, parameter] of module.namedParameters())
    names.set(parameter, [...(names.get(parameter) ?? []), name])
  const known = new Set([...names.values()].flat())
  for (const name of reader.tensors.keys())
    if (!known.has(name))
      throw new SafetensorsError(
        reader.file,
        name,
        'no-tensor',
        'the model has no parameter of this name; check config.json',
      )
  for (const [parameter, aliases] of names) {
    const stored = aliases.filter((name) => reader.tensors.has(name))
    if (stored.length === 0)
      throw new SafetensorsError(
        reader.file,
        aliases[0],
        'no-tensor',
        'the model needs this tensor; it is missing from the file',
      )
    for (const name of stored) {
      const { shape, dtype } = reader.tensors.get(name)!
      if (!sameShape(shape, parameter.shape))
        throw new SafetensorsError(
          reader.file,
          name,
          'shape',
          `expected [${parameter.shape}] from config.json, got [${shape}]`,
        )
      if (!['float32', 'float16', 'bfloat16'].includes(loadedDtype(dtype)))
        throw new SafetensorsError(reader.file, name, 'dtype', `expected a floating-point dtype, got ${dtype}`)
    }
  }
  for (const [parameter, aliases] of names) {
    const name = aliases.find((alias) => reader.tensors.has(alias))!
    parameter.value = await readTensor(reader, name, options)
  }
}

/** Overwrites tensors in place from a file that holds exactly these names and shapes (optimiser state, averages). */
export async function restoreTensors(
  named: Iterable<readonly [string, Tensor]>,
  reader: SafetensorsReader,
): Promise<void> {
  const targets = new Map(named)
  for (const name of reader.tensors.keys())
    if (!targets.has(name)) throw new SafetensorsError(reader.file, name, 'no-tensor', 'belongs to another model')
  for (const [name, tensor] of targets) {
    const entry = reader.tensors.get(name)
    if (!entry || !sameShape(entry.shape, tensor.shape) || loadedDtype(entry.dtype) !== tensor.dtype)
      throw new SafetensorsError(reader.file, name, 'shape', `expected ${tensor.dtype} [${tensor.shape}]`)
    if (!tensor.isContiguous) throw new MambakitError(`${name}: expected a contiguous tensor`)
    tensor.backend.upload(tensor.buffer, 0, await reader.read(name))
  }
}
