// GGUF files on disk, written atomically. Node only.
import { replaceFile, writeAll } from './atomic.node.js'
import { type GgufTensor, type GgufValue, ggufData, layoutGguf } from './gguf.js'

/** Writes a GGUF file, one tensor in memory at a time; an older file stays until the new one is whole. */
export async function writeGguf(
  path: string,
  tensors: readonly GgufTensor[],
  metadata: Readonly<Record<string, GgufValue>>,
): Promise<void> {
  const { head } = layoutGguf(tensors, metadata)
  await replaceFile(path, async (handle) => {
    await writeAll(handle, head)
    for (const tensor of tensors) await writeAll(handle, await ggufData(tensor))
  })
}
