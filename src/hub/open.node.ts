// Checkpoints on disk: one file, or an index with the files beside it. Node only.
import { readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { CheckpointReader } from './checkpoint.js'
import { readCheckpoint } from './open.js'
import { openRanges } from './ranges.node.js'
import { parseShardIndex, readSharded } from './sharded.js'

/** Opens a .safetensors, a PyTorch .bin or a *.index.json. Throws CheckpointError or a system error. */
export async function openCheckpoint(path: string): Promise<CheckpointReader> {
  if (!path.endsWith('.index.json')) return readCheckpoint(await openRanges(path))
  const index = parseShardIndex(await readFile(path, 'utf8'), path)
  return readSharded(index, path, async (name) => {
    const shard = join(dirname(path), name)
    return (await stat(shard).catch(() => null)) ? readCheckpoint(await openRanges(shard)) : null
  })
}
