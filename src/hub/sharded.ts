// Checkpoints in several files: an index.json says which file holds each tensor. The index is hostile until checked: a
// name that leaves the folder is refused, and each file must hold what the index says, no more and no less.
import { CheckpointError, type CheckpointReader, quoted, type StoredTensor } from './checkpoint.js'

export interface ShardIndex {
  /** From each tensor's name to the name of its file. */
  readonly files: ReadonlyMap<string, string>
}

/** Parses a *.index.json. Throws CheckpointError. */
export function parseShardIndex(text: string, file: string): ShardIndex {
  const fail = (detail: string) => new CheckpointError(file, null, 'index', detail)
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw fail(`expected a JSON object, got ${quoted(text.slice(0, 20))}`)
  }
  const map = isObject(json) ? json.weight_map : undefined
  if (!isObject(map)) throw fail('expected an object with weight_map, from tensors to files')
  const files = new Map<string, string>()
  for (const [tensor, name] of Object.entries(map)) {
    if (typeof name !== 'string')
      throw new CheckpointError(file, tensor, 'index', `expected the name of a file, got ${JSON.stringify(name)}`)
    if (!isPlainFileName(name))
      throw new CheckpointError(
        file,
        tensor,
        'index-outside',
        `expected a file beside the index, got ${quoted(name)}, which points elsewhere`,
      )
    files.set(tensor, name)
  }
  if (files.size === 0) throw fail('weight_map names no tensor')
  return { files }
}

/** A name without folders, drives or anything else that leads out of the folder it is in. */
export function isPlainFileName(name: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused here.
  return name.length > 0 && name.length <= 255 && name !== '.' && name !== '..' && !/[/\\:\u0000-\u001f]/.test(name)
}

/**
 * Opens all files that an index names by `open`, as one checkpoint. Throws CheckpointError where one is missing (`open`
 * gives null) or holds other tensors than the index says.
 */
export async function readSharded(
  index: ShardIndex,
  file: string,
  open: (name: string) => Promise<CheckpointReader | null>,
): Promise<CheckpointReader> {
  const shards = new Map<string, CheckpointReader>()
  const close = async () => {
    for (const shard of shards.values()) await shard.close()
  }
  try {
    const names = [...new Set(index.files.values())].sort()
    const missing: string[] = []
    for (const name of names) {
      const shard = await open(name)
      if (shard) shards.set(name, shard)
      else missing.push(name)
    }
    if (missing.length > 0) {
      const some = missing.slice(0, 3).map(quoted).join(', ')
      const detail = `${missing.length} of the ${names.length} files it names are missing (${some}${missing.length > 3 ? ', ...' : ''})`
      throw new CheckpointError(file, null, 'index-missing', `${detail}; put them beside it`)
    }
    return { file, ...joined(index, file, shards), close }
  } catch (error) {
    await close()
    throw error
  }
}

function joined(index: ShardIndex, file: string, shards: ReadonlyMap<string, CheckpointReader>) {
  for (const [tensor, name] of index.files)
    if (!shards.get(name)!.tensors.has(tensor))
      throw new CheckpointError(file, tensor, 'index', `is not in ${quoted(name)}, where the index says it is`)
  // File by file, as they are best read.
  const tensors = new Map<string, StoredTensor>()
  for (const [name, shard] of shards)
    for (const [tensor, stored] of shard.tensors) {
      if (index.files.get(tensor) !== name)
        throw new CheckpointError(file, tensor, 'index', `is in ${quoted(name)} too; the index does not say so`)
      tensors.set(tensor, { ...stored, data: stored.data && `${name} ${stored.data}` })
    }
  const shardOf = (tensor: string): CheckpointReader => {
    const name = index.files.get(tensor)
    if (name === undefined)
      throw new CheckpointError(file, tensor, 'no-tensor', `no such tensor; the index names ${index.files.size}`)
    return shards.get(name)!
  }
  return {
    tensors,
    read: async (tensor: string) => shardOf(tensor).read(tensor),
    readInto: async (tensor: string, offset: number, target: Uint8Array) =>
      shardOf(tensor).readInto(tensor, offset, target),
    locate: (tensor: string) => shardOf(tensor).locate(tensor),
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
