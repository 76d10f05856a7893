// Safetensors files on disk: opened by their header, read one tensor at a time, written atomically. Node only.
import { replaceFile, writeAll } from './atomic.node.js'
import { openRanges } from './ranges.node.js'
import {
  bytesToWrite,
  layoutSafetensors,
  readSafetensors,
  type SafetensorsReader,
  type TensorToWrite,
} from './safetensors.js'

/** Opens a file and checks its whole header; data are read when asked for. Throws CheckpointError or a system error. */
export async function openSafetensors(path: string): Promise<SafetensorsReader> {
  const ranges = await openRanges(path)
  try {
    return await readSafetensors(ranges)
  } catch (error) {
    await ranges.close()
    throw error
  }
}

/**
 * Writes a safetensors file, one tensor in memory at a time. Until all of it is on disk, an older file at `path` stays
 * as it was; so it does when the disk is full (DiskFullError) or a tensor's bytes do not fit its shape.
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { head, order } = layoutSafetensors(tensors, metadata, path)
  await replaceFile(path, async (handle) => {
    await writeAll(handle, head)
    for (const tensor of order) await writeAll(handle, await bytesToWrite(tensor, path))
  })
}
