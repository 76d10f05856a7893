// A model's weights into a folder, as safetensors: in one file, or in several of limited size with their index. Node only.
import { join } from 'node:path'
import { replaceFile, writeAll } from './atomic.node.js'
import { storedBytes } from './checkpoint.js'
import type { TensorToWrite } from './safetensors.js'
import { writeSafetensors } from './safetensors.node.js'

/** What readers of Hugging Face ask of a file: which framework's layout its tensors have. */
const metadata = { format: 'pt' }

/** Writes the weights into `folder`, one tensor in memory at a time. Returns the names of the files. */
export async function writeWeights(
  folder: string,
  tensors: readonly TensorToWrite[],
  shardBytes = Number.POSITIVE_INFINITY,
): Promise<string[]> {
  const shards = splitIntoShards(tensors, shardBytes)
  if (shards.length === 1) {
    await writeSafetensors(join(folder, 'model.safetensors'), tensors, metadata)
    return ['model.safetensors']
  }
  const five = (value: number) => `${value}`.padStart(5, '0')
  const names = shards.map((_, i) => `model-${five(i + 1)}-of-${five(shards.length)}.safetensors`)
  for (const [i, shard] of shards.entries()) await writeSafetensors(join(folder, names[i]), shard, metadata)
  const weightMap = Object.fromEntries(
    shards
      .flatMap((shard, i) => shard.map(({ name }) => [name, names[i]] as const))
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  )
  const totalSize = tensors.reduce((sum, tensor) => sum + storedBytes(tensor), 0)
  const index = { metadata: { total_size: totalSize }, weight_map: weightMap }
  await writeSmall(join(folder, 'model.safetensors.index.json'), `${JSON.stringify(index, null, 2)}\n`)
  return [...names, 'model.safetensors.index.json']
}

/** Writes a small file atomically. */
export function writeSmall(path: string, content: string | Uint8Array): Promise<void> {
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content
  return replaceFile(path, (handle) => writeAll(handle, bytes))
}

/** In order; a tensor that is larger than a shard has one to itself. */
export function splitIntoShards(tensors: readonly TensorToWrite[], shardBytes: number): TensorToWrite[][] {
  const shards: TensorToWrite[][] = [[]]
  let filled = 0
  for (const tensor of tensors) {
    const bytes = storedBytes(tensor)
    if (filled + bytes > shardBytes && filled > 0) {
      shards.push([])
      filled = 0
    }
    shards.at(-1)!.push(tensor)
    filled += bytes
  }
  return shards
}
