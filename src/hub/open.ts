// A checkpoint from the bytes of one file, by what they are and not by its name; and the names that checkpoints have in
// a folder.
import { CheckpointError, type CheckpointReader } from './checkpoint.js'
import type { Ranges } from './ranges.js'
import { readSafetensors } from './safetensors.js'
import { isTorchFile, readTorch } from './torch.js'

/** What a model's weights are called in a folder, the best first: one file, or an index of several. */
export const weightNames = [
  'model.safetensors',
  'model.safetensors.index.json',
  'pytorch_model.bin',
  'pytorch_model.bin.index.json',
] as const

/** Opens a safetensors or PyTorch file. Closing the reader closes `ranges`; so does a failure. */
export async function readCheckpoint(ranges: Ranges): Promise<CheckpointReader> {
  try {
    const prefix = new Uint8Array(Math.min(16, ranges.size))
    await ranges.readInto(prefix, 0)
    const start = new TextDecoder().decode(prefix)
    const refuse = (what: string) =>
      new CheckpointError(ranges.file, null, 'format', `expected safetensors or a PyTorch .bin, got ${what}`)
    if (start.startsWith('GGUF')) throw refuse('a GGUF file, which is not read')
    if (/^\s*<(!doctype|html|\?xml)/i.test(start)) throw refuse('a web page; download the file itself')
    if (start.startsWith('version https://'))
      throw refuse('the pointer of a Git LFS file; run `git lfs pull` to get the file itself')
    return await (isTorchFile(prefix) ? readTorch(ranges) : readSafetensors(ranges))
  } catch (error) {
    await ranges.close()
    throw error
  }
}
